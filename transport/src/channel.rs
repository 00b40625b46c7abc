//! The one seam between a call and what carries it.

use tokio::time::Instant;
use tonic::metadata::MetadataMap;
use tower::util::BoxCloneSyncService;

use crate::payload::Payload;
use crate::request_id::RequestId;
use crate::status::Status;
use crate::trail::Trail;

/// Carries calls: memory, or gRPC over some network. Boxed once; everything above it is a tower layer.
///
/// Whatever carries it, a call ends exactly once; dropping its future cancels it, up to and including
/// a running handler. A carrier enforces no deadline (the layer above does) but passes it on.
pub type Channel = BoxCloneSyncService<Request, Response, Status>;

/// A call on its way out.
#[derive(Debug)]
pub struct Request {
    /// `/package.Service/Method`.
    pub path: &'static str,
    /// Whether the response is a stream.
    pub streaming: bool,
    /// The request that this call is part of.
    pub request_id: RequestId,
    /// When it ends at the latest; this travels.
    pub deadline: Option<Instant>,
    /// When a streamed answer must have begun; what comes then may take its time.
    pub starts_by: Option<Instant>,
    /// Which attempt of its call this is, from 0; the callee is told of those before (`grpc-previous-rpc-attempts`, gRFC A6).
    pub attempt: u32,
    /// Waits for a connection until the deadline where all addresses are down, in place of failing at once.
    pub wait_for_ready: bool,
    /// Where the attempts of its call went.
    pub trail: Trail,
    /// What the caller adds.
    pub metadata: MetadataMap,
    /// What is asked.
    pub body: Payload,
}

/// What came back.
#[derive(Debug)]
pub struct Response {
    /// What the handler added.
    pub metadata: MetadataMap,
    /// The answer.
    pub body: Payload,
}
