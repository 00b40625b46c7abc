//! Clients that speak as no library does: what each says to a node byte by byte, and what must come back, and when.
//!
//! The clients of a [`Load`](crate::Load) speak as libraries do. What only others meet, as who pipelines, dribbles, falls
//! silent in the middle of a head, or half-closes, is seen by strangers beside them
//! ([`Load::strangers`](crate::Load::strangers)).

mod answer;
mod call;
pub mod http2;

use std::time::Duration;

use bytes::Bytes;

pub use self::answer::Answer;
pub use self::call::Call;

/// A client that is a script. Its steps follow each other, over one connection; when they are through, it closes that.
///
/// A node is told nothing of where the script cuts what it says: a seed cuts that into segments. Times count from when
/// the client last [said](Self::says) something anew, or connected.
///
/// ```
/// use rehearse::strangers::{Answer, Stranger};
/// use rehearse::Ms as _;
///
/// let head = "HEAD /healthz HTTP/1.1\r\nhost: node\r\n\r\n";
/// let get = "GET /healthz HTTP/1.1\r\nhost: node\r\n\r\n";
/// let pipelining = Stranger::over_rest("pipelines")
///     .says_at_once([head, get].concat())
///     .hears(Answer::new(200).without_body().of_length(6))
///     .hears(Answer::new(200).of_length(6));
/// let silent = Stranger::over_rest("says nothing").is_closed_after(10_000.ms());
/// # assert_ne!(format!("{pipelining:?}"), format!("{silent:?}"));
/// ```
#[derive(Debug, Clone)]
pub struct Stranger {
    pub(crate) name: &'static str,
    pub(crate) edge: Edge,
    /// The service that must be there; none if any node will do.
    pub(crate) service: Option<&'static str>,
    pub(crate) steps: Vec<Step>,
}

/// Where it connects to.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Edge {
    Rest,
    Grpc,
}

#[derive(Debug, Clone)]
pub(crate) enum Step {
    Says(Saying),
    Waits(Duration),
    HalfCloses,
    Hears(Heard, When),
    /// Asks again and again, until an answer says that the connection is over, or so many times.
    AsksUntilToldToLeave {
        request: Bytes,
        times: u32,
    },
    /// Waits so long for GOAWAY, and for the end that follows; the script is through where none comes.
    AwaitsGoaway(Duration),
    /// Says this so many times, a segment's time apart, and is not reset.
    IsRead {
        bytes: Bytes,
        times: u32,
    },
    Calls(Call),
}

#[derive(Debug, Clone)]
pub(crate) struct Saying {
    pub(crate) bytes: Bytes,
    /// Whether it is one segment, whatever the seed.
    pub(crate) is_whole: bool,
    /// Whether times count from here.
    pub(crate) is_new: bool,
}

/// What the client is to hear next.
#[derive(Debug, Clone)]
pub(crate) enum Heard {
    Answer(Answer),
    /// A frame that begins with these bytes behind its length. Others before it are passed over.
    Frame(Bytes),
    /// The end of all that the node says.
    End,
}

/// When it hears that.
#[derive(Debug, Clone, Copy)]
pub(crate) enum When {
    /// At once, but for the work and the way.
    Soon,
    /// So long after the client has last said something anew, and not before.
    After(Duration),
}

impl Stranger {
    /// One that connects where a node serves REST.
    #[must_use]
    pub fn over_rest(name: &'static str) -> Self {
        Self { name, edge: Edge::Rest, service: None, steps: Vec::new() }
    }

    /// One that connects where a node serves gRPC.
    #[must_use]
    pub fn over_grpc(name: &'static str) -> Self {
        Self { edge: Edge::Grpc, ..Self::over_rest(name) }
    }

    /// It goes to hosts of this service only; to any node at first.
    #[must_use]
    pub fn of(self, service: &'static str) -> Self {
        Self { service: Some(service), ..self }
    }

    /// It says this, and times count from here.
    #[must_use]
    pub fn says(self, bytes: impl Into<Bytes>) -> Self {
        self.then(Step::Says(Saying { bytes: bytes.into(), is_whole: false, is_new: true }))
    }

    /// It says this in one segment, however the seed cuts.
    #[must_use]
    pub fn says_at_once(self, bytes: impl Into<Bytes>) -> Self {
        self.then(Step::Says(Saying { bytes: bytes.into(), is_whole: true, is_new: true }))
    }

    /// It goes on saying this: times count from before.
    #[must_use]
    pub fn adds(self, bytes: impl Into<Bytes>) -> Self {
        self.then(Step::Says(Saying { bytes: bytes.into(), is_whole: false, is_new: false }))
    }

    /// It says and reads nothing for so long.
    #[must_use]
    pub fn waits(self, time: Duration) -> Self {
        self.then(Step::Waits(time))
    }

    /// It says that it has said all, and reads on.
    #[must_use]
    pub fn half_closes(self) -> Self {
        self.then(Step::HalfCloses)
    }

    /// It gets this answer at once.
    #[must_use]
    pub fn hears(self, answer: Answer) -> Self {
        self.then(Step::Hears(Heard::Answer(answer), When::Soon))
    }

    /// It gets this answer after so long, and not before.
    #[must_use]
    pub fn hears_after(self, time: Duration, answer: Answer) -> Self {
        self.then(Step::Hears(Heard::Answer(answer), When::After(time)))
    }

    /// It gets a frame of HTTP/2 at once that begins with these bytes behind its length: type, flags, stream, payload. It answers
    /// PINGs meanwhile.
    #[must_use]
    pub fn hears_frame(self, beginning: impl Into<Bytes>) -> Self {
        self.then(Step::Hears(Heard::Frame(beginning.into()), When::Soon))
    }

    /// The node closes the connection at once, and says nothing more. Frames of HTTP/2 do not count, and get no answer.
    #[must_use]
    pub fn is_closed(self) -> Self {
        self.then(Step::Hears(Heard::End, When::Soon))
    }

    /// The node closes the connection after so long, and not before, and says nothing more.
    #[must_use]
    pub fn is_closed_after(self, time: Duration) -> Self {
        self.then(Step::Hears(Heard::End, When::After(time)))
    }

    /// It asks again and again, as soon as it has its answer and so many times, each time in one piece: who is to leave must
    /// be told so before its connection ends.
    #[must_use]
    pub fn asks_until_told_to_leave(self, request: impl Into<Bytes>, times: u32) -> Self {
        self.then(Step::AsksUntilToldToLeave { request: request.into(), times })
    }

    /// It waits so long for GOAWAY and the end that follows. Where the node does not drain, the script is through.
    #[must_use]
    pub fn awaits_goaway(self, most: Duration) -> Self {
        self.then(Step::AwaitsGoaway(most))
    }

    /// It says this so many times, with the time of a segment between them, and the node does not reset the connection.
    #[must_use]
    pub fn is_read(self, bytes: impl Into<Bytes>, times: u32) -> Self {
        self.then(Step::IsRead { bytes: bytes.into(), times })
    }

    /// It makes a call over HTTP/2. One connection has all of its calls, and nothing else is said on it.
    #[must_use]
    pub fn calls(self, call: Call) -> Self {
        self.then(Step::Calls(call))
    }

    fn then(mut self, step: Step) -> Self {
        self.steps.push(step);
        self
    }

    /// How plans call it.
    pub(crate) fn title(&self) -> String {
        let edge = if self.edge == Edge::Rest { "rest" } else { "grpc" };
        format!("{edge} {}", self.name)
    }

    /// How long the script takes, but for segments and for what comes at once.
    pub(crate) fn takes(&self) -> Duration {
        self.steps.iter().map(Step::takes).sum()
    }

    /// How often something is to come at once.
    pub(crate) fn answers(&self) -> u32 {
        self.steps.iter().map(Step::answers).sum()
    }
}

impl Step {
    fn takes(&self) -> Duration {
        match self {
            Self::Waits(time) | Self::AwaitsGoaway(time) | Self::Hears(_, When::After(time)) => *time,
            Self::Calls(call) => call.takes(),
            _ => Duration::ZERO,
        }
    }

    fn answers(&self) -> u32 {
        match self {
            Self::AsksUntilToldToLeave { times, .. } | Self::IsRead { times, .. } => *times,
            _ => 1,
        }
    }
}
