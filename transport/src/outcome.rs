//! What the handler of a call with an idempotency key came to.

use bytes::Bytes;
use tonic::metadata::MetadataMap;

use crate::metadata;
use crate::status::Result;

/// What a handler came to.
pub(crate) type Outcome = Result<Answer>;

/// What a handler answered.
#[derive(Debug, Clone)]
pub(crate) struct Answer {
    pub(crate) metadata: MetadataMap,
    pub(crate) message: Bytes,
}

/// How much of memory an outcome takes, in bytes.
pub(crate) fn size(outcome: &Outcome) -> usize {
    match outcome {
        Ok(answer) => metadata::size(answer.metadata.as_ref()) + answer.message.len(),
        Err(status) => {
            metadata::size(status.metadata().as_ref()) + status.message().len() + status.details().len()
        }
    }
}
