//! What must hold of nodes that run as processes of their own, and of which only their lines, their clients and their
//! ends tell. The other promises hold there, too, where that is enough for them.

mod blamed;
mod errors;
mod leaving;
mod lines;

use std::sync::Arc;

use sim::Scenario;

use self::blamed::FailuresHaveAFault;
use self::errors::NothingIsAnError;
use self::leaving::ProcessesLeave;
use self::lines::OneLineForEachCall;
use super::OfCalls;
use crate::setting::Setting;

/// Adds them to a scenario whose hosts are processes.
pub(super) fn add_to(scenario: Scenario, set: &OfCalls, setting: &Arc<Setting>) -> Scenario {
    let [blamed, leaving, lines] = std::array::from_fn(|_| Arc::clone(setting));
    let (allowed, enough) = (set.allowed.clone(), set.enough);
    scenario
        .invariant(move || FailuresHaveAFault::new(&blamed, allowed.clone(), enough))
        .invariant(NothingIsAnError::default)
        .invariant(move || ProcessesLeave::new(&leaving))
        .invariant(move || OneLineForEachCall::new(&lines))
}
