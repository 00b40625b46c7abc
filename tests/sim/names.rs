//! Rehearsals of names that lead to other hosts from one moment to the next.

use std::collections::BTreeMap;
use std::time::Duration;

use rehearse::facts::HandlerBegun;
use rehearse::{Event, Family, Fault, FaultKind, Load, Ms as _, Scenario, Swarm, What, promises};

use crate::{checks, scenarios};

/// The hosts of service1.
const HOSTS: [&str; 3] = ["service1", "spare1", "spare2"];

/// So long a name may have led to a host that it leads to no more: until it is asked again, and its answer is there.
const ASKED_WITHIN: Duration = Duration::from_millis(12_100);

/// What a call may take on its way, so that one that was sent before is handled after.
const ON_ITS_WAY: Duration = Duration::from_millis(200);

/// The scenario of a name that loses hosts and gets them back.
pub(crate) fn names() -> Scenario {
    let load = Load::new(60, 24_000.ms(), 400.ms()..=800.ms());
    let load = scenarios::greetings(load);
    let swarm = Swarm::new(1..=6, 12_000.ms(), 1000.ms()..=18_000.ms()).only(&[Family::Unlisted]);
    let swarm = HOSTS.iter().fold(swarm, |swarm, host| swarm.host(host));
    let scenario = Scenario::new("names", "the name of service1 loses hosts and gets them back", load, swarm)
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

/// Where the name leads.
#[derive(Debug, Default)]
struct Leads {
    /// To which hosts it does not lead, since when, and by how many faults.
    unlisted: BTreeMap<String, (usize, Duration)>,
    /// Since when it leads anywhere.
    since: Duration,
}

fn calls_go_where_the_name_leads(leads: &mut Leads, event: &Event) -> Result<(), String> {
    let Leads { unlisted, since } = leads;
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
    if event.told::<HandlerBegun>().is_none_or(|begun| begun.service != "service1") {
        return Ok(());
    }
    let Some((_, gone)) = unlisted.get(&*event.host) else { return Ok(()) };
    // Where a name leads nowhere, it is taken to lead where it did.
    let leads_nowhere = unlisted.len() == HOSTS.len();
    if leads_nowhere || event.at <= *(gone.max(since)) + ASKED_WITHIN + ON_ITS_WAY {
        return Ok(());
    }
    let after = (event.at - *gone).as_millis();
    Err(format!("a call came to {} {after} ms after the name led there no more", event.host))
}
