//! Carriers that answer by themselves, and calls over them.

use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};

use protos::app::grpc::service1::ProcessName;
use protos::app::grpc::{ProcessNameRequest, ProcessNameResponse};
use tonic::metadata::MetadataMap;
use tower::{Service, service_fn};
use transport::channel::{Request, Response};
use transport::payload::{Message, Payload};
use transport::{Client, Code, Status};

/// A carrier that answers each call so, by its number from 0; how many it had.
pub(crate) fn counted<F>(
    answers: impl Fn(u32) -> F + Clone + Send + Sync + 'static,
) -> (
    impl Service<Request, Response = Response, Error = Status, Future: Send> + Clone + Send + Sync + 'static,
    Arc<AtomicU32>,
)
where
    F: Future<Output = Result<Response, Status>> + Send + 'static,
{
    let calls = Arc::new(AtomicU32::new(0));
    let counter = Arc::clone(&calls);
    (service_fn(move |_: Request| answers(counter.fetch_add(1, Ordering::Relaxed))), calls)
}

/// The answer to a call of `ProcessName`.
pub(crate) fn answer() -> Response {
    let (metadata, message) = (MetadataMap::new(), Message::of(ProcessNameResponse::default()));
    Response { metadata, body: Payload::One(message) }
}

/// A call that its contract lets be made twice.
pub(crate) async fn idempotent(client: &Client) -> Result<(), Status> {
    client.call::<ProcessName>(ProcessNameRequest::default()).await.map(drop)
}

pub(crate) fn code(answer: Result<(), Status>) -> Code {
    answer.map_or_else(|status| status.code(), |()| Code::Ok)
}
