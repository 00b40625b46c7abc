//! The things that can go wrong, as plain data.

use std::fmt;
use std::time::Duration;

use serde::{Deserialize, Serialize};

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
    /// The host is told to drain and leave; it is started again at the end.
    Drain { host: String },
}

impl FaultKind {
    /// Its name, as in a plan file.
    #[must_use]
    pub fn name(&self) -> &'static str {
        match self {
            Self::Partition { .. } => "partition",
            Self::PartitionOneWay { .. } => "partition-one-way",
            Self::Hold { .. } => "hold",
            Self::SlowLink { .. } => "slow-link",
            Self::Reset { .. } => "reset",
            Self::PowerLoss { .. } => "power-loss",
            Self::Kill { .. } => "kill",
            Self::Pause { .. } => "pause",
            Self::ClockSkew { .. } => "clock-skew",
            Self::ClockDrift { .. } => "clock-drift",
            Self::ClockJump { .. } => "clock-jump",
            Self::SlowHandler { .. } => "slow-handler",
            Self::PanickingHandler { .. } => "panicking-handler",
            Self::FullService { .. } => "full-service",
            Self::Drain { .. } => "drain",
        }
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
            | Self::Drain { host } => (host, None),
        }
    }

    /// Whether the host neither sends nor receives while the fault lasts.
    pub(crate) fn stops_host(&self) -> bool {
        self.takes_down() || matches!(self, Self::Pause { .. })
    }

    /// Whether the host's process is gone when the fault ends, at the latest, and is started again then.
    pub(crate) fn takes_down(&self) -> bool {
        matches!(self, Self::PowerLoss { .. } | Self::Kill { .. } | Self::Drain { .. })
    }

    /// Whether only the wall clock is touched; such a fault is felt by who reads that clock.
    pub(crate) fn is_of_clock(&self) -> bool {
        matches!(self, Self::ClockSkew { .. } | Self::ClockDrift { .. } | Self::ClockJump { .. })
    }

    /// How much goes wrong, without its sign; 0 where there is no more or less.
    pub(crate) fn amount(&self) -> u64 {
        match self {
            Self::SlowLink { latency: time, .. } | Self::SlowHandler { delay: time, .. } => millis(*time),
            Self::ClockSkew { by_ms: by, .. }
            | Self::ClockJump { by_ms: by, .. }
            | Self::ClockDrift { ppm: by, .. } => by.unsigned_abs(),
            _ => 0,
        }
    }

    /// Sets what [`FaultKind::amount`] tells.
    pub(crate) fn set_amount(&mut self, amount: u64) {
        match self {
            Self::SlowLink { latency: time, .. } | Self::SlowHandler { delay: time, .. } => {
                *time = Duration::from_millis(amount);
            }
            Self::ClockSkew { by_ms: by, .. }
            | Self::ClockJump { by_ms: by, .. }
            | Self::ClockDrift { ppm: by, .. } => {
                *by = by.signum() * i64::try_from(amount).unwrap_or(i64::MAX);
            }
            _ => {}
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
            | Self::Drain { host } => write!(f, "{} {host}", self.name()),
        }
    }
}
