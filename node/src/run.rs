//! A node from its start to the end of its drain, on whatever machine.

use std::future::Future;
use std::pin::pin;
use std::time::Duration;

use futures_util::StreamExt as _;
use tokio::time::{sleep, timeout};
use tracing::{info, warn};
use transport::{Answers, Drain};

use crate::accept::{Listeners, serve};
use crate::app::App;
use crate::config::{Config, StoreAt};
use crate::hooks::Hooks;
use crate::key_store;
use crate::machine::{Listener, Machine};
use crate::start_error::StartError;
use crate::worker::Plan;
use crate::workers::{Ends, Workers, ended_by_itself};

/// How long connections that were accepted just before the listeners closed have to send their request, and how long
/// workers have to end whose calls are cut off.
const LAST_MOMENT: Duration = Duration::from_millis(100);

/// What a line of the target `node` says under `state`, once for each: whoever reads a log knows it by that.
pub const STARTED: &str = "started";
/// The node says that it is not ready, and serves for a while, where it has been told to.
pub const ANNOUNCED: &str = "announced";
/// No more connections are accepted.
pub const DRAINING: &str = "draining";
/// All has ended that was begun, or was cut off.
pub const STOPPED: &str = "stopped";

/// Serves the services of `app` that `config` names until `shutdown` resolves and the configured delay is over, then drains
/// for at most the configured time. What has not ended by then is cut off. Logs the lines `node started`, `not ready` where there is
/// a delay, `draining` and `node stopped`.
///
/// Where `shutdown` resolves before all actors are made nothing was served, and nothing is waited for: not even an actor
/// whose making takes long.
///
/// # Errors
///
/// [`StartError::Bind`] with the address that cannot be bound, [`StartError::Store`] with the store of idempotency keys that
/// cannot be used; nothing has started then. [`StartError::Server`] if the
/// system below fails, or a worker ends by itself, as it does when the making of an actor panics.
pub async fn run(
    app: App,
    config: Config,
    machine: &impl Machine,
    hooks: Hooks,
    shutdown: impl Future<Output = ()>,
) -> Result<(), StartError> {
    let listeners = Listeners::bind(machine, &config).await?;
    let (services, count) = (config.services.join(","), config.workers);
    let (drain_delay, drain_timeout) = (config.drain_delay, config.drain_timeout);
    let drain = Drain::new();
    drain.watch(&hooks.gauges);
    let answers = answers(&config, machine, &hooks)?;
    answers.watch(&hooks.gauges);
    let plan = Plan { app, config, net: machine.net(), drain: drain.clone(), answers, hooks };
    let (mut ends, mut shutdown) = (Ends::new(), pin!(shutdown));
    let workers = tokio::select! {
        // Not fair, and the same in every rehearsal.
        biased;
        started = Workers::start(plan, machine, &mut ends) => started?,
        () = shutdown.as_mut() => {
            info!(target: "node", "node stopped before it had started");
            return Ok(());
        }
    };
    let (http, grpc) = (listeners.http(), listeners.grpc());
    info!(target: "node", state = STARTED, %http, %grpc, services, workers = count, "node started");
    serve_until(shutdown, &listeners, &workers, &drain, &mut ends).await?;
    drain.announce();
    if !drain_delay.is_zero() {
        info!(target: "node", state = ANNOUNCED, delay = ?drain_delay, "not ready");
        // Who has not noticed yet comes all the same.
        serve_until(sleep(drain_delay), &listeners, &workers, &drain, &mut ends).await?;
    }
    info!(target: "node", state = DRAINING, timeout = ?drain_timeout, "draining");
    drop(listeners);
    finish(&drain, drain_timeout, &mut ends).await?;
    drop(workers);
    // A worker that does not let go of its thread is left behind.
    timeout(LAST_MOMENT, ends.count()).await.ok();
    info!(target: "node", state = STOPPED, "node stopped");
    Ok(())
}

/// Serves until `end` resolves.
async fn serve_until<L: Listener>(
    end: impl Future<Output = ()>,
    listeners: &Listeners<L>,
    workers: &Workers,
    drain: &Drain,
    ends: &mut Ends,
) -> Result<(), StartError> {
    tokio::select! {
        biased;
        () = end => Ok(()),
        Some(index) = ends.next() => Err(ended_by_itself(index).into()),
        never = serve(listeners, workers, drain) => match never {},
    }
}

/// What remembers calls with idempotency keys, for as long as the process lasts, or longer.
fn answers(config: &Config, machine: &impl Machine, hooks: &Hooks) -> Result<Answers, StartError> {
    let bounds = config.idempotency_keys();
    let StoreAt::File(path) = &config.idempotency_store else { return Ok(Answers::new(bounds)) };
    let opened = key_store::open(path, bounds, machine, hooks.before_sync.clone());
    opened.map_err(|source| StartError::Store { path: path.display().to_string(), source })
}

/// Drains what is left when the listeners have closed, for at most `limit`. What was accepted in the last moment is
/// served as before until it has had the time to send its request.
async fn finish(drain: &Drain, limit: Duration, ends: &mut Ends) -> Result<(), StartError> {
    let drained = async {
        // No longer than half of the time, so that the drain begins however short that is.
        sleep(LAST_MOMENT.min(limit / 2)).await;
        drain.start();
        drain.finished().await;
    };
    tokio::select! {
        biased;
        Some(index) = ends.next() => return Err(ended_by_itself(index).into()),
        drained = timeout(limit, drained) => {
            if drained.is_err() {
                warn!(target: "node", "the drain took too long: what is left is cut off");
            }
        }
    }
    Ok(())
}
