//! The names of the promises, as they are printed when broken and as they are left out.

/// Every call ends by its deadline, whatever happens.
pub const CALLS_END: &str = "every call ends by its deadline";
/// The request id that comes back is the caller's.
pub const REPLIES_CARRY_IDS: &str = "every reply carries its caller's request id";
/// Every log line that belongs to a call carries the id of one that a client made, on whose way the host lies.
pub const LINES_KNOW_THEIR_CALLERS: &str = "every log line carries its caller's request id";
/// A call that fails, fails for a reason: a fault on its way, a service that is full, a failure further inside.
pub const STATUSES_ARE_EXPLAINED: &str = "a status is one that the faults explain";
/// What a caller is told names services, and never where they are.
pub const STATUSES_NAME_NO_ADDRESS: &str = "a status names no address";
/// A handler has no more time than the call had, and a call no more than the handler that makes it.
pub const DEADLINES_SHRINK: &str = "each hop gets what is left of its caller's deadline";
/// By the access line, no call took longer at its edge than its deadline.
pub const EDGES_KEEP_DEADLINES: &str = "no call takes longer at its edge than its deadline";
/// Every call whose handler has begun has its access line by its deadline.
pub const EDGES_END_CALLS: &str = "every call ends at its edge by its deadline";
/// No handler runs on after its deadline.
pub const HANDLERS_END_BY_DEADLINES: &str = "no handler runs on after its deadline";
/// No handler runs on when the call that it handles has ended, unless that has an idempotency key; then none begins.
pub const HANDLERS_END_WITH_CALLS: &str = "no handler runs on when its call has ended";
/// A service takes on no more calls at once than its limit says, and fewer of those that can be done without.
pub const NO_MORE_THAN_ADMITTED: &str = "a service takes on no more calls than it says";
/// A call is handled once at most, once if it worked, and never if it was not sent. One with an idempotency key may have
/// worked by the answer to another.
pub const HANDLED_ONCE: &str = "a call is handled once at most, and never if it was not sent";
/// A node says that it is ready until it is told to drain, and that it lives for as long as it does.
pub const HEALTH_IS_TOLD: &str = "a node is ready until it is told to drain";
/// Who speaks to a node as no library does gets what HTTP says, in time, and is closed in time and not before.
pub const STRANGERS_ARE_SERVED: &str = "who speaks as no library does is answered, or closed, in time";
/// A drain cuts off no call whose handler has begun.
pub const DRAINS_CUT_OFF_NOTHING: &str = "a drain cuts off no call that was begun";
/// An attempt to connect goes on when its caller has left, and has an outcome in time.
pub const CONNECTING_ENDS_BY_ITSELF: &str = "an attempt to connect ends by itself, and in time";
/// The waits between attempts to connect are those of gRPC's backoff.
pub const BACKOFF_IS_KEPT: &str = "a node that cannot connect waits as gRPC's backoff says";
/// A node connects only where it has no connection that works.
pub const ONE_CONNECTION: &str = "a node connects only where it has no connection";
/// A handler's deadline is that of the call, but for the way of one segment.
pub const DEADLINES_ARE_MOMENTS: &str = "a deadline is the same moment on every hop";
/// A call is sent once more at most if its callee has refused it unread.
pub const TRIED_TWICE_AT_MOST: &str = "a call is tried no more often than it may be";
/// A call that is not idempotent is repeated only if nobody can have handled it.
pub const REPEATED_ONLY_WITH_PROOF: &str = "a call that is not idempotent is repeated only with proof";
/// An attempt follows on one that failed within the backoff, unless its callee pushes back.
pub const REPEATED_WITHIN_BACKOFF: &str = "a call is repeated within its backoff";
/// A call that nobody has handled is late at its deadline, and not before.
pub const NO_DEADLINE_PASSES_EARLY: &str = "no deadline is said to have passed before it has";
/// A handler sees what its caller has added to the call: metadata, and how much it matters.
pub const WHAT_IS_ADDED_ARRIVES: &str = "what a caller adds to a call reaches its handler";
/// Who is repeated from outside repeats nothing.
pub const ONLY_THE_OUTERMOST_REPEATS: &str = "only the outermost caller repeats a call";
/// When an attempt of a call was answered, well or not, the others are cancelled.
pub const LOSERS_ARE_CANCELLED: &str = "when an attempt was answered, others of its call are cancelled";
/// When an attempt of a call has failed in a way after which the call may be repeated, others that are under way go on.
pub const OTHERS_GO_ON: &str = "when an attempt has failed, others of its call go on";
/// A second attempt is made beside the first when that takes longer than most calls of its method, and not sooner.
pub const HEDGED_WHEN_LATE: &str = "no attempt is made beside one that takes no longer than is usual";
/// A client makes hardly more attempts than calls.
pub const ATTEMPTS_ARE_PAID_FOR: &str = "attempts are no more than eleven tenths of the calls and five";
/// A callee that pushes back is not called again before the time that it says.
pub const PUSHBACK_IS_HEEDED: &str = "who pushes back is left alone for as long as it says";
/// A service whose breaker is open gets one call at a time, and all of them when that was answered.
pub const ONE_PROBE_AT_A_TIME: &str =
    "an open breaker lets one call out at a time, and one that works closes it";
/// A breaker opens after as many failures as its policy says, and those before it was closed do not count.
pub const OPENS_FOR_A_REASON: &str = "a breaker that opens has seen as many calls fail as it says";
/// A client has no more calls out to a service than `max-in-flight` of its policy says, streams included.
pub const NO_MORE_IN_FLIGHT: &str = "a client has no more calls out than its policy says";
/// Who says that it does not serve gets no calls of those who ask.
pub const SERVING_IS_HEEDED: &str = "who says that it does not serve is not called";
/// Who does not say whether it serves is asked again later and later.
pub const ASKED_LESS_AND_LESS_OFTEN: &str = "who does not say whether it serves is asked less and less often";
/// However much is down, a name is asked where it leads once a second at most.
pub const NAMES_ARE_ASKED_SELDOM: &str = "a name is asked once a second at most";
/// Who fails is tried again later and later, as long as no try works: a service, one of its hosts, or its word on serving.
pub const WAITS_GROW: &str = "who is tried again in vain is left alone for longer each time";
/// A node that was told to drain has left when its work is done, or its time is over.
pub const DRAINS_END: &str = "a node that drains leaves in time";
/// A node that was told to drain begins no further call.
pub const DRAINS_TAKE_NOTHING_ON: &str = "a node that drains takes on no new call";
/// The status, the method, the client and the time in an access line are its call's, and so is the path over REST, where each
/// request has one line.
pub const ACCESS_LINES_ARE_TRUE: &str = "an access line says what the caller got";
/// The access line of a call that came over gRPC and ended after its deadline says so, and not that its caller left.
pub const CANCELLED_IN_TIME: &str = "a call whose line says that it was cancelled had time left";
/// A call between services of which all attempts that there may be have failed is told of at its caller, with each of them.
pub const FAILURES_ARE_TOLD: &str = "a call that fails is told of, with its attempts";
/// Where nothing goes wrong, all hosts of a service handle calls of each caller.
pub const REPLICAS_SHARE: &str = "the hosts of a service share its calls";
/// Of the hosts of a service, a client leaves out those that have failed call after call.
pub const LEFT_OUT_FOR_A_REASON: &str = "who is left out has failed call after call";
/// However many hosts of a service fail, a client leaves out half of them at most, rounded up.
pub const HALF_ARE_LEFT_OUT_AT_MOST: &str = "of the hosts of a service half are left out at most";
/// While calls are made, gauges say no less than what goes on.
pub const GAUGES_TELL_WHAT_IS: &str = "gauges tell what goes on";
/// A node logs the lines that its filter lets through, in its format: each whole, on one line, and with what the event said.
pub const LOGS_ARE_AS_TOLD: &str = "a log has the lines and the format that it is told";
/// When every call has ended, a node holds nothing for any, and no connections but those that are used.
pub const NODES_COME_TO_REST: &str = "when calls have ended, nodes come to rest";
/// The same, where work that outlives its call is under way.
pub const WORK_COMES_TO_REST: &str = "when calls and their work have ended, nodes come to rest";
/// A service that calls another has an outcome by the deadline, which is no later than nodes allow.
pub const CALLERS_WAIT_NO_LONGER: &str = "no caller waits longer than until its deadline";
/// Where nothing goes wrong, all workers of a host handle calls.
pub const WORKERS_SHARE: &str = "the workers of a host share its connections";
/// A node that drains is deaf: nobody connects to it any more. Before the delay of its drain is over nobody is refused.
pub const DRAINS_CLOSE_LISTENERS: &str = "nobody connects to a node that drains";
