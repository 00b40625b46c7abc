//! What stands in the seams of a rehearsed node: it tells facts, and brings the plan's faults to handlers.

mod carry;
mod intercept;
mod net;

pub(crate) use carry::told as told_carrier;
pub(crate) use intercept::Disturbed;
pub(crate) use net::ToldNet;
