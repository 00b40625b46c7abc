//! How much a service takes on at once. One call more is refused at once, before it is read any further.

use std::sync::Arc;

use crate::criticality::Criticality;
use crate::drain::{Drain, OpenWork};
use crate::gauges::{Count, Gauge, Gauges, Holds, Reading};
use crate::limits::Limits;
use crate::status::{Result, Status};

/// What one service has taken on: on one worker, or in the node where that is where its actor lives.
#[derive(Debug)]
pub(crate) struct Admission {
    pub(crate) service: &'static str,
    pub(crate) drain: Drain,
    limits: Limits,
    counts: [Count; Taken::ALL.len()],
}

/// What a service has a number of.
#[derive(Debug, Clone, Copy)]
pub(crate) enum Taken {
    /// Calls with one request and one answer.
    Calls,
    /// Calls with a streamed request or answer.
    Streams,
    /// Work that outlives its call.
    Background,
    /// Handlers that have begun.
    Handlers,
    /// Streamed answers that have not ended.
    Answers,
    /// The sources of their messages that have tasks of their own.
    Sources,
}

impl Taken {
    const ALL: [(Self, Gauge, &'static str); 6] = [
        (Self::Calls, Gauge::PermitsTaken, "calls"),
        (Self::Streams, Gauge::PermitsTaken, "streams"),
        (Self::Background, Gauge::PermitsTaken, "background"),
        (Self::Handlers, Gauge::HandlersRunning, ""),
        (Self::Answers, Gauge::StreamsOpen, "answer"),
        (Self::Sources, Gauge::StreamsOpen, "source"),
    ];
}

impl Admission {
    pub(crate) fn new(service: &'static str, limits: Limits, drain: Drain, gauges: &Gauges) -> Arc<Self> {
        let admission = Arc::new(Self { service, drain, limits, counts: Default::default() });
        gauges.watch(&admission);
        admission
    }

    /// Takes on a call, or refuses it, where it can be done without sooner than others. Calls with a streamed request or
    /// answer are counted apart.
    pub(crate) fn admit(self: &Arc<Self>, is_streaming: bool, criticality: Criticality) -> Result<Permit> {
        match is_streaming {
            true => self.permit(Taken::Streams, criticality.share(self.limits.streams), "streams"),
            false => self.permit(Taken::Calls, criticality.share(self.limits.calls), "calls"),
        }
    }

    /// Takes on work that outlives its call, or refuses it.
    pub(crate) fn admit_background(self: &Arc<Self>) -> Result<BackgroundPermit> {
        let permit = self.permit(Taken::Background, self.limits.calls, "background tasks")?;
        Ok(BackgroundPermit { _permit: permit, _open: self.drain.work() })
    }

    /// Counts one that has been admitted already.
    pub(crate) fn one(self: &Arc<Self>, of: Taken) -> Counted {
        self.count(of).add();
        Counted { admission: Arc::clone(self), of }
    }

    fn permit(self: &Arc<Self>, of: Taken, most: usize, what: &str) -> Result<Permit> {
        if !self.count(of).add_below(most) {
            let service = self.service;
            return Err(Status::resource_exhausted(format!("{service} has as many {what} as it takes on")));
        }
        Ok(Permit(Counted { admission: Arc::clone(self), of }))
    }

    fn count(&self, of: Taken) -> &Count {
        &self.counts[of as usize]
    }
}

impl Holds for Admission {
    fn tell(&self, reading: &mut Reading) {
        for (of, gauge, what) in Taken::ALL {
            reading.add(gauge, self.service, what, self.count(of).get());
        }
    }
}

/// One that is counted at its service for as long as it lives.
#[derive(Debug)]
pub(crate) struct Counted {
    admission: Arc<Admission>,
    of: Taken,
}

impl Drop for Counted {
    fn drop(&mut self) {
        self.admission.count(self.of).take_away();
    }
}

/// The permission for one call to be handled. It is held until the handler is done or dropped, which may be a
/// scheduling turn after its caller has gone, and for a streamed answer until that ends.
#[derive(Debug)]
pub(crate) struct Permit(Counted);

impl Permit {
    /// Its service.
    pub(crate) fn admission(&self) -> &Arc<Admission> {
        &self.0.admission
    }
}

/// The permission for work that outlives its call; the drain waits for it.
#[derive(Debug)]
pub(crate) struct BackgroundPermit {
    _permit: Permit,
    _open: OpenWork,
}
