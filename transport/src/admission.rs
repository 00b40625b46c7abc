//! How much a service takes on at once. One call more is refused at once, before it is read any further.

use std::sync::Arc;
use std::task::Waker;

use crate::awaiting::{Awaiting, GivesWay};
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
    /// Those of its calls, and of its streams, whose request has not come.
    awaiting: [Awaiting; 2],
}

/// What a service has a number of.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
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
        let (counts, awaiting) = Default::default();
        let admission = Arc::new(Self { service, drain, limits, counts, awaiting });
        gauges.watch(&admission);
        admission
    }

    /// Takes on a call of `client`, or refuses it, where it can be done without sooner than others. Calls with a streamed
    /// request or answer are counted apart. Where all permits are taken, one whose request has not come may have to give its
    /// own up (see [`Awaiting`]), but to none that can be done without.
    pub(crate) fn admit(
        self: &Arc<Self>,
        is_streaming: bool,
        criticality: Criticality,
        client: Option<usize>,
    ) -> Result<Permit> {
        let (of, most, what) = match is_streaming {
            true => (Taken::Streams, self.limits.streams, "streams"),
            false => (Taken::Calls, self.limits.calls, "calls"),
        };
        match self.permit(of, criticality.share(most), what) {
            Err(_) if criticality != Criticality::Sheddable && self.awaiting(of).give_way_to(client) => {
                Ok(self.permit_of_another(of))
            }
            permit => permit,
        }
    }

    /// The call of `client` that has `permit` waits for its request. It is woken when it has to give way, after `gives_way`, which
    /// is dropped when it waits no longer.
    pub(crate) fn awaits_request(
        client: usize,
        permit: Permit,
        waker: &Waker,
        gives_way: GivesWay,
    ) -> Awaited {
        let number = permit.admission().awaiting(permit.0.of).enter(client, waker, gives_way);
        Awaited { permit: Some(permit), client, number }
    }

    /// Takes on work that outlives its call, or refuses it.
    pub(crate) fn admit_background(self: &Arc<Self>) -> Result<BackgroundPermit> {
        let permit = self.permit(Taken::Background, self.limits.calls, "background tasks")?;
        Ok(BackgroundPermit { _permit: permit, _open: self.drain.work() })
    }

    /// Counts one that has been admitted already.
    pub(crate) fn one(self: &Arc<Self>, of: Taken) -> Counted {
        self.count(of).add();
        Counted { admission: Arc::clone(self), of, is_passed_on: false }
    }

    fn permit(self: &Arc<Self>, of: Taken, most: usize, what: &str) -> Result<Permit> {
        if !self.count(of).add_below(most) {
            let service = self.service;
            return Err(Status::resource_exhausted(format!("{service} has as many {what} as it takes on")));
        }
        Ok(self.permit_of_another(of))
    }

    /// A permit that is counted already.
    fn permit_of_another(self: &Arc<Self>, of: Taken) -> Permit {
        Permit(Counted { admission: Arc::clone(self), of, is_passed_on: false })
    }

    fn awaiting(&self, of: Taken) -> &Awaiting {
        &self.awaiting[usize::from(of == Taken::Streams)]
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
    /// Whether another one counts in its place.
    is_passed_on: bool,
}

impl Drop for Counted {
    fn drop(&mut self) {
        if !self.is_passed_on {
            self.admission.count(self.of).take_away();
        }
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

/// A call that waits for its request. It may have to give its permit up.
pub(crate) struct Awaited {
    /// None once it waits no longer.
    permit: Option<Permit>,
    client: usize,
    number: u64,
}

impl Awaited {
    /// Whether it has its permit yet; if so, `waker` is woken when it has not.
    pub(crate) fn goes_on(&self, waker: &Waker) -> bool {
        let awaiting = |permit: &Permit| {
            let awaiting = permit.admission().awaiting(permit.0.of);
            awaiting.waits(self.client, self.number, waker)
        };
        self.permit.as_ref().is_some_and(awaiting)
    }

    /// It waits no longer: gives the permit back.
    ///
    /// # Errors
    ///
    /// `RESOURCE_EXHAUSTED` if that is another's.
    pub(crate) fn end(mut self) -> Result<Permit> {
        let permit = self.leave().expect("it ends once");
        if permit.0.is_passed_on {
            let service = permit.admission().service;
            return Err(Status::resource_exhausted(format!(
                "{service} has as many calls as it takes on, and the request of this one has not come"
            )));
        }
        Ok(permit)
    }

    fn leave(&mut self) -> Option<Permit> {
        let mut permit = self.permit.take()?;
        let awaiting = permit.admission().awaiting(permit.0.of);
        permit.0.is_passed_on = !awaiting.leave(self.client, self.number);
        Some(permit)
    }
}

impl Drop for Awaited {
    fn drop(&mut self) {
        drop(self.leave());
    }
}

/// The permission for work that outlives its call; the drain waits for it.
#[derive(Debug)]
pub(crate) struct BackgroundPermit {
    _permit: Permit,
    _open: OpenWork,
}
