//! The services as a good engineer would write them by hand, without the project: what the node is measured against.

use std::future::Future;

use crate::error::Error;
use crate::options::Role;

mod access;
mod actix_handler;
mod axum_front;
mod contract;
mod request_id;
mod tonic_service1;

/// Serves until it is killed.
pub(crate) fn run(role: &Role) -> Result<(), Error> {
    let (Role::AxumFront { listener, .. } | Role::TonicService1(listener) | Role::ActixWeb(listener)) = role;
    let _flushed_at_the_end = access::start(listener.log.as_deref())?;
    match role {
        Role::AxumFront { listener, service1 } => axum_front::run(listener, service1),
        Role::TonicService1(listener) => tonic_service1::run(listener),
        Role::ActixWeb(listener) => actix_handler::run(listener),
    }
    .map_err(Error::Peer)
}

type Outcome = Result<(), Box<dyn std::error::Error + Send + Sync>>;

/// On tokio's work-stealing runtime, the usual one for axum and tonic.
fn block_on(workers: usize, serving: impl Future<Output = Outcome>) -> Outcome {
    tokio::runtime::Builder::new_multi_thread()
        .worker_threads(workers)
        .enable_all()
        .build()?
        .block_on(serving)
}
