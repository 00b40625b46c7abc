//! A host of the simulation is a node: the same configuration, the same worker, the same edges.

use std::sync::Arc;
use std::time::Duration;

use futures_util::FutureExt as _;
use futures_util::future::BoxFuture;
use futures_util::future::LocalBoxFuture;
use node::{Config, Worker};
use sim::{CallFault, HostContext, HostResult};
use tokio::time::{sleep, timeout};
use tracing::info;
use transport::{CallContext, CallerAddress, Drain, Held, Interceptor, Result, Status};

/// The REST port of every node.
pub(crate) const HTTP_PORT: u16 = 8080;

/// The gRPC port of every node.
pub(crate) const GRPC_PORT: u16 = 50051;

/// What a handler logs when it begins, and when it is done or dropped.
pub(crate) const BEGUN: &str = "handler begun";
/// The other end of [`BEGUN`].
pub(crate) const ENDED: &str = "handler ended";

/// What a node logs when it listens.
pub(crate) const STARTED: &str = "node started";
/// What a node logs when it has drained.
pub(crate) const STOPPED: &str = "node stopped";

/// Why a service refuses a call that has no room because the plan says so.
pub(crate) const FULL: &str = "full, says the plan";

/// What a call has that comes without a deadline.
pub(crate) const DEADLINE: Duration = Duration::from_millis(500);

/// How long a peer may take to answer a PING, or to speak once it has accepted: half of `--keepalive`.
pub(crate) const PING_TIMEOUT: Duration = Duration::from_millis(100);

/// Flags that all nodes have: faults last for a second here, not for minutes.
const COMMON: &[&str] =
    &["node", "--workers", "1", "--deadline", "500ms", "--drain-timeout", "5s", "--keepalive", "200ms"];

/// The program of a host: a node that takes on `admitted` calls at once, until it is told to drain.
///
/// # Panics
/// When the flags are wrong.
pub(crate) fn node(
    flags: &[&str],
    admitted: usize,
) -> impl Fn(HostContext) -> LocalBoxFuture<'static, HostResult> + use<> {
    let max_calls = ["--max-calls", &admitted.to_string()];
    let config = Config::read(COMMON.iter().chain(&max_calls).chain(flags).map(Into::into));
    let config = Arc::new(config.expect("a node starts with these flags"));
    move |host| run(host, Arc::clone(&config)).boxed_local()
}

async fn run(host: HostContext, config: Arc<Config>) -> HostResult {
    let drain = Drain::new();
    let worker = Worker::start(&config, host.net(), drain.clone(), Some(Arc::new(Faulty))).await;
    let (http, grpc) = (host.listen(HTTP_PORT).await?, host.listen(GRPC_PORT).await?);
    info!(services = config.services.join(","), "{STARTED}");
    loop {
        // Not fair, and the same in every run.
        tokio::select! {
            biased;
            () = host.drain() => break,
            accepted = http.accept() => {
                let (io, peer) = accepted?;
                tokio::task::spawn_local(worker.clone().serve_http(io, CallerAddress::Tcp(peer)));
            }
            accepted = grpc.accept() => {
                let (io, peer) = accepted?;
                tokio::task::spawn_local(worker.clone().serve_grpc(io, CallerAddress::Tcp(peer)));
            }
        }
    }
    info!("draining");
    drop((http, grpc));
    drain.announce();
    if timeout(config.drain_timeout, node::finish(&drain)).await.is_err() {
        info!("the drain took too long");
    }
    info!("{STOPPED}");
    Ok(())
}

/// Brings the faults of the plan to the handlers, and tells the trace when each runs.
struct Faulty;

impl Interceptor for Faulty {
    fn admit<'a>(
        &'a self,
        context: &'a CallContext,
        _: &'static str,
    ) -> BoxFuture<'a, Result<Box<dyn Held>>> {
        let left_ms = context.remaining().map_or(0, |left| left.as_millis());
        async move {
            let mut running = Running::new(left_ms, context.clone());
            sim::turn().await;
            match sim::call_fault() {
                Some(CallFault::Slow(delay)) => sleep(delay).await,
                Some(CallFault::Panic) => running.panics = true,
                Some(CallFault::Full) => return Err(Status::resource_exhausted(FULL)),
                None => {}
            }
            Ok(Box::new(running) as Box<dyn Held>)
        }
        .boxed()
    }
}

/// A handler at work.
struct Running {
    context: CallContext,
    panics: bool,
}

impl Running {
    fn new(left_ms: u128, context: CallContext) -> Self {
        info!(left_ms, request_id = context.request_id().as_str(), "{BEGUN}");
        Self { context, panics: false }
    }
}

impl Held for Running {
    fn begin(&mut self) {
        if self.panics {
            sim::planned_panic();
        }
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        info!(request_id = self.context.request_id().as_str(), "{ENDED}");
    }
}
