//! What must hold of calls, whatever services there are and whatever breaks: a set to take, to leave parts of, and to
//! allow more in. One type for each promise.

mod admission;
mod arrives;
mod asked;
mod at_rest;
mod attempts;
mod backoff;
mod beside;
mod breakers;
mod callers;
mod causes;
mod complaints;
mod connecting;
mod connections;
mod deadlines;
mod deaf;
mod deserved;
mod drains;
mod early;
mod edges;
mod failure;
mod faults;
mod gauged;
mod growing;
mod half;
mod handlers;
mod health;
mod hedges;
mod hops;
mod ids;
mod in_flight;
mod leaving;
mod left_alone;
mod lookups;
mod losers;
mod losses;
mod moments;
mod names;
mod opens;
mod outermost;
mod outgoing;
mod overdue;
mod panics;
mod probes;
mod processes;
mod prompt;
mod proof;
mod pushback;
mod requests;
mod right;
mod serving;
mod shares;
mod shed;
mod spending;
mod statuses;
mod strange;
mod table;
mod told;
mod tries;
mod twins;
mod unheard;
mod waits;
mod written;

use std::sync::Arc;
use std::time::Duration;

use sim::{CallRecord, Family, Reply, Scenario};
use transport::Code;

use self::admission::NoMoreThanAdmitted;
use self::arrives::WhatIsAddedArrives;
use self::asked::AskedLessAndLessOften;
use self::at_rest::{ComesToRest, WORK_ENDS, soon};
use self::backoff::BackoffIsKept;
use self::beside::OthersGoOn;
use self::callers::CallersWaitNoLonger;
use self::complaints::FailuresAreTold;
use self::connecting::{ConnectingEndsByItself, OneConnection};
use self::deadlines::{CallsEnd, DeadlinesShrink};
use self::deaf::DrainsCloseListeners;
use self::deserved::LeftOutForAReason;
use self::drains::DrainsCutOffNothing;
use self::early::NoDeadlinePassesEarly;
use self::edges::{EdgesKeepDeadlines, EndsInTime};
use self::gauged::GaugesTellWhatIs;
use self::growing::WaitsGrow;
use self::half::HalfAreLeftOutAtMost;
use self::handlers::{HandledOnceOrNotAtAll, HandlersEndWithTheirCalls};
use self::health::HealthIsTold;
use self::hedges::HedgedWhenLate;
use self::ids::{LinesKnowTheirCallers, RepliesCarryIds};
use self::in_flight::NoMoreInFlight;
use self::leaving::{DrainsEnd, DrainsTakeNothingOn};
use self::lookups::NamesAreAskedSeldom;
use self::losers::LosersAreCancelled;
use self::moments::DeadlinesAreMoments;
pub use self::names::{
    ACCESS_LINES_ARE_TRUE, ASKED_LESS_AND_LESS_OFTEN, ATTEMPTS_ARE_PAID_FOR, BACKOFF_IS_KEPT,
    CALLERS_WAIT_NO_LONGER, CALLS_END, CANCELLED_IN_TIME, CONNECTING_ENDS_BY_ITSELF, DEADLINES_ARE_MOMENTS,
    DEADLINES_SHRINK, DRAINS_CLOSE_LISTENERS, DRAINS_CUT_OFF_NOTHING, DRAINS_END, DRAINS_TAKE_NOTHING_ON,
    EDGES_END_CALLS, EDGES_KEEP_DEADLINES, FAILURES_ARE_TOLD, GAUGES_TELL_WHAT_IS, HALF_ARE_LEFT_OUT_AT_MOST,
    HANDLED_ONCE, HANDLERS_END_BY_DEADLINES, HANDLERS_END_WITH_CALLS, HEALTH_IS_TOLD, HEDGED_WHEN_LATE,
    LEFT_OUT_FOR_A_REASON, LINES_KNOW_THEIR_CALLERS, LOGS_ARE_AS_TOLD, LOSERS_ARE_CANCELLED,
    NAMES_ARE_ASKED_SELDOM, NO_DEADLINE_PASSES_EARLY, NO_MORE_IN_FLIGHT, NO_MORE_THAN_ADMITTED,
    NODES_COME_TO_REST, ONE_CONNECTION, ONE_PROBE_AT_A_TIME, ONLY_THE_OUTERMOST_REPEATS, OPENS_FOR_A_REASON,
    OTHERS_GO_ON, PUSHBACK_IS_HEEDED, REPEATED_ONLY_WITH_PROOF, REPEATED_WITHIN_BACKOFF, REPLICAS_SHARE,
    REPLIES_CARRY_IDS, SERVING_IS_HEEDED, STATUSES_ARE_EXPLAINED, STATUSES_NAME_NO_ADDRESS,
    STRANGERS_ARE_SERVED, TRIED_TWICE_AT_MOST, WAITS_GROW, WHAT_IS_ADDED_ARRIVES, WORK_COMES_TO_REST,
    WORKERS_SHARE,
};
use self::opens::OpensForAReason;
use self::outermost::OnlyTheOutermostRepeats;
use self::overdue::CancelledInTime;
use self::probes::OneProbeAtATime;
use self::prompt::RepeatedWithinBackoff;
use self::proof::RepeatedOnlyWithProof;
use self::pushback::PushbackIsHeeded;
use self::serving::ServingIsHeeded;
use self::shares::{ReplicasShare, WorkersShare};
use self::spending::AttemptsArePaidFor;
use self::statuses::StatusesAreExplained;
use self::strange::StrangersAreServed;
use self::told::AccessLinesAreTrue;
use self::tries::TriedTwiceAtMost;
use self::written::LogsAreAsTold;
use crate::clients::{GRPC_PORT, HTTP_PORT, code_named};
use crate::setting::Setting;

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
    // What a node cannot store it does not take on.
    let allowed = vec![(Family::FailingDisk, Code::Unavailable)];
    OfCalls { except: Vec::new(), allowed, enough: ENOUGH }
}

impl OfCalls {
    /// Leaves out the promise of this name. Where there is none, the scenario is told to be set up wrongly.
    #[must_use]
    pub fn except(mut self, name: &'static str) -> Self {
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
        let unknown = self.except.iter().find(|name| ALL.iter().all(|(known, _)| known != *name));
        if let Some(name) = unknown {
            let known = ALL.iter().map(|(known, _)| *known).collect::<Vec<_>>().join(", ");
            let mistake = format!("the promise {name:?} is to be left out, and is not there");
            return scenario.mistake(format!("{mistake}: expected one of {known}"));
        }
        let taken = ALL.iter().filter(|(name, _)| !self.except.contains(name));
        let scenario =
            taken.fold(scenario, |scenario, (_, add)| add(scenario, self.clone(), Arc::clone(setting)));
        if setting.is_of_processes() { processes::add_to(scenario, self, setting) } else { scenario }
    }
}

/// Where services are is for the log of who calls them.
fn names_no_address(call: &CallRecord, setting: &Setting) -> Result<(), String> {
    let said = call.reply.as_ref().filter(|reply| code_named(&reply.status).is_some());
    let Some(message) = said.and_then(Reply::message) else { return Ok(()) };
    let is_at =
        |host: &str| [GRPC_PORT, HTTP_PORT].iter().any(|port| message.contains(&format!("{host}:{port}")));
    // Processes are all on this machine, on any ports.
    let is_named = setting.graph.nodes().any(is_at) || message.contains("127.0.0.1:");
    if is_named { Err(format!("{} is told {message:?}", call.request_id)) } else { Ok(()) }
}

type Add = fn(Scenario, OfCalls, Arc<Setting>) -> Scenario;

const ALL: &[(&str, Add)] = &[
    (CALLS_END, |to, _, setting| to.invariant(move || CallsEnd::new(&setting))),
    (REPLIES_CARRY_IDS, |to, _, _| to.invariant(RepliesCarryIds::default)),
    (LINES_KNOW_THEIR_CALLERS, |to, _, setting| to.invariant(move || LinesKnowTheirCallers::new(&setting))),
    (STATUSES_ARE_EXPLAINED, |to, set, setting| {
        to.invariant(move || StatusesAreExplained::new(&setting, set.allowed.clone(), set.enough))
    }),
    (STATUSES_NAME_NO_ADDRESS, |to, _, setting| {
        to.every_call(STATUSES_NAME_NO_ADDRESS, move |call| names_no_address(call, &setting))
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
    (ACCESS_LINES_ARE_TRUE, |to, _, setting| to.invariant(move || AccessLinesAreTrue::new(&setting))),
    (CANCELLED_IN_TIME, |to, _, setting| to.invariant(move || CancelledInTime::new(&setting))),
    (FAILURES_ARE_TOLD, |to, _, setting| to.invariant(move || FailuresAreTold::new(&setting))),
    (CALLERS_WAIT_NO_LONGER, |to, _, setting| to.invariant(move || CallersWaitNoLonger::new(&setting))),
    (WORKERS_SHARE, |to, _, setting| to.invariant(move || WorkersShare::new(&setting))),
    (DRAINS_CLOSE_LISTENERS, |to, _, setting| to.invariant(move || DrainsCloseListeners::new(&setting))),
    // Where every service has one host, there is nothing to share.
    (REPLICAS_SHARE, |to, _, setting| {
        let has_replicas = setting.graph.replicated().count() > 0;
        if has_replicas { to.invariant(move || ReplicasShare::new(&setting)) } else { to }
    }),
    // Nobody leaves out all that there are.
    (LEFT_OUT_FOR_A_REASON, |to, _, setting| {
        let has_replicas = setting.graph.replicated().count() > 0;
        if has_replicas { to.invariant(move || LeftOutForAReason::new(&setting)) } else { to }
    }),
    (HALF_ARE_LEFT_OUT_AT_MOST, |to, _, setting| {
        let has_replicas = setting.graph.replicated().count() > 0;
        if has_replicas { to.invariant(move || HalfAreLeftOutAtMost::new(&setting)) } else { to }
    }),
    // Where nobody asks for the health of nodes, there is nothing to promise.
    (HEALTH_IS_TOLD, |to, _, setting| match setting.checks_health {
        true => to.invariant(move || HealthIsTold::new(&setting)),
        false => to,
    }),
    (DRAINS_CUT_OFF_NOTHING, |to, set, setting| {
        to.invariant(move || DrainsCutOffNothing::new(&setting, set.enough))
    }),
    (CONNECTING_ENDS_BY_ITSELF, |to, _, setting| to.invariant(move || ConnectingEndsByItself::new(&setting))),
    (BACKOFF_IS_KEPT, |to, _, setting| to.invariant(move || BackoffIsKept::new(&setting))),
    (DEADLINES_ARE_MOMENTS, |to, _, setting| to.invariant(move || DeadlinesAreMoments::new(&setting))),
    (NO_DEADLINE_PASSES_EARLY, |to, _, setting| to.invariant(move || NoDeadlinePassesEarly::new(&setting))),
    (TRIED_TWICE_AT_MOST, |to, _, setting| to.invariant(move || TriedTwiceAtMost::new(&setting))),
    (WHAT_IS_ADDED_ARRIVES, |to, _, setting| to.invariant(move || WhatIsAddedArrives::new(&setting))),
    (REPEATED_ONLY_WITH_PROOF, |to, _, _| to.invariant(RepeatedOnlyWithProof::default)),
    (REPEATED_WITHIN_BACKOFF, |to, _, setting| to.invariant(move || RepeatedWithinBackoff::new(&setting))),
    (ONLY_THE_OUTERMOST_REPEATS, |to, _, setting| {
        to.invariant(move || OnlyTheOutermostRepeats::new(&setting))
    }),
    (LOSERS_ARE_CANCELLED, |to, _, _| to.invariant(LosersAreCancelled::default)),
    (OTHERS_GO_ON, |to, _, _| to.invariant(OthersGoOn::default)),
    (HEDGED_WHEN_LATE, |to, _, setting| to.invariant(move || HedgedWhenLate::new(&setting))),
    (ATTEMPTS_ARE_PAID_FOR, |to, _, _| to.invariant(AttemptsArePaidFor::default)),
    (ONE_PROBE_AT_A_TIME, |to, _, setting| to.invariant(move || OneProbeAtATime::new(&setting))),
    (OPENS_FOR_A_REASON, |to, _, setting| match setting.breakers.is_empty() {
        true => to,
        false => to.invariant(move || OpensForAReason::new(&setting)),
    }),
    (NO_MORE_IN_FLIGHT, |to, _, setting| match setting.max_in_flight.is_empty() {
        true => to,
        false => to.invariant(move || NoMoreInFlight::new(&setting)),
    }),
    // Nodes do not push back; a server that is none may.
    (PUSHBACK_IS_HEEDED, |to, _, setting| match setting.graph.has_foreign() {
        true => to.invariant(PushbackIsHeeded::default),
        false => to,
    }),
    // Where nobody asks, there is nothing to heed.
    (SERVING_IS_HEEDED, |to, _, setting| match !setting.health_checked.is_empty() {
        true => to.invariant(move || ServingIsHeeded::new(&setting)),
        false => to,
    }),
    (ASKED_LESS_AND_LESS_OFTEN, |to, _, setting| match setting.graph.has_foreign() {
        true => to.invariant(move || AskedLessAndLessOften::new(&setting)),
        false => to,
    }),
    // Where services are found by addresses, there is nobody to ask.
    (NAMES_ARE_ASKED_SELDOM, |to, _, setting| match setting.by_names {
        true => to.invariant(move || NamesAreAskedSeldom::new(&setting)),
        false => to,
    }),
    // Where nobody comes, there is nothing to promise.
    (STRANGERS_ARE_SERVED, |to, _, setting| match setting.strangers.is_empty() {
        true => to,
        false => to.invariant(move || StrangersAreServed::new(&setting)),
    }),
    // Nodes that are well are seldom left alone again and again.
    (WAITS_GROW, |to, _, setting| match setting.graph.has_foreign() || !setting.breakers.is_empty() {
        true => to.invariant(move || WaitsGrow::new(&setting)),
        false => to,
    }),
    // Where gauges are read at the end only, there is nothing to compare.
    (GAUGES_TELL_WHAT_IS, |to, _, setting| match setting.reads_gauges {
        true => to.invariant(move || GaugesTellWhatIs::new(&setting)),
        false => to,
    }),
    // Where nobody looks at logs, there is nothing to judge.
    (LOGS_ARE_AS_TOLD, |to, _, setting| match setting.log.is_some() && !setting.is_of_processes() {
        true => to.invariant(move || LogsAreAsTold::new(&setting)),
        false => to,
    }),
    (DRAINS_END, |to, _, setting| to.invariant(move || DrainsEnd::new(&setting))),
    (DRAINS_TAKE_NOTHING_ON, |to, _, setting| to.invariant(move || DrainsTakeNothingOn::new(&setting))),
    (ONE_CONNECTION, |to, _, setting| to.invariant(move || OneConnection::new(&setting))),
    (NODES_COME_TO_REST, |to, _, setting| {
        let within = soon(&setting);
        to.eventually(NODES_COME_TO_REST, move || ComesToRest::soon(&setting), within)
    }),
    (WORK_COMES_TO_REST, |to, _, setting| {
        to.eventually(WORK_COMES_TO_REST, move || ComesToRest::patient(&setting), WORK_ENDS)
    }),
];
