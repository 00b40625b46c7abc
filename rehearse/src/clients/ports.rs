//! Where every node serves.

/// The port on which every node serves REST.
pub(crate) const HTTP_PORT: u16 = 8080;

/// The port on which every node serves gRPC.
pub(crate) const GRPC_PORT: u16 = 50051;
