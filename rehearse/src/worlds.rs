//! Scenarios whose worlds are drawn, too.

use sim::Picks;

use crate::scenario::Scenario;

/// A scenario of many worlds: each seed picks one. `world` describes it, of what it picks by
/// [`Picks::pick`]: how many nodes there are and what is on them, their flags, the load, the faults.
///
/// What is picked is part of the plan, as an option of the name that `world` gives it. The first choice of each
/// is the plain one: it is not mentioned, and shrinking tries to go back to it.
///
/// ```
/// use node::App;
/// use rehearse::{Load, Ms as _, Scenario, Swarm, drawn, promises};
///
/// # fn app() -> App { App::new() }
/// # fn load() -> Load { Load::new(1, 1.ms(), 1.ms()..=1.ms()) }
/// let scenario = drawn("worlds", "any number of nodes", |picks| {
///     let faults = Swarm::new(1..=picks.pick("faults", &[1, 2, 4]), 2000.ms(), 50.ms()..=1000.ms());
///     let scenario = Scenario::new("worlds", "", load(), faults.everywhere())
///         .node("one", &["counter"], |_| app())
///         .workers(picks.pick("workers", &[1, 2]))
///         .flags(&["--keepalive", picks.pick("--keepalive", &["200ms", "1s"])])
///         .promises(promises::of_calls());
///     match picks.pick("replicas", &[1, 2]) {
///         2 => scenario.node("two", &["counter"], |_| app()),
///         _ => scenario,
///     }
/// });
/// # let _ = scenario;
/// ```
#[must_use]
pub fn drawn(
    name: &str,
    about: &str,
    world: impl Fn(&mut Picks<'_>) -> Scenario + Send + Sync + 'static,
) -> sim::Scenario {
    sim::Scenario::drawn(name, about, world)
}
