//! What must hold of the state that services have, and of the work that calls leave behind.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::Duration;

use rehearse::facts::{CallMade, HandlerBegun, HandlerDisturbed, HandlerEnded, NodeStarted, NodeStopped};
use rehearse::{CallFault, Event, Family, FaultKind, What};

use crate::afterwards::{AFTERWARDS, BEGUN, DONE};
use crate::ledger;
use crate::trial::TOLD_OF_A_DRAIN;

/// What is known of the ledgers: for each host and key, the total and since when.
#[derive(Debug, Default)]
pub(crate) struct Totals {
    totals: BTreeMap<(Arc<str>, String), (i64, Duration)>,
    /// Where handlers of a ledger were made to panic.
    panics: Vec<Arc<str>>,
    /// When each host went on that had stood still.
    awake: BTreeMap<String, Duration>,
}

/// Each key has one actor on a host: an entry finds the total that the last one left, or none where the actor was
/// started anew: with its node, after a panic, or when it had been idle for so long. A call is with it for `takes` at most.
pub(crate) fn one_total_for_each_key(
    totals: &mut Totals,
    event: &Event,
    idle: Duration,
    takes: Duration,
) -> Result<(), String> {
    if event.told::<NodeStarted>().is_some() {
        totals.totals.retain(|(host, _), _| *host != event.host);
    }
    if event
        .told::<HandlerDisturbed>()
        .is_some_and(|met| matches!(met.service, "ledger" | "tally") && met.by == CallFault::Panic)
    {
        totals.panics.push(Arc::clone(&event.host));
    }
    if let What::FaultEnds { fault, .. } = &event.what
        && fault.what.family() == Family::Pause
    {
        totals.awake.insert(fault.what.hosts().0.to_owned(), event.at);
    }
    let number = |name| event.field(name).and_then(rehearse::Value::as_i64);
    let (Some(key), Some(before), Some(total)) = (event.field("key"), number("before"), number("total"))
    else {
        return Ok(());
    };
    let place = (Arc::clone(&event.host), key.to_string());
    let (last, at) = totals.totals.insert(place, (total, event.at)).unwrap_or_default();
    let is_by_key = !key.to_string().starts_with(ledger::TALLY);
    let may_be_new = is_by_key && event.at >= at + idle || totals.panics.contains(&event.host);
    let is_new = before == 0 && may_be_new;
    // Long after it was idle for long enough, it is not there any more. Where its host had stood still meanwhile, an entry
    // may come to it first.
    let since = totals.awake.get(&*event.host).map_or(at, |awake| at.max(*awake));
    let is_kept = is_by_key && before != 0 && event.at > since + idle * 2 + takes;
    if is_new || before == last && !is_kept {
        return Ok(());
    }
    Err(format!("{event}: {last} was the total of this key, {} ms before", (event.at - at).as_millis()))
}

/// The work that calls have left behind, and that is not done yet.
#[derive(Debug, Default)]
pub(crate) struct Afterwards {
    open: BTreeSet<(Arc<str>, u32)>,
    /// When each host was told to drain.
    drains: BTreeMap<Arc<str>, Duration>,
}

/// Work that outlives its call is done, unless its host dies: a drain waits for it as long as it may. On a host there is as
/// much of it at once as `most`.
pub(crate) fn done_afterwards(
    work: &mut Afterwards,
    event: &Event,
    drain_timeout: Duration,
    most: usize,
) -> Result<(), String> {
    let host = || Arc::clone(&event.host);
    match &event.what {
        What::FaultBegins { fault, .. } => match &fault.what {
            // A second one that comes while it drains moves nothing.
            FaultKind::Drain { host } => drop(work.drains.entry(host.as_str().into()).or_insert(event.at)),
            FaultKind::Kill { host } | FaultKind::PowerLoss { host } => {
                work.open.retain(|(open, _)| **open != **host);
            }
            _ => {}
        },
        What::Log(_) if event.text("afterwards") == Some(BEGUN) => {
            work.open.extend(event.request.map(|request| (host(), request)));
            let here = work.open.iter().filter(|(host, _)| *host == event.host).count();
            if here > most {
                let host = &event.host;
                return Err(format!(
                    "{here} calls have left work behind at once on {host}; expected {most} at most"
                ));
            }
        }
        // Or it is cut off by its own limit, which the line tells.
        What::Log(_) if event.text("afterwards") == Some(DONE) || event.field("limit").is_some() => {
            work.open.retain(|(host, request)| *host != event.host || Some(*request) != event.request);
        }
        What::Told(_) if event.told::<NodeStopped>().is_some() => {
            let told = work.drains.remove(&event.host).unwrap_or_default();
            let cut_off = work.open.iter().find(|(host, _)| *host == event.host).cloned();
            work.open.retain(|(host, _)| *host != event.host);
            if let Some((host, request)) = cut_off.filter(|_| event.at < told + drain_timeout) {
                return Err(format!(
                    "{host} has drained, and what sim-{request:06} left behind was not done"
                ));
            }
        }
        // A host that was killed at the end of its drain.
        What::Told(_) if event.told::<NodeStarted>().is_some() => {
            work.drains.remove(&event.host);
            work.open.retain(|(host, _)| *host != event.host);
        }
        _ => {}
    }
    Ok(())
}

/// Work that outlives its call is done within the limit that it was given, or cut off then and not before.
pub(crate) fn cut_off_at_its_limit(
    begun: &mut BTreeMap<(Arc<str>, u32), Duration>,
    event: &Event,
) -> Result<(), String> {
    /// Between what a node does and the line that tells of it.
    const MOMENT: Duration = Duration::from_millis(20);
    let Some(work) = event.request.map(|request| (Arc::clone(&event.host), request)) else { return Ok(()) };
    let (is_done, is_cut_off) = (event.text("afterwards") == Some(DONE), event.field("limit").is_some());
    if event.text("afterwards") == Some(BEGUN) {
        begun.insert(work, event.at);
        return Ok(());
    }
    let Some(begun) = begun.get(&work).filter(|_| is_done || is_cut_off) else { return Ok(()) };
    let lasted = event.at - *begun;
    if is_done && lasted > AFTERWARDS + MOMENT || is_cut_off && lasted + MOMENT < AFTERWARDS {
        let (lasted, limit) = (lasted.as_millis(), AFTERWARDS.as_millis());
        return Err(format!(
            "it was begun {lasted} ms before; expected that it is cut off after {limit}: {event}"
        ));
    }
    Ok(())
}

/// Nobody repeats work that outlives its call, whoever repeats the call: its own calls are the outermost.
pub(crate) fn calls_for_itself(begun: &mut BTreeSet<(Arc<str>, u32)>, event: &Event) -> Result<(), String> {
    let Some(work) = event.request.map(|request| (Arc::clone(&event.host), request)) else { return Ok(()) };
    if event.text("afterwards") == Some(BEGUN) {
        begun.insert(work);
        return Ok(());
    }
    // It calls the back, and its handler has called nobody.
    let made = event.told::<CallMade>().filter(|made| made.callee == "back" && begun.contains(&work));
    if made.is_some_and(|made| made.is_repeated) {
        return Err(format!(
            "work that outlives its call takes its own call to be repeated further out, where nobody is left: {event}"
        ));
    }
    Ok(())
}

/// A stream of requests that breaks off does not look to its handler as if that were all.
pub(crate) fn requests_end_whole(_: &mut (), event: &Event) -> Result<(), String> {
    match (event.field("came"), event.field("all")) {
        (Some(came), Some(all)) if came != all => {
            Err(format!("it has ended well after {came} messages, and {all} were to come: {event}"))
        }
        _ => Ok(()),
    }
}

/// Whether nothing is left to be done.
pub(crate) fn nothing_is_left(work: &Afterwards) -> bool {
    work.open.is_empty()
}

/// The streams that the back shows, and since when each host drains.
#[derive(Debug, Default)]
pub(crate) struct Shows {
    open: BTreeMap<(Arc<str>, u32), Duration>,
    drains: BTreeMap<Arc<str>, Duration>,
}

/// How soon a stream ends that was told of a drain: what was accepted in the last moment is begun first.
const ENDS_WITHIN: Duration = Duration::from_millis(700);

/// How soon it is told of the drain at the earliest: until then, who asks again would come to the same node.
const ENDS_AFTER: Duration = Duration::from_millis(40);

/// A stream that its actor ends with a drain does not wait for the drain's end, and goes on until nobody comes any more.
pub(crate) fn shows_end_with_drains(shows: &mut Shows, event: &Event) -> Result<(), String> {
    let place = || Some((Arc::clone(&event.host), event.request?));
    match &event.what {
        What::FaultBegins { fault, .. } => match &fault.what {
            FaultKind::Drain { host } => drop(shows.drains.entry(host.as_str().into()).or_insert(event.at)),
            // What else there is on the host has times of its own.
            other => shows
                .open
                .retain(|(host, _), _| other.hosts().0 != &**host && other.hosts().1 != Some(&**host)),
        },
        What::Told(_) if event.told::<NodeStarted>().is_some() => {
            shows.drains.remove(&event.host);
            shows.open.retain(|(host, _), _| *host != event.host);
        }
        What::Told(_) => {
            let begun = event.told::<HandlerBegun>().filter(|begun| begun.path == SHOW);
            let ended = event.told::<HandlerEnded>().filter(|ended| ended.path == SHOW);
            if let Some(place) = place().filter(|_| begun.is_some() && !event.host.is_empty()) {
                shows.open.insert(place, event.at);
            } else if let Some(place) = place().filter(|_| ended.is_some()) {
                let Some(begun) = shows.open.remove(&place) else { return Ok(()) };
                let drained = shows.drains.get(&event.host).map(|told| begun.max(*told) + ENDS_WITHIN);
                if drained.is_some_and(|until| event.at > until) {
                    return Err(format!("it went on although its host drains: {event}"));
                }
            }
        }
        What::Log(_) if event.says(TOLD_OF_A_DRAIN) => {
            let told = shows.drains.get(&event.host).map(|drained| *drained + ENDS_AFTER);
            if told.is_some_and(|told| event.at < told) {
                return Err(format!(
                    "expected {} ms from the beginning of a drain to this: {event}",
                    ENDS_AFTER.as_millis()
                ));
            }
        }
        _ => {}
    }
    Ok(())
}

/// The rpc whose streams end with a drain.
const SHOW: &str = "/rehearsal.Back/Show";
