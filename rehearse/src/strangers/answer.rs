//! What an answer of HTTP/1.1 must be.

/// An answer of HTTP/1.1, as it must be. Any must have a legal request id and say how long its body is; one with a status from
/// 400 on must be a problem document that says the same as its head.
#[derive(Debug, Clone)]
pub struct Answer {
    pub(crate) status: u16,
    pub(crate) has_body: bool,
    pub(crate) length: Option<usize>,
    pub(crate) closes: bool,
    pub(crate) contains: &'static str,
}

impl Answer {
    /// One with this status.
    #[must_use]
    pub fn new(status: u16) -> Self {
        Self { status, has_body: true, length: None, closes: false, contains: "" }
    }

    /// Its head says how long a body would be, and none follows: the answer to HEAD.
    #[must_use]
    pub fn without_body(self) -> Self {
        Self { has_body: false, ..self }
    }

    /// Its body has, or would have, so many bytes.
    #[must_use]
    pub fn of_length(self, bytes: usize) -> Self {
        Self { length: Some(bytes), ..self }
    }

    /// It says that the connection ends with it.
    #[must_use]
    pub fn closing(self) -> Self {
        Self { closes: true, ..self }
    }

    /// This stands in its head, or in its body.
    #[must_use]
    pub fn with(self, text: &'static str) -> Self {
        Self { contains: text, ..self }
    }
}
