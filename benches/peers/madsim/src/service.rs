//! Both services, behind what madsim-tonic's generator would write for them.

use std::future::Future;
use std::net::SocketAddr;
use std::sync::Arc;
use std::task::{Context, Poll};

use tonic::codegen::futures::{StreamExt, stream};
use tonic::codegen::http::uri::PathAndQuery;
use tonic::codegen::{BoxFuture, BoxMessage, BoxMessageStream};
use tonic::transport::{Channel, NamedService, Server};
use tonic::{Request, Response, Status};

use crate::Error;
use crate::call::{self, Text};

/// What answers a call.
pub(crate) trait Answer: Send + Sync + 'static {
    const NAME: &'static str;

    fn answer(&self, text: String) -> impl Future<Output = Result<String, Status>> + Send;
}

/// service1: the name in capitals.
pub(crate) struct Names;

impl Answer for Names {
    const NAME: &'static str = "app.grpc.Service1";

    async fn answer(&self, text: String) -> Result<String, Status> {
        Ok(text.to_uppercase())
    }
}

/// service2: a greeting for the name that service1 makes of it.
pub(crate) struct Greets(Channel);

impl Greets {
    pub(crate) fn lazily(service1: &str) -> Result<Self, Error> {
        Ok(Self(call::connect_lazily(service1)?))
    }
}

impl Answer for Greets {
    const NAME: &'static str = "app.grpc.Service2";

    async fn answer(&self, text: String) -> Result<String, Status> {
        let name = call::name(self.0.clone(), &text).await?;
        Ok(format!("Hello, {name}!"))
    }
}

pub(crate) async fn serve<A: Answer>(service: Service<A>, address: SocketAddr) -> Result<(), Error> {
    Ok(Server::builder().add_service(service).serve(address).await?)
}

/// A service as madsim-tonic calls it.
pub(crate) struct Service<A>(Arc<A>);

impl<A> Service<A> {
    pub(crate) fn new(answer: A) -> Self {
        Self(Arc::new(answer))
    }
}

impl<A: Answer> NamedService for Service<A> {
    const NAME: &'static str = A::NAME;
}

impl<A: Answer> tonic::codegen::Service<(PathAndQuery, Request<BoxMessageStream>)> for Service<A> {
    type Response = Response<BoxMessageStream>;
    type Error = Status;
    type Future = BoxFuture<Self::Response, Self::Error>;

    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<Result<(), Status>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, (_, request): (PathAndQuery, Request<BoxMessageStream>)) -> Self::Future {
        let service = Arc::clone(&self.0);
        Box::pin(async move {
            let first = request.into_inner().next().await.ok_or_else(|| Status::internal("no message"))??;
            let message = first.downcast::<Text>().map_err(|_| Status::internal("another message"))?;
            let text = service.answer(message.text).await?;
            let answer: BoxMessage = Box::new(Text { text });
            Ok(Response::new(stream::once(async { Ok(answer) }).boxed()))
        })
    }
}
