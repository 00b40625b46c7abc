//! How gRPC frames a message (gRPC over HTTP/2, "Length-Prefixed-Message"), for the clients and servers here that share
//! nothing with a node.

use bytes::{BufMut as _, Bytes, BytesMut};

use crate::rpc::Trouble;

/// What stands before each message: whether it is compressed, and its length.
pub(crate) const PREFIX_BYTES: usize = 5;

/// A message that is not compressed, as it goes over the wire.
pub(crate) fn framed(message: &[u8]) -> Result<Bytes, Trouble> {
    let mut bytes = BytesMut::with_capacity(PREFIX_BYTES + message.len());
    bytes.put_u8(0);
    bytes.put_u32(u32::try_from(message.len())?);
    bytes.put_slice(message);
    Ok(bytes.freeze())
}
