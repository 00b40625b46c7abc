//! What must hold of calls, whatever services there are and whatever breaks: a set to take, to leave parts of, and to
//! allow more in. One type for each promise.

mod admission;
mod connections;
mod deadlines;
mod drains;
mod edges;
mod failure;
mod faults;
mod handlers;
mod hops;
mod ids;
mod statuses;
mod table;

use std::sync::Arc;
use std::time::Duration;

use sim::{Family, Scenario};
use transport::Code;

use self::admission::NoMoreThanAdmitted;
use self::deadlines::{CallsEnd, DeadlinesShrink};
use self::drains::DrainsCutOffNothing;
use self::edges::{EdgesKeepDeadlines, EndsInTime};
use self::handlers::{HandledOnceOrNotAtAll, HandlersEndWithTheirCalls};
use self::ids::{LinesKnowTheirCallers, RepliesCarryIds};
use self::statuses::StatusesAreExplained;
use crate::setting::Setting;

/// Every call ends by its deadline, whatever happens.
pub const CALLS_END: &str = "every call ends by its deadline";
/// The request id that comes back is the caller's.
pub const REPLIES_CARRY_IDS: &str = "every reply carries its caller's request id";
/// Every log line that belongs to a call carries the id of one that a client made, on whose way the host lies.
pub const LINES_KNOW_THEIR_CALLERS: &str = "every log line carries its caller's request id";
/// A call that fails, fails for a reason: a fault on its way, a service that is full, a failure further inside.
pub const STATUSES_ARE_EXPLAINED: &str = "a status is one that the faults explain";
/// A handler has no more time than the call had, and a call no more than the handler that makes it.
pub const DEADLINES_SHRINK: &str = "each hop gets what is left of its caller's deadline";
/// By the access line, no call took longer at its edge than its deadline.
pub const EDGES_KEEP_DEADLINES: &str = "no call takes longer at its edge than its deadline";
/// Every call whose handler has begun has its access line by its deadline.
pub const EDGES_END_CALLS: &str = "every call ends at its edge by its deadline";
/// No handler runs on after its deadline.
pub const HANDLERS_END_BY_DEADLINES: &str = "no handler runs on after its deadline";
/// No handler runs on when the call that it handles has ended.
pub const HANDLERS_END_WITH_CALLS: &str = "no handler runs on when its call has ended";
/// A service takes on no more calls at once than its limit says.
pub const NO_MORE_THAN_ADMITTED: &str = "a service takes on no more calls than it says";
/// A call is handled once at most, once if it worked, and never if it was not sent.
pub const HANDLED_ONCE: &str = "a call is handled once at most, and never if it was not sent";
/// A drain cuts off no call whose handler has begun.
pub const DRAINS_CUT_OFF_NOTHING: &str = "a drain cuts off no call that was begun";

/// What a call over one or two hops of a healthy network may take at most, unless a scenario says otherwise.
pub const ENOUGH: Duration = Duration::from_millis(250);

/// Promises about the calls of a scenario.
#[derive(Debug, Clone)]
pub struct OfCalls {
    except: Vec<&'static str>,
    allowed: Vec<(Family, Code)>,
    enough: Duration,
}

/// All promises about calls.
#[must_use]
pub fn of_calls() -> OfCalls {
    OfCalls { except: Vec::new(), allowed: Vec::new(), enough: ENOUGH }
}

impl OfCalls {
    /// Leaves out the promise of this name.
    ///
    /// # Panics
    /// When there is none.
    #[must_use]
    pub fn except(mut self, name: &'static str) -> Self {
        assert!(ALL.iter().any(|(known, _)| *known == name), "there is no promise {name:?} to leave out");
        self.except.push(name);
        self
    }

    /// A fault of `family` on the way of a call may make it come to `code`.
    #[must_use]
    pub fn allow(mut self, family: Family, code: Code) -> Self {
        self.allowed.push((family, code));
        self
    }

    /// What a call over one or two hops of a healthy network may take, [`ENOUGH`] at first, and half as much for each
    /// further hop. A caller with less is not promised that its call is in time.
    #[must_use]
    pub fn enough(self, enough: Duration) -> Self {
        Self { enough, ..self }
    }

    /// Adds each of them to a scenario.
    pub(crate) fn add_to(&self, scenario: Scenario, setting: &Arc<Setting>) -> Scenario {
        let taken = ALL.iter().filter(|(name, _)| !self.except.contains(name));
        taken.fold(scenario, |scenario, (_, add)| add(scenario, self.clone(), Arc::clone(setting)))
    }
}

type Add = fn(Scenario, OfCalls, Arc<Setting>) -> Scenario;

const ALL: &[(&str, Add)] = &[
    (CALLS_END, |to, _, _| to.invariant(CallsEnd::default)),
    (REPLIES_CARRY_IDS, |to, _, _| to.invariant(RepliesCarryIds::default)),
    (LINES_KNOW_THEIR_CALLERS, |to, _, setting| to.invariant(move || LinesKnowTheirCallers::new(&setting))),
    (STATUSES_ARE_EXPLAINED, |to, set, setting| {
        to.invariant(move || StatusesAreExplained::new(&setting, set.allowed.clone(), set.enough))
    }),
    (DEADLINES_SHRINK, |to, _, setting| to.invariant(move || DeadlinesShrink::new(&setting))),
    (EDGES_KEEP_DEADLINES, |to, _, setting| to.invariant(move || EdgesKeepDeadlines::new(&setting))),
    (EDGES_END_CALLS, |to, _, setting| to.invariant(move || EndsInTime::edges(&setting))),
    (HANDLERS_END_BY_DEADLINES, |to, _, setting| to.invariant(move || EndsInTime::handlers(&setting))),
    (HANDLERS_END_WITH_CALLS, |to, _, setting| {
        to.invariant(move || HandlersEndWithTheirCalls::new(&setting))
    }),
    (NO_MORE_THAN_ADMITTED, |to, _, setting| to.invariant(move || NoMoreThanAdmitted::new(&setting))),
    (HANDLED_ONCE, |to, _, setting| to.invariant(move || HandledOnceOrNotAtAll::new(&setting))),
    (DRAINS_CUT_OFF_NOTHING, |to, set, setting| {
        to.invariant(move || DrainsCutOffNothing::new(&setting, set.enough))
    }),
];
