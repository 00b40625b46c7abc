//! What each family of faults can make of a call, by where it lies.

use sim::Family;

use super::failure::Failure::{self, Broken, HungUp, Late, Lost, NotSent};
use super::faults::Fault;

/// Where a fault lies on a hop.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Side {
    /// Between a client and the host that it calls, or on that host.
    Entry,
    /// Between a node and the next, or on the next.
    Callee,
    /// On the node that calls.
    Caller,
}

/// One family of faults: what it can do at the entry, at the callee, and at the caller.
struct Row(Family, &'static [Failure], &'static [Failure], &'static [Failure]);

/// Who hears nothing closes the connection, and says which calls it has not read: where word of that passes, they were not
/// sent.
///
/// Clock faults are not in it: they explain nothing. Nor are those that handlers meet, since each tells which call
/// it met.
const TABLE: &[Row] = &[
    Row(Family::Partition, &[Late, Broken, NotSent], &[Late, Lost, NotSent], &[]),
    Row(Family::PartitionOneWay, &[Late, Broken, NotSent], &[Late, Lost, NotSent], &[]),
    Row(Family::Hold, &[Late, Broken, NotSent], &[Late, Lost, NotSent], &[]),
    Row(Family::SlowLink, &[Late, Broken, NotSent], &[Late, Lost, NotSent], &[]),
    Row(Family::Reset, &[Broken, HungUp, NotSent], &[Lost], &[]),
    Row(Family::PowerLoss, &[Late, Broken, NotSent], &[Late, Lost], &[]),
    Row(Family::Kill, &[Broken, HungUp, NotSent], &[Lost], &[]),
    Row(Family::Pause, &[Late, Broken, NotSent], &[Late, Lost, NotSent], &[Late, Lost, NotSent]),
    Row(Family::RefusedStreams, &[NotSent], &[NotSent], &[]),
    // Who knows no address waits for one, and fails when nobody has told any.
    Row(Family::SilentName, &[], &[Late, NotSent], &[]),
    // Calls whose idempotency keys cannot be stored are not handled.
    Row(Family::FailingDisk, &[], &[NotSent], &[]),
    Row(Family::Drain, &[HungUp, NotSent], &[NotSent], &[]),
];

/// Whether the table lets `fault` do this to a call where it lies. A node that had not left when its drain ended was
/// killed, after it had drained for as long.
pub(super) fn allows(fault: &Fault, side: Side, failure: Failure) -> bool {
    let killed = fault.was_killed().then_some(Family::Kill);
    let mut families = [fault.family].into_iter().chain(killed);
    families.any(|family| allowed(family, side).contains(&failure))
}

fn allowed(family: Family, side: Side) -> &'static [Failure] {
    let row = TABLE.iter().find(|row| row.0 == family);
    row.map_or(&[], |Row(_, entry, callee, caller)| match side {
        Side::Entry => entry,
        Side::Callee => callee,
        Side::Caller => caller,
    })
}
