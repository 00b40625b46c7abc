//! The two calls, as a generated client would make them.

use prost::Message;
use tonic::client::Grpc;
use tonic::codegen::http::uri::PathAndQuery;
use tonic::transport::{Channel, Endpoint};
use tonic::{Request, Status};

/// A request or an answer of either service: each has one string.
#[derive(Clone, PartialEq, Message)]
pub(crate) struct Text {
    #[prost(string, tag = "1")]
    pub(crate) text: String,
}

pub(crate) const HELLO: &str = "/app.grpc.Service2/SayHello";
pub(crate) const NAME: &str = "/app.grpc.Service1/ProcessName";

pub(crate) async fn connect(address: &str) -> Result<Channel, tonic::transport::Error> {
    Endpoint::new(format!("http://{address}"))?.connect().await
}

pub(crate) fn connect_lazily(address: &str) -> Result<Channel, tonic::transport::Error> {
    Ok(Endpoint::new(format!("http://{address}"))?.connect_lazy())
}

/// Asks service2 for a greeting.
pub(crate) async fn hello(channel: Channel, name: &str) -> Result<String, Status> {
    unary(channel, HELLO, name).await
}

/// Asks service1 for the name in capitals.
pub(crate) async fn name(channel: Channel, name: &str) -> Result<String, Status> {
    unary(channel, NAME, name).await
}

async fn unary(channel: Channel, path: &'static str, text: &str) -> Result<String, Status> {
    let mut request = Request::new(Text { text: text.to_owned() });
    request.metadata_mut().insert("x-request-id", "sim-000001".parse().map_err(|_| Status::internal("id"))?);
    // There is no codec: madsim-tonic moves the message itself.
    let answer = Grpc::new(channel).unary::<_, Text, _>(request, PathAndQuery::from_static(path), ()).await?;
    Ok(answer.into_inner().text)
}
