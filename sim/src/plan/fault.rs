//! The things that can go wrong, as plain data.

use std::fmt;
use std::time::Duration;

use serde::{Deserialize, Serialize};

use crate::plan::family::Family;
use crate::plan::time::{Millis, millis, text};

/// One thing that goes wrong: what, where, from when, for how long.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Fault {
    /// When it begins, counted from the start.
    #[serde(with = "text")]
    pub from: Duration,
    /// How long it lasts; a crashed host is started again at the end.
    #[serde(with = "text")]
    pub lasts: Duration,
    /// What goes wrong, and where.
    #[serde(flatten)]
    pub what: FaultKind,
}

impl Fault {
    /// When it ends, counted from the start.
    #[must_use]
    pub fn until(&self) -> Duration {
        self.from + self.lasts
    }
}

/// The things that can go wrong.
///
/// A lost segment is a late segment, as under TCP: what a partition swallows arrives when the sender would
/// have tried again after the link healed. Only a dead host or a reset loses bytes for good.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "kind", rename_all = "kebab-case")]
#[expect(missing_docs, reason = "the fields are the two ends, the host and the amount")]
pub enum FaultKind {
    /// Nothing passes in either direction.
    Partition { a: String, b: String },
    /// Nothing passes from `a` to `b`; the other direction works.
    PartitionOneWay { a: String, b: String },
    /// All segments wait, and arrive together at the end.
    Hold { a: String, b: String },
    /// Every segment takes this long.
    SlowLink {
        a: String,
        b: String,
        #[serde(with = "text")]
        latency: Duration,
    },
    /// All connections between the two break at once; new ones can be made.
    Reset { a: String, b: String },
    /// The host loses its power: no FIN, no answer, and no memory when it comes back.
    PowerLoss { host: String },
    /// The process is killed; its machine closes the sockets and refuses new connections.
    Kill { host: String },
    /// The host does nothing, then goes on as if nothing had been.
    Pause { host: String },
    /// The host's wall clock is wrong by so many milliseconds.
    ClockSkew { host: String, by_ms: i64 },
    /// The host's wall clock runs fast (or slow) by so many parts in a million.
    ClockDrift { host: String, ppm: i64 },
    /// The host's wall clock jumps by so many milliseconds, and back at the end.
    ClockJump { host: String, by_ms: i64 },
    /// Handlers take longer.
    SlowHandler {
        host: String,
        #[serde(with = "text")]
        delay: Duration,
    },
    /// Handlers panic.
    PanickingHandler { host: String },
    /// The service has no room for another call.
    FullService { host: String },
    /// Each stream that is opened is refused unread (HTTP/2's `REFUSED_STREAM`). Only a host feels it whose program asks
    /// for it ([`refuses_streams`](crate::refuses_streams)).
    RefusedStreams { host: String },
    /// Names do not lead to the host, which is there all the same. Only those feel it who reach it by a name.
    Unlisted { host: String },
    /// A question where a name leads, if that is to this host among others, is lost: whoever asks hears nothing, also after the
    /// fault. Only those feel it who reach the host by a name.
    SilentName { host: String },
    /// The host's disks fail, as `fails` says. What was there when a sync failed may be lost with the power for good, whatever a
    /// later sync says, as where a kernel forgets what it could not write back (Rebello and others, "Can Applications Recover
    /// from fsync Failures?", 2020). It ends with the process: whoever starts it again has made room, for its first write at the
    /// least.
    FailingDisk { host: String, fails: DiskFails },
    /// The host is told to drain and leave; it is started again at the end.
    Drain { host: String },
}

impl FaultKind {
    /// Which family it is of.
    #[must_use]
    pub fn family(&self) -> Family {
        match self {
            Self::Partition { .. } => Family::Partition,
            Self::PartitionOneWay { .. } => Family::PartitionOneWay,
            Self::Hold { .. } => Family::Hold,
            Self::SlowLink { .. } => Family::SlowLink,
            Self::Reset { .. } => Family::Reset,
            Self::PowerLoss { .. } => Family::PowerLoss,
            Self::Kill { .. } => Family::Kill,
            Self::Pause { .. } => Family::Pause,
            Self::ClockSkew { .. } => Family::ClockSkew,
            Self::ClockDrift { .. } => Family::ClockDrift,
            Self::ClockJump { .. } => Family::ClockJump,
            Self::SlowHandler { .. } => Family::SlowHandler,
            Self::PanickingHandler { .. } => Family::PanickingHandler,
            Self::FullService { .. } => Family::FullService,
            Self::RefusedStreams { .. } => Family::RefusedStreams,
            Self::Unlisted { .. } => Family::Unlisted,
            Self::SilentName { .. } => Family::SilentName,
            Self::FailingDisk { .. } => Family::FailingDisk,
            Self::Drain { .. } => Family::Drain,
        }
    }

    /// Its name, as in a plan file.
    #[must_use]
    pub fn name(&self) -> &'static str {
        self.family().name()
    }

    /// The hosts it concerns: one, or the two ends of a link.
    #[must_use]
    pub fn hosts(&self) -> (&str, Option<&str>) {
        match self {
            Self::Partition { a, b }
            | Self::PartitionOneWay { a, b }
            | Self::Hold { a, b }
            | Self::SlowLink { a, b, .. }
            | Self::Reset { a, b } => (a, Some(b)),
            Self::PowerLoss { host }
            | Self::Kill { host }
            | Self::Pause { host }
            | Self::ClockSkew { host, .. }
            | Self::ClockDrift { host, .. }
            | Self::ClockJump { host, .. }
            | Self::SlowHandler { host, .. }
            | Self::PanickingHandler { host }
            | Self::FullService { host }
            | Self::RefusedStreams { host }
            | Self::Unlisted { host }
            | Self::SilentName { host }
            | Self::FailingDisk { host, .. }
            | Self::Drain { host } => (host, None),
        }
    }

    /// The host that it is on; none if it is on a link.
    pub(crate) fn host(&mut self) -> Option<&mut String> {
        match self {
            Self::Partition { .. }
            | Self::PartitionOneWay { .. }
            | Self::Hold { .. }
            | Self::SlowLink { .. }
            | Self::Reset { .. } => None,
            Self::PowerLoss { host }
            | Self::Kill { host }
            | Self::Pause { host }
            | Self::ClockSkew { host, .. }
            | Self::ClockDrift { host, .. }
            | Self::ClockJump { host, .. }
            | Self::SlowHandler { host, .. }
            | Self::PanickingHandler { host }
            | Self::FullService { host }
            | Self::RefusedStreams { host }
            | Self::Unlisted { host }
            | Self::SilentName { host }
            | Self::FailingDisk { host, .. }
            | Self::Drain { host } => Some(host),
        }
    }

    /// How much goes wrong, where there is more and less.
    pub(crate) fn amount(&mut self) -> Option<Amount<'_>> {
        match self {
            Self::SlowLink { latency: time, .. } | Self::SlowHandler { delay: time, .. } => {
                Some(Amount::Time(time))
            }
            Self::ClockSkew { by_ms: by, .. }
            | Self::ClockJump { by_ms: by, .. }
            | Self::ClockDrift { ppm: by, .. } => Some(Amount::Signed(by)),
            _ => None,
        }
    }
}

/// What of a disk fails.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum DiskFails {
    /// Half of what is appended is written, and nothing is replaced or synced.
    Everything,
    /// Nothing is replaced or synced.
    Syncs,
    /// The first write or sync, as everything does, and none after it.
    Once,
}

impl fmt::Display for DiskFails {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Everything => "everything",
            Self::Syncs => "syncs",
            Self::Once => "once",
        })
    }
}

/// How much goes wrong by a fault.
#[derive(Debug)]
pub(crate) enum Amount<'a> {
    Time(&'a mut Duration),
    Signed(&'a mut i64),
}

impl Amount<'_> {
    /// As a number: of milliseconds, or whatever the fault counts by; without its sign.
    pub(crate) fn get(&self) -> u64 {
        match self {
            Self::Time(time) => millis(**time),
            Self::Signed(by) => by.unsigned_abs(),
        }
    }

    /// Sets the number, and keeps the sign.
    pub(crate) fn set(&mut self, amount: u64) {
        match self {
            Self::Time(time) => **time = Duration::from_millis(amount),
            Self::Signed(by) => **by = by.signum() * i64::try_from(amount).unwrap_or(i64::MAX),
        }
    }
}

impl fmt::Display for FaultKind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::PartitionOneWay { a, b } => write!(f, "{} {a} -> {b}", self.name()),
            Self::Partition { a, b } | Self::Hold { a, b } | Self::Reset { a, b } => {
                write!(f, "{} {a} <-> {b}", self.name())
            }
            Self::SlowLink { a, b, latency } => {
                write!(f, "{} {a} <-> {b}, {}", self.name(), Millis(*latency))
            }
            Self::ClockSkew { host, by_ms } | Self::ClockJump { host, by_ms } => {
                write!(f, "{} {host}, {by_ms:+} ms", self.name())
            }
            Self::ClockDrift { host, ppm } => write!(f, "{} {host}, {ppm:+} ppm", self.name()),
            Self::SlowHandler { host, delay } => {
                write!(f, "{} {host}, {}", self.name(), Millis(*delay))
            }
            Self::PowerLoss { host }
            | Self::Kill { host }
            | Self::Pause { host }
            | Self::PanickingHandler { host }
            | Self::FullService { host }
            | Self::RefusedStreams { host }
            | Self::Unlisted { host }
            | Self::SilentName { host }
            | Self::Drain { host } => write!(f, "{} {host}", self.name()),
            Self::FailingDisk { host, fails } => write!(f, "{} {host}, {fails}", self.name()),
        }
    }
}
