//! What happens in a rehearsal, as typed events: checks read values, never sentences.
//!
//! It must not know who records events or who judges them.

use std::any::Any;
use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use tracing::field::FieldSet;

use crate::plan::fault::Fault;
use crate::trace::questions::{self, Answer};
use crate::trace::value::{Fields, Value};

/// One thing that happened.
#[derive(Debug, Clone, PartialEq)]
pub struct Event {
    /// When, counted from the start of the simulation.
    pub at: Duration,
    /// On which host; empty for what the simulator itself does.
    pub host: Arc<str>,
    /// The request it belongs to, from the event's own field or from the call that was handled meanwhile.
    pub request_id: Option<String>,
    /// The number of that request in the plan; none if no request of a plan goes under this id.
    pub request: Option<u32>,
    /// What it is.
    pub what: What,
}

/// What happened.
///
/// Checks are shown log lines, facts, faults and phases. [`What::Net`], [`What::Bytes`], [`What::Disk`] and
/// [`What::Call`] are in kept traces only; checks are told of calls on their own.
#[derive(Debug, Clone, PartialEq)]
pub enum What {
    /// A line that a host's program logged.
    Log(Line),
    /// A fact that a host's program told.
    Told(Arc<dyn Fact>),
    /// A fault of the plan begins.
    FaultBegins {
        /// Its index in the plan's list of faults.
        number: usize,
        /// What goes wrong.
        fault: Fault,
    },
    /// A fault of the plan ends.
    FaultEnds {
        /// Its index in the plan's list of faults.
        number: usize,
        /// What went wrong.
        fault: Fault,
    },
    /// The rehearsal enters a phase.
    Phase(Phase),
    /// turmoil's network did something: what, and all it says of it.
    Net(&'static str, Fields),
    /// Bytes passed a connection's end.
    Bytes(Passed),
    /// A host used its disk.
    Disk(DiskUse),
    /// A client's call began or ended.
    Call(CallStep),
}

/// A log line, with its values as the program gave them.
#[derive(Debug, Clone, PartialEq)]
pub struct Line {
    /// Which part of the program says it.
    pub target: &'static str,
    /// How important it is.
    pub level: tracing::Level,
    /// The words.
    pub message: String,
    /// Everything else that was said, by name.
    pub fields: Fields,
    /// The id of the call that was handled meanwhile, as the scenario's hook tells it
    /// (`Scenario::request_id_of_line`); empty if that call had lost its id.
    pub of_call: Option<String>,
    /// The names of all fields that this line of code has, also of those without a value this time; `None` where nobody
    /// knows, as of a line that a process wrote.
    pub known: Option<&'static FieldSet>,
    /// The line as the host's program writes it, where the scenario asks for that (`Scenario::line_as_written`) and the
    /// program writes it at all.
    pub written: Option<String>,
}

/// Something that a host's program tells the checks in a type of its own, by [`tell`](crate::tell).
///
/// Two facts are the same if they print the same: `Display` is what is hashed into the trace and what is printed,
/// so it must contain all that matters, and nothing that differs from run to run.
pub trait Fact: Any + fmt::Debug + fmt::Display + Send + Sync {}

impl PartialEq for dyn Fact {
    fn eq(&self, other: &Self) -> bool {
        self.to_string() == other.to_string()
    }
}

/// How far a rehearsal is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Phase {
    /// All hosts have started; from now on faults may begin.
    FaultsMayHappen,
    /// The last fault has ended and the last request has its reply: from now on everything must work.
    Healed,
}

/// Bytes that a host wrote to, or read from, a connection.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Passed {
    /// `read` or `wrote`.
    pub how: &'static str,
    /// The host at the other end.
    pub other: Arc<str>,
    /// How many.
    pub bytes: usize,
    /// All of them as a number.
    pub hash: u64,
}

/// What a host did with a disk.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct DiskUse {
    /// `read`, `append`, `sync` or `replace`, with `failed` behind it where it did; `lost` for what a power loss took.
    pub how: &'static str,
    /// The disk's name.
    pub disk: Arc<str>,
    /// How many bytes were concerned.
    pub bytes: usize,
    /// These bytes as a number.
    pub hash: u64,
}

/// One end of a client's call.
#[derive(Debug, Clone, PartialEq, Eq)]
#[expect(missing_docs, reason = "the fields are those of the request and of the reply")]
pub enum CallStep {
    /// The client makes it.
    Begins { client: String, kind: String, argument: String, deadline: Duration },
    /// The client has its reply.
    Ends { status: String, value: String },
}

impl Event {
    /// The fact that this event tells, if it tells one of this type.
    #[must_use]
    pub fn told<T: Fact>(&self) -> Option<&T> {
        let told = match &self.what {
            What::Told(fact) => (&**fact as &dyn Any).downcast_ref(),
            _ => None,
        };
        questions::fact::<T>(told.is_some());
        told
    }

    /// The log line that this event is, if it is one.
    #[must_use]
    pub fn line(&self) -> Option<&Line> {
        if let What::Log(line) = &self.what { Some(line) } else { None }
    }

    /// Whether this is a log line of exactly these words.
    #[must_use]
    pub fn says(&self, words: &str) -> bool {
        let says = self.line().is_some_and(|line| line.message == words);
        questions::words(words, says);
        says
    }

    /// The value under `name` of a log line, or of what the network did.
    #[must_use]
    pub fn field(&self, name: &str) -> Option<&Value> {
        self.read(name, Some)
    }

    /// The text under `name`, if there is one.
    #[must_use]
    pub fn text(&self, name: &str) -> Option<&str> {
        self.read(name, Value::as_str)
    }

    /// The number under `name`, if there is one without a fraction.
    #[must_use]
    pub fn number(&self, name: &str) -> Option<i64> {
        self.read(name, Value::as_i64)
    }

    fn read<'a, T>(&'a self, name: &str, read: impl Fn(&'a Value) -> Option<T>) -> Option<T> {
        match &self.what {
            What::Log(line) => line.read(name, read),
            What::Net(_, fields) => named(fields, name).and_then(read),
            _ => {
                questions::field(name, || Answer::Missing);
                None
            }
        }
    }
}

impl Line {
    /// The value under `name`, if the line has one.
    #[must_use]
    pub fn field(&self, name: &str) -> Option<&Value> {
        self.read(name, Some)
    }

    fn read<'a, T>(&'a self, name: &str, read: impl Fn(&'a Value) -> Option<T>) -> Option<T> {
        let value = named(&self.fields, name);
        let found = value.and_then(read);
        questions::field(name, || match value {
            _ if found.is_some() => Answer::Given,
            None if self.known.is_none_or(|known| known.field(name).is_some()) => Answer::Missing,
            _ => Answer::Impossible,
        });
        found
    }
}

fn named<'a>(fields: &'a Fields, name: &str) -> Option<&'a Value> {
    fields.iter().find(|(field, _)| *field == name).map(|(_, value)| value)
}

impl What {
    /// The name of its sort, as printed.
    #[must_use]
    pub fn name(&self) -> &'static str {
        match self {
            Self::Log(_) => "log",
            Self::Told(_) => "fact",
            Self::FaultBegins { .. } | Self::FaultEnds { .. } => "fault",
            Self::Phase(_) => "phase",
            Self::Net(..) => "net",
            Self::Bytes(_) => "bytes",
            Self::Disk(_) => "disk",
            Self::Call(_) => "call",
        }
    }
}

impl fmt::Display for Event {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let seconds = self.at.as_secs_f64();
        let (host, kind) = (&self.host, self.what.name());
        let id = self.request_id.as_deref().unwrap_or("-");
        write!(f, "{seconds:>9.3} {host:<10} {kind:<5} {id:<12} {}", self.what)
    }
}

impl fmt::Display for What {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Log(line) => {
                write!(f, "{}", line.message)?;
                write_fields(f, &line.fields)?;
                write!(f, " level={} target={}", line.level, line.target)
            }
            Self::Told(fact) => fmt::Display::fmt(fact, f),
            Self::FaultBegins { number, fault } => write!(f, "fault {number} begins: {}", fault.what),
            Self::FaultEnds { number, fault } => write!(f, "fault {number} ends: {}", fault.what),
            Self::Phase(phase) => write!(f, "{phase}"),
            Self::Net(text, fields) => {
                write!(f, "{text}")?;
                write_fields(f, fields)
            }
            Self::Bytes(Passed { how, other, bytes, hash }) => {
                write!(f, "{how} other={other} bytes={bytes} hash={hash:016x}")
            }
            Self::Disk(DiskUse { how, disk, bytes, hash }) => {
                write!(f, "{how} disk={disk} bytes={bytes} hash={hash:016x}")
            }
            Self::Call(CallStep::Begins { client, kind, argument, deadline }) => {
                let deadline = deadline.as_millis();
                write!(f, "begins client={client} kind={kind} argument={argument} deadline_ms={deadline}")
            }
            Self::Call(CallStep::Ends { status, value }) => write!(f, "ends status={status} value={value}"),
        }
    }
}

fn write_fields(f: &mut fmt::Formatter<'_>, fields: &Fields) -> fmt::Result {
    fields.iter().try_for_each(|(name, value)| write!(f, " {name}={value}"))
}

impl fmt::Display for Phase {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::FaultsMayHappen => "faults may happen",
            Self::Healed => "all has healed",
        })
    }
}
