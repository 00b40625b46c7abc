//! The visits of strangers, as the simulator draws them beside the calls of a load.

use std::time::Duration;

use proptest::prelude::*;
use sim::Beside;

use crate::clients::{SOON, STRANGER, stranger_kind};
use crate::graph::Graph;
use crate::load::Load;
use crate::strangers::Stranger;

/// `to`, with the visits that `load` has.
///
/// # Errors
/// When a stranger can go nowhere, or two have the same name.
pub(crate) fn with_strangers(to: sim::Load, load: &Load, graph: &Graph) -> Result<sim::Load, String> {
    let mut kinds = Vec::new();
    for (number, stranger) in load.strangers.iter().enumerate() {
        let title = stranger.title();
        if load.strangers[..number].iter().any(|before| before.title() == title) {
            return Err(format!("two strangers are {title:?}: expected a name for each"));
        }
        let hosts = graph.nodes().filter(|host| stranger.service.is_none_or(|of| graph.is_on(of, host)));
        let here: Vec<_> = hosts.map(|host| stranger_kind(host, stranger)).collect();
        if here.is_empty() {
            let service = stranger.service.unwrap_or_default();
            return Err(format!("the stranger {title:?} goes to {service}, and no node has it"));
        }
        kinds.extend(here);
    }
    if kinds.is_empty() {
        return Ok(to);
    }
    let longest = load.strangers.iter().map(longest).max().unwrap_or_default();
    let visits = Beside::new(STRANGER, kinds, load.visits, longest);
    Ok(to.beside(visits.arguments(cuts()).nameless()))
}

/// The longest that a visit may take.
fn longest(stranger: &Stranger) -> Duration {
    stranger.takes() + SOON * (2 * stranger.answers() + 2)
}

/// How what a stranger says is cut into segments: not at all, or into pieces of so many bytes, with a pause between them, or
/// none.
fn cuts() -> impl Strategy<Value = String> {
    let pieces =
        (prop_oneof![1..=3_usize, 4..=40_usize, 40..=400_usize], prop::sample::select(vec![0, 0, 1, 5]));
    let pieces = pieces.prop_map(|(bytes, pause)| format!("{bytes}/{pause}"));
    prop_oneof![1 => Just(String::new()), 2 => pieces]
}
