//! An app without a node: its services on this thread, called in memory.

use std::time::Duration;

use node::App;
use tokio::runtime::Builder;
use tokio::task::LocalSet;
use transport::memory::Memory;
use transport::{Client, Clients, Drain, Limits, Router};

/// What a call may take whose caller does not say, as in a node.
const DEADLINE: Duration = Duration::from_secs(10);

/// Runs `test` with clients of the services of `app`, which are all on this thread: for unit and property tests of
/// actors. Time passes at once when there is nothing to do but to wait for it. Each run has actors of its own.
///
/// # Panics
/// When the system has no room for a runtime, or `C` names a service that the app does not have and calls it.
pub fn in_memory<C: Clients, T>(app: App, test: impl AsyncFnOnce(C) -> T) -> T {
    let runtime = Builder::new_current_thread().enable_all().start_paused(true).build();
    let runtime = runtime.expect("the system has room for a runtime");
    LocalSet::new().block_on(&runtime, async {
        let (memory, limits) = (Memory::new(), Limits::default());
        let client = |_: &'static str| Client::new(memory.clone(), DEADLINE, limits);
        let mut router = Router::builder(limits, Drain::new());
        app.services().iter().for_each(|service| router.add(service, &client));
        let router = router.build();
        memory.lead_to(&router);
        test(C::connect(&client)).await
    })
}
