//! Mistakes of a scenario that show before a world is built: hosts that are not there, ranges that nothing is in.

use std::ops::RangeInclusive;
use std::time::Duration;

use proptest::strategy::{Strategy, ValueTree as _};
use proptest::test_runner::TestRunner;

use crate::panics;
use crate::plan::Family;

/// What must hold of the names of hosts.
pub(crate) fn of_names(names: &[&str]) -> Option<String> {
    let twice = twice(names)?;
    Some(format!("two hosts have the name {twice:?}: expected a name for each"))
}

/// A name that is there twice.
pub(crate) fn twice<'a>(names: &[&'a str]) -> Option<&'a str> {
    let mut sorted = names.to_vec();
    sorted.sort_unstable();
    sorted.windows(2).find(|two| two[0] == two[1]).map(|two| two[0])
}

/// What must hold of hosts that something is about: they are there.
pub(crate) fn of_places<'a>(mut places: impl Iterator<Item = &'a str>, names: &[&str]) -> Option<String> {
    let missing = places.find(|place| !names.contains(place))?;
    let expected = names.join(", ");
    Some(format!(
        "faults are to happen on the host {missing:?}, which is not there: expected one of {expected}"
    ))
}

/// What must hold where faults are wanted: that any of these families can happen somewhere.
pub(crate) fn of_wanted_faults(can_any_happen: bool, families: &[Family]) -> Option<String> {
    if can_any_happen {
        return None;
    }
    let of_links = families.iter().all(|family| family.is_of_link());
    let of_hosts = families.iter().all(|family| !family.is_of_link());
    let expected = match (of_links, of_hosts) {
        (true, true) => return Some(NO_FAMILY.to_owned()),
        (true, false) => ".everywhere() or .link(..)",
        (false, true) => ".everywhere() or .host(..)",
        (false, false) => ".everywhere(), .host(..) or .link(..)",
    };
    Some(format!("faults are wanted, and there is nowhere for them: expected {expected}"))
}

const NO_FAMILY: &str =
    "faults are wanted, and of no family: expected .only(..) with one at least, or Swarm::calm()";

/// What must hold of options and their choices.
pub(crate) fn of_options(options: &[(String, Vec<String>)]) -> Option<String> {
    if let Some((name, _)) = options.iter().find(|(_, choices)| choices.is_empty()) {
        return Some(format!("the option {name:?} has no choice: expected one at least"));
    }
    let names: Vec<_> = options.iter().map(|(name, _)| name.as_str()).collect();
    let twice = twice(&names)?;
    Some(format!("the option {twice:?} is added twice: expected all its choices at once"))
}

/// What must hold of the step of time.
pub(crate) fn of_tick(tick: Duration) -> Option<String> {
    let is_whole = tick.subsec_nanos().is_multiple_of(1_000_000) && !tick.is_zero();
    let tick = humantime::format_duration(tick);
    (!is_whole).then(|| format!("the tick is {tick}: expected whole milliseconds, one at least"))
}

/// What must hold of a range of times, of which `what` is said.
pub(crate) fn of_times(what: &str, times: &RangeInclusive<Duration>) -> Option<String> {
    let (start, end) = (humantime::format_duration(*times.start()), humantime::format_duration(*times.end()));
    of_range(times, || format!("{what} from {start} to {end}: expected the shorter one first"))
}

/// What must hold of a range of numbers, of which `what` is said.
pub(crate) fn of_numbers(what: &str, numbers: &RangeInclusive<usize>) -> Option<String> {
    let (start, end) = (numbers.start(), numbers.end());
    of_range(numbers, || {
        format!("there are to be from {start} to {end} {what}: expected the smaller number first")
    })
}

/// What must hold of a strategy by which `what` is drawn: it neither rejects all that it draws nor panics.
pub(crate) fn of_strategy(what: &str, strategy: &impl Strategy, runner: &mut TestRunner) -> Option<String> {
    let drawn = panics::caught(|| strategy.new_tree(runner).map(|drawn| drop(drawn.current())));
    let reason = drawn.map_or_else(Some, |drawn| drawn.err().map(|rejected| rejected.to_string()))?;
    Some(format!(
        "{what} cannot be drawn: {reason}; expected a strategy that lets through some of what it draws"
    ))
}

fn of_range<T: PartialOrd>(range: &RangeInclusive<T>, mistake: impl FnOnce() -> String) -> Option<String> {
    range.is_empty().then(mistake)
}
