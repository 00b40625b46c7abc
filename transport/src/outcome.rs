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

#[cfg(test)]
mod tests {
    use super::*;
    use crate::status::{Code, Status};

    #[test]
    fn an_outcome_is_as_large_as_all_that_is_kept_of_it() {
        let mut metadata = MetadataMap::new();
        metadata.insert("x-name", "a value".parse().unwrap());
        let entry = metadata::size(metadata.as_ref());
        assert!(entry > "x-name".len() + "a value".len());
        let (message, details) = (Bytes::from_static(b"message"), Bytes::from_static(b"details"));
        assert_eq!(size(&Ok(Answer { metadata: metadata.clone(), message })), entry + 7);
        let failed = Status::with_details_and_metadata(Code::Aborted, "said", details, metadata);
        assert_eq!(size(&Err(failed)), entry + 4 + 7);
    }
}
