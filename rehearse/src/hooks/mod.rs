//! What stands in the seams of a rehearsed node: it tells facts, and brings the plan's faults to handlers.

mod carry;
mod intercept;
mod net;
mod written;

use std::cell::Cell;
use std::thread::LocalKey;

pub(crate) use carry::told as told_carrier;
pub(crate) use intercept::Disturbed;
pub(crate) use net::{ToldNet, host_of};
pub(crate) use written::{has_style, written};

/// The next number of a counter: a rehearsal has its thread for itself.
fn next(counter: &'static LocalKey<Cell<u32>>) -> u32 {
    counter.replace(counter.get() + 1)
}
