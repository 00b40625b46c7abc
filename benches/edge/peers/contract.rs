//! The two messages and the path of service1, written out so that the peers need nothing of the project's.

pub(crate) const PROCESS_NAME: &str = "/app.grpc.Service1/ProcessName";

#[derive(Clone, PartialEq, prost::Message)]
pub(crate) struct ProcessNameRequest {
    #[prost(string, tag = "1")]
    pub(crate) name: String,
}

#[derive(Clone, PartialEq, prost::Message)]
pub(crate) struct ProcessNameResponse {
    #[prost(string, tag = "1")]
    pub(crate) name: String,
}
