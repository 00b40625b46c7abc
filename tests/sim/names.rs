//! Rehearsals of names that lead to other hosts from one moment to the next.

use std::collections::BTreeMap;
use std::ops::RangeInclusive;
use std::time::Duration;

use protos::app::grpc::service1::Service1;
use rehearse::facts::{CallMade, HandlerBegun};
use rehearse::{
    CallRecord, Event, Family, Fault, FaultKind, Foreign, Invariant, Load, Ms as _, Scenario, Swarm, Wants,
    What, promises,
};

use crate::{checks, scenarios};

/// The hosts of service1.
const HOSTS: [&str; 3] = ["service1", "spare1", "spare2"];

/// So long a name is not asked again; then it is by the next call, which itself still goes where the name led.
const ASKED_AFTER: Duration = Duration::from_secs(12);

/// How soon its answer is there.
const ANSWERED_WITHIN: Duration = Duration::from_millis(100);

/// What a call may take on its way, so that one that was sent before is handled after.
const ON_ITS_WAY: Duration = Duration::from_millis(200);

/// What a call has that waits: longer than faults may last, one behind the other, with a question that was lost at their end.
const PATIENT: RangeInclusive<Duration> = Duration::from_secs(16)..=Duration::from_secs(17);

/// The scenario of a name that loses hosts and gets them back.
pub(crate) fn names() -> Scenario {
    of_three("names", "the name of service1 loses hosts and gets them back")
}

/// The same, where hosts are asked whether they serve: nobody asks one to which the name leads no more.
pub(crate) fn watched() -> Scenario {
    let about = "the name of service1 loses hosts that are asked whether they serve, and gets them back";
    of_three("watched", about).flags(&["--policy", "health-check=true"])
}

fn of_three(name: &str, about: &str) -> Scenario {
    let load = Load::new(60, 24_000.ms(), 400.ms()..=800.ms());
    let load = scenarios::greetings(load);
    let swarm = Swarm::new(1..=6, 12_000.ms(), 1000.ms()..=18_000.ms()).only(&[Family::Unlisted]);
    let swarm = HOSTS.iter().fold(swarm, |swarm, host| swarm.host(host));
    let scenario = Scenario::new(name, about, load, swarm)
        .nodes(&["service1", "service2"], scenarios::app)
        .node("spare1", &["service1"], scenarios::app)
        .node("spare2", &["service1"], scenarios::app);
    scenario
        .by_names()
        .workers(1)
        .promises(promises::of_calls())
        .every_call("every reply belongs to its request", checks::right_value)
        .every_call("a name that changes, or leads nowhere, costs no call", checks::works)
        .fold("calls go where the name leads", calls_go_where_the_name_leads)
}

/// The scenario of hosts that are killed while their name loses them and gets them back, and are called by two workers, each of
/// which finds out for itself what it has lost.
pub(crate) fn killed() -> Scenario {
    let load = scenarios::greetings(Load::new(60, 12_000.ms(), 400.ms()..=800.ms()));
    let swarm = Swarm::new(2..=6, 8000.ms(), 300.ms()..=4000.ms()).host("service1").host("spare1");
    let about = "the hosts of service1 are killed, and its name loses them and gets them back";
    Scenario::new("killed", about, load, swarm.only(&[Family::Kill, Family::Unlisted]))
        .nodes(&["service1", "service2"], scenarios::app)
        .node("spare1", &["service1"], scenarios::app)
        .by_names()
        // That one host is down and the name does not lead to the other explains a failure, which that promise does not know.
        .promises(promises::of_calls().except(promises::STATUSES_ARE_EXPLAINED))
        .every_call("every reply belongs to its request", checks::right_value)
}

/// The scenario of a name that leads to nobody who serves for a while, whose callers wait.
pub(crate) fn moving() -> Scenario {
    // Few, since each call asks the name for those that wait.
    let load = Load::new(8, 8000.ms(), PATIENT);
    let swarm = Swarm::new(1..=2, 5000.ms(), 1500.ms()..=4000.ms());
    let about =
        "the name of service1 leads to nobody who serves for a while, or is silent, and its callers wait";
    waiting_for_spare1(Scenario::new("moving", about, scenarios::greetings(load), unlisted_or_silent(swarm)))
        .foreign("rude", Foreign::of::<Service1>().hangs_up())
}

/// The scenario of a name that leads nowhere when it is first asked, or that never led anywhere else.
pub(crate) fn nameless() -> Scenario {
    let load = Load::new(12, 8000.ms(), PATIENT);
    let swarm = Swarm::new(1..=2, 300.ms(), 1500.ms()..=6000.ms());
    let about = "the name of service1 leads nowhere for a while, or is silent, and its callers wait";
    waiting_for_spare1(Scenario::new(
        "nameless",
        about,
        scenarios::greetings(load),
        unlisted_or_silent(swarm),
    ))
}

fn unlisted_or_silent(swarm: Swarm) -> Swarm {
    swarm.host("spare1").only(&[Family::Unlisted, Family::SilentName])
}

/// Calls of a service by its name, which wait until it leads to spare1.
fn waiting_for_spare1(scenario: Scenario) -> Scenario {
    scenario
        .nodes(&["service2"], scenarios::app)
        .node("spare1", &["service1"], scenarios::app)
        .by_names()
        .workers(1)
        .flags(&["--policy", "wait-for-ready=true", "--deadline", "17s"])
        .recovers_within(20_000.ms())
        .promises(promises::of_calls().except(promises::REPLICAS_SHARE))
        .every_call("every reply belongs to its request", checks::right_value)
        .every_call("a call that waits until somebody serves is not lost", checks::works)
        .invariant(GoesWhenTheNameLeads::default)
}

/// How long a question that was lost is waited for.
const GIVEN_UP_AFTER: Duration = Duration::from_secs(5);

/// A name is asked again after a second at the latest while calls wait; then a connection is made, and the call takes its way.
const GOES_WITHIN: Duration = Duration::from_millis(1300);

/// A call goes as soon as the name leads to a host that serves.
#[derive(Debug, Default)]
struct GoesWhenTheNameLeads {
    /// When the name last led to such a host again; none while it does not, or has not ceased to.
    leads: Option<Duration>,
    /// Until when a question is waited for, at most, that was lost.
    hears: Duration,
    faults: usize,
    met: u64,
}

impl Invariant for GoesWhenTheNameLeads {
    fn name(&self) -> &str {
        "a call that waits goes when a name leads to who serves"
    }

    fn wants(&self) -> Wants {
        Wants::nothing()
    }

    fn event(&mut self, event: &Event) -> Result<(), String> {
        match &event.what {
            What::FaultBegins { .. } => (self.faults, self.leads) = (self.faults + 1, None),
            What::FaultEnds { fault, .. } => {
                self.faults -= 1;
                if fault.what.family() == Family::SilentName {
                    self.hears = event.at + GIVEN_UP_AFTER;
                }
                self.leads = (self.faults == 0).then_some(event.at);
            }
            _ => {}
        }
        Ok(())
    }

    fn call_ended(&mut self, call: &CallRecord) -> Result<(), String> {
        let Some((leads, ended)) = self.leads.zip(call.ended) else { return Ok(()) };
        self.met += 1;
        let due = leads.max(self.hears).max(call.started) + GOES_WITHIN;
        if ended <= due {
            return Ok(());
        }
        Err(format!(
            "{} was made at {} ms and had its reply at {} ms; expected it until {} ms, since from {} ms on the name of service1 \
             leads to a host that serves",
            call.request_id,
            call.started.as_millis(),
            ended.as_millis(),
            due.as_millis(),
            leads.as_millis()
        ))
    }

    fn met(&self) -> u64 {
        self.met
    }
}

/// Where the name leads.
#[derive(Debug, Default)]
struct Leads {
    /// To which hosts it does not lead, since when, and by how many faults.
    unlisted: BTreeMap<String, (usize, Duration)>,
    /// Since when it leads anywhere.
    since: Duration,
    /// When service2 called it.
    made: Vec<Duration>,
}

fn calls_go_where_the_name_leads(leads: &mut Leads, event: &Event) -> Result<(), String> {
    let Leads { unlisted, since, made } = leads;
    match &event.what {
        What::FaultBegins { fault: Fault { what: FaultKind::Unlisted { host }, .. }, .. } => {
            unlisted.entry(host.clone()).or_insert((0, event.at)).0 += 1;
        }
        What::FaultEnds { fault: Fault { what: FaultKind::Unlisted { host }, .. }, .. } => {
            if unlisted.len() == HOSTS.len() {
                *since = event.at;
            }
            unlisted.get_mut(host).into_iter().for_each(|(count, _)| *count -= 1);
            unlisted.retain(|_, (count, _)| *count > 0);
        }
        _ => {}
    }
    if event.told::<CallMade>().is_some() {
        made.push(event.at);
    }
    if event.told::<HandlerBegun>().is_none_or(|begun| begun.service != "service1") {
        return Ok(());
    }
    let Some((_, gone)) = unlisted.get(&*event.host) else { return Ok(()) };
    // Where a name leads nowhere, it is taken to lead where it did.
    let leads_nowhere = unlisted.len() == HOSTS.len();
    let asked = made.iter().find(|made| **made >= *gone.max(since) + ASKED_AFTER);
    if leads_nowhere || asked.is_none_or(|asked| event.at <= *asked + ANSWERED_WITHIN + ON_ITS_WAY) {
        return Ok(());
    }
    let after = (event.at - *gone).as_millis();
    Err(format!("a call came to {} {after} ms after the name led there no more", event.host))
}
