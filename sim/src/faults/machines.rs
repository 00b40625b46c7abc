//! Hosts that go and come back: by a kill, a power loss, a drain, a pause; and connections that are reset.

use std::sync::Arc;

use crate::entropy::mix;
use crate::host::disk;
use crate::host::process::HostShared;
use crate::plan::{Family, FaultKind};
use crate::trace::recorder::{self, FaultState, Status};

use super::links::{Links, address};

/// Ends what runs on a host. In the dark its sockets are not closed: the links are cut first.
pub(super) fn stop(sim: &mut turmoil::Sim<'_>, links: &Links, host: usize, status: Status) {
    if recorder::with(|recorder| recorder.hosts.get(host).status) != Status::Running {
        return stay_down(host);
    }
    recorder::with(|recorder| recorder.hosts.set_status(host, status));
    shared(host).stop();
    if status == Status::Dark {
        others_than(host).for_each(|other| sim.partition(address(host), address(other)));
    }
    touch_the_connected(host);
    sim.crash(address(host));
    if status == Status::Stopped {
        shared(host).refuse();
    }
    if status == Status::Dark {
        for other in others_than(host) {
            sim.repair(address(host), address(other));
            if !links.is_open(host, other) {
                sim.hold(address(host), address(other));
            }
        }
    }
}

/// Starts a host again, unless another fault keeps it down.
pub(super) fn start(sim: &mut turmoil::Sim<'_>, links: &Links, host: usize) {
    let takes_down = |state: &FaultState| state.fault.what.family().takes_down();
    if recorder::with(|recorder| recorder.in_force.active_on(host).any(takes_down)) {
        return stay_down(host);
    }
    // A host told to drain that has not left by now is killed, as by any orchestrator.
    stop(sim, links, host, Status::Stopped);
    recorder::with(|recorder| recorder.hosts.set_status(host, Status::Running));
    sim.bounce(address(host));
}

/// What is down by more than one fault is dark while one of them is a power loss; else its machine says that
/// nobody is there.
fn stay_down(host: usize) {
    let is_power_loss = |state: &FaultState| matches!(state.fault.what, FaultKind::PowerLoss { .. });
    let (status, is_dark) = recorder::with(|recorder| {
        (recorder.hosts.get(host).status, recorder.in_force.active_on(host).any(is_power_loss))
    });
    if status == Status::Running {
        return;
    }
    let status = if is_dark { Status::Dark } else { Status::Stopped };
    recorder::with(|recorder| recorder.hosts.set_status(host, status));
    if !is_dark {
        shared(host).refuse();
    }
}

/// Takes from the disks of a host what was not synced. What survives of it is drawn from the seed, the host and the
/// fault's time, so that it stays the same when a plan gets shorter elsewhere.
pub(super) fn lose_what_was_not_synced(host: usize, fault: usize, seed: u64) {
    let from = recorder::with(|recorder| recorder.in_force.get(fault).fault.from);
    let when = u64::try_from(from.as_millis()).unwrap_or(u64::MAX);
    let seed = mix(seed ^ mix(when ^ mix(host as u64)));
    for (name, lost) in shared(host).disks().lose_power(seed) {
        disk::note("lost", &name, &lost);
    }
}

/// The disks of a host fail no more, unless they do by another fault: one that began since its process was started.
pub(super) fn repair_disks(host: usize) {
    let shared = shared(host);
    if shared.disks().are_failing() && !is_in_force(Family::FailingDisk, host) {
        shared.disks().set_failing(None);
    }
}

/// Whether a fault of this family is in force on the host.
pub(super) fn is_in_force(family: Family, host: usize) -> bool {
    let is_of_it = |state: &FaultState| state.fault.what.family() == family;
    recorder::with(|recorder| recorder.in_force.active_on(host).any(is_of_it))
}

/// Breaks all connections between two hosts, at both ends.
pub(super) fn reset(a: usize, b: usize) {
    let between: Vec<_> = recorder::with(|recorder| {
        let between: Vec<_> = recorder.hosts.wires().filter(|wire| wire.is_between(a, b)).collect();
        if !between.is_empty() {
            recorder.touch(a, b);
        }
        between
    });
    // A reset wakes tasks, and their wakers may report to the recorder: so this must not be done inside of `with`.
    between.iter().for_each(|wire| wire.reset());
}

/// The part of a host that outlives its process. It is used while the recorder is free, for it wakes tasks.
pub(super) fn shared(host: usize) -> Arc<HostShared> {
    recorder::with(|recorder| Arc::clone(&recorder.hosts.get(host).shared))
}

fn others_than(host: usize) -> impl Iterator<Item = usize> {
    let count = recorder::with(|recorder| recorder.hosts.all().len());
    (0..count).filter(move |other| *other != host)
}

/// A host that stops takes its connections along; that touches a call if one is in flight.
fn touch_the_connected(host: usize) {
    recorder::with(|recorder| {
        let callers: Vec<_> = recorder.hosts.wires().filter(|wire| wire.remote == host).collect();
        callers.iter().for_each(|wire| recorder.touch(wire.local, host));
    });
}
