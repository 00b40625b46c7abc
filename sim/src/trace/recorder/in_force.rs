//! The faults of the plan: which are in force, and which had an effect.

use std::time::Duration;

use crate::plan::{Fault, FaultKind};

/// All faults of the plan, in its order.
#[derive(Debug, Default)]
pub(crate) struct InForce {
    faults: Vec<FaultState>,
}

/// One fault of the plan, while the rehearsal runs.
#[derive(Debug)]
pub(crate) struct FaultState {
    pub(crate) fault: Fault,
    pub(crate) a: usize,
    pub(crate) b: Option<usize>,
    is_active: bool,
    has_begun: bool,
    /// Whether it touched a call.
    is_effective: bool,
}

impl FaultState {
    /// A fault that has not begun, on the host `a` or on the link between the two.
    pub(crate) fn new(fault: Fault, a: usize, b: Option<usize>) -> Self {
        Self { fault, a, b, is_active: false, has_begun: false, is_effective: false }
    }

    /// Whether it is on the link between the two, in either order.
    pub(crate) fn is_between(&self, one: usize, other: usize) -> bool {
        (self.a, self.b) == (one, Some(other)) || (self.a, self.b) == (other, Some(one))
    }
}

impl InForce {
    pub(crate) fn set(&mut self, faults: Vec<FaultState>) {
        self.faults = faults;
    }

    /// Those in force.
    pub(crate) fn active(&self) -> impl Iterator<Item = &FaultState> {
        self.faults.iter().filter(|state| state.is_active)
    }

    /// Those in force on a host itself.
    pub(crate) fn active_on(&self, host: usize) -> impl Iterator<Item = &FaultState> {
        self.active().filter(move |state| state.a == host && state.b.is_none())
    }

    pub(crate) fn get(&self, number: usize) -> &FaultState {
        &self.faults[number]
    }

    /// Whether any fault has begun so far.
    pub(super) fn has_begun(&self) -> bool {
        self.faults.iter().any(|state| state.has_begun)
    }

    /// The names of those in force.
    pub(super) fn names(&self) -> Vec<&'static str> {
        self.active().map(|state| state.fault.what.name()).collect()
    }

    /// For each fault, whether it had an effect.
    pub(crate) fn effective(&self) -> Vec<bool> {
        self.faults.iter().map(|state| state.is_effective).collect()
    }

    pub(super) fn switch(&mut self, number: usize, is_active: bool) -> &FaultState {
        let state = &mut self.faults[number];
        state.is_active = is_active;
        state.has_begun = true;
        state
    }

    /// A program met the faults of this sort that are in force on its host.
    pub(super) fn met_on(&mut self, host: usize, is_this: impl Fn(&FaultKind) -> bool) {
        let here = self.faults.iter_mut().filter(|state| state.is_active && state.a == host);
        for state in here.filter(|state| is_this(&state.fault.what)) {
            state.is_effective = true;
        }
    }

    /// Traffic met the faults of the link between two hosts, and those that stop either of them.
    pub(super) fn met_between(&mut self, one: usize, other: usize) {
        for state in self.faults.iter_mut().filter(|state| state.is_active && !state.is_effective) {
            state.is_effective = match state.b {
                Some(_) => state.is_between(one, other),
                None => state.fault.what.family().stops_host() && (state.a == one || state.a == other),
            };
        }
    }

    /// How far the host's wall clock is off: the sum of the clock faults in force.
    pub(super) fn wall_offset_nanos(&self, host: usize, now: Duration) -> i64 {
        let offset = |state: &FaultState| match &state.fault.what {
            FaultKind::ClockSkew { by_ms, .. } | FaultKind::ClockJump { by_ms, .. } => by_ms * 1_000_000,
            FaultKind::ClockDrift { ppm, .. } => {
                let lasted = now.saturating_sub(state.fault.from);
                ppm * i64::try_from(lasted.as_micros()).unwrap_or(i64::MAX) / 1_000
            }
            _ => 0,
        };
        self.active_on(host).map(offset).sum()
    }
}
