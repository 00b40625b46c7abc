//! The names of the promises, as they are printed when broken and as they are left out.

/// Every call ends by its deadline, whatever happens.
pub const CALLS_END: &str = "every call ends by its deadline";
/// The request id that comes back is the caller's.
pub const REPLIES_CARRY_IDS: &str = "every reply carries its caller's request id";
/// Every log line that belongs to a call carries the id of one that a client made, on whose way the host lies.
pub const LINES_KNOW_THEIR_CALLERS: &str = "every log line carries its caller's request id";
/// A call that fails, fails for a reason: a fault on its way, a service that is full, a failure further inside.
pub const STATUSES_ARE_EXPLAINED: &str = "a status is one that the faults explain";
/// A handler has no more time than the call had, and a call no more than the handler that makes it.
pub const DEADLINES_SHRINK: &str = "each hop gets what is left of its caller's deadline";
/// By the access line, no call took longer at its edge than its deadline.
pub const EDGES_KEEP_DEADLINES: &str = "no call takes longer at its edge than its deadline";
/// Every call whose handler has begun has its access line by its deadline.
pub const EDGES_END_CALLS: &str = "every call ends at its edge by its deadline";
/// No handler runs on after its deadline.
pub const HANDLERS_END_BY_DEADLINES: &str = "no handler runs on after its deadline";
/// No handler runs on when the call that it handles has ended.
pub const HANDLERS_END_WITH_CALLS: &str = "no handler runs on when its call has ended";
/// A service takes on no more calls at once than its limit says.
pub const NO_MORE_THAN_ADMITTED: &str = "a service takes on no more calls than it says";
/// A call is handled once at most, once if it worked, and never if it was not sent.
pub const HANDLED_ONCE: &str = "a call is handled once at most, and never if it was not sent";
/// A node says that it is ready until it is told to drain, and that it lives for as long as it does.
pub const HEALTH_IS_TOLD: &str = "a node is ready until it is told to drain";
/// A drain cuts off no call whose handler has begun.
pub const DRAINS_CUT_OFF_NOTHING: &str = "a drain cuts off no call that was begun";
