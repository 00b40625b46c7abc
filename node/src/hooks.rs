//! The seams where a rehearsal reaches into a node. Production uses none of them.

use std::fmt;
use std::sync::Arc;

use futures_util::future::BoxFuture;
use transport::{Channel, Gauges, Interceptor};

/// What a rehearsal puts between the parts of a node. The default is nothing, as in production.
#[derive(Clone, Default)]
pub struct Hooks {
    /// What runs around every handler, for the worker of an index.
    pub interceptor: Option<Arc<Intercept>>,
    /// What stands between the policies of a client and the carrier of its calls, for the callee of a name.
    pub carry: Option<Arc<Carry>>,
    /// What the store of idempotency keys waits for between writing and syncing: a simulated disk takes no time.
    pub before_sync: Option<Arc<Pause>>,
    /// Tell what the node holds from when it starts; `GET /metrics` answers with the same.
    pub gauges: Gauges,
}

/// Makes what runs around the handlers of the worker with an index.
pub type Intercept = dyn Fn(u16) -> Arc<dyn Interceptor> + Send + Sync;

/// Wraps what carries the calls to the service of a name.
pub type Carry = dyn Fn(&'static str, Channel) -> Channel + Send + Sync;

/// Makes what is waited for.
pub type Pause = dyn Fn() -> BoxFuture<'static, ()> + Send + Sync;

impl fmt::Debug for Hooks {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Hooks")
            .field("interceptor", &self.interceptor.is_some())
            .field("carry", &self.carry.is_some())
            .finish_non_exhaustive()
    }
}
