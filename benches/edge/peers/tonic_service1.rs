//! service1 in tonic, shaped like the code that tonic's generator writes for it.

use std::convert::Infallible;
use std::task::{Context, Poll};

use futures_util::future::BoxFuture;
use prost::Message as _;
use tonic::body::Body;
use tonic::server::{Grpc, NamedService};
use tonic::transport::Server;
use tonic::{Request, Response, Status};
use tonic_prost::ProstCodec;
use tower::{Service, service_fn};

use super::access::{self, Answered};
use super::contract::{PROCESS_NAME, ProcessNameRequest, ProcessNameResponse};
use super::{Outcome, block_on, request_id};
use crate::options::Listener;
use crate::program::now;

pub(super) fn run(listener: &Listener) -> Outcome {
    block_on(listener.workers, async {
        Ok(Server::builder().add_service(Service1).serve(listener.listen).await?)
    })
}

async fn process_name(request: Request<ProcessNameRequest>) -> Result<Response<ProcessNameResponse>, Status> {
    let start = now();
    let request_id = request_id::or_fresh(request_id::of_metadata(request.metadata()));
    let name = request.into_inner().name.to_uppercase();
    let mut response = Response::new(ProcessNameResponse { name });
    request_id::insert(response.metadata_mut(), &request_id);
    let bytes = response.get_ref().encoded_len() as u64;
    access::line("POST", PROCESS_NAME, &Answered { status: 200, bytes, start }, &request_id);
    Ok(response)
}

#[derive(Clone)]
struct Service1;

impl NamedService for Service1 {
    const NAME: &'static str = "app.grpc.Service1";
}

impl Service<http::Request<Body>> for Service1 {
    type Response = http::Response<Body>;
    type Error = Infallible;
    type Future = BoxFuture<'static, Result<Self::Response, Infallible>>;

    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<Result<(), Infallible>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, request: http::Request<Body>) -> Self::Future {
        Box::pin(async move {
            if request.uri().path() != PROCESS_NAME {
                return Ok(Status::unimplemented("no such method").into_http());
            }
            let codec = ProstCodec::<ProcessNameResponse, ProcessNameRequest>::default();
            Ok(Grpc::new(codec).unary(service_fn(process_name), request).await)
        })
    }
}
