//! A call over HTTP/2 as no library makes it.

use std::time::Duration;

use bytes::Bytes;
use transport::Code;

/// A call whose head is right, and whatever follows may be odd. Its answer is read as it comes, but for
/// [`unread_until_reset_after`](Self::unread_until_reset_after).
#[derive(Debug, Clone)]
pub struct Call {
    pub(crate) path: &'static str,
    pub(crate) message: Bytes,
    pub(crate) timeout: Option<&'static str>,
    pub(crate) metadata: Option<(&'static str, usize)>,
    pub(crate) is_half: bool,
    pub(crate) reset_after: Option<Duration>,
    pub(crate) comes_to: Code,
    pub(crate) answer: Option<Bytes>,
    /// Whether it comes to no code, but is reset.
    pub(crate) is_reset: bool,
    pub(crate) after: Option<Duration>,
}

impl Call {
    /// A call of this path with an empty message, which works.
    #[must_use]
    pub fn new(path: &'static str) -> Self {
        Self {
            path,
            message: Bytes::new(),
            timeout: None,
            metadata: None,
            is_half: false,
            reset_after: None,
            comes_to: Code::Ok,
            answer: None,
            is_reset: false,
            after: None,
        }
    }

    /// It sends this message, as it is encoded.
    #[must_use]
    pub fn message(self, message: impl Into<Bytes>) -> Self {
        Self { message: message.into(), ..self }
    }

    /// It brings this `grpc-timeout`.
    #[must_use]
    pub fn timeout(self, timeout: &'static str) -> Self {
        Self { timeout: Some(timeout), ..self }
    }

    /// It brings metadata of this name, with a value of so many bytes.
    #[must_use]
    pub fn metadata(self, name: &'static str, bytes: usize) -> Self {
        Self { metadata: Some((name, bytes)), ..self }
    }

    /// It sends all of its message but the last byte, and then nothing.
    #[must_use]
    pub fn half(self) -> Self {
        Self { is_half: true, ..self }
    }

    /// It is reset after so long, and its end not waited for.
    #[must_use]
    pub fn reset_after(self, time: Duration) -> Self {
        Self { reset_after: Some(time), ..self }
    }

    /// It comes to this code, at once.
    #[must_use]
    pub fn comes_to(self, code: Code) -> Self {
        Self { comes_to: code, ..self }
    }

    /// It comes to this code after so long, and not before.
    #[must_use]
    pub fn comes_to_after(self, time: Duration, code: Code) -> Self {
        Self { comes_to: code, after: Some(time), ..self }
    }

    /// Its answer is larger than what HTTP/2 takes unread, and is not read: the node resets it after so long, and not before.
    #[must_use]
    pub fn unread_until_reset_after(self, time: Duration) -> Self {
        Self { is_reset: true, after: Some(time), ..self }
    }

    /// It is answered with this message, as it is encoded.
    #[must_use]
    pub fn answered_with(self, message: impl Into<Bytes>) -> Self {
        Self { answer: Some(message.into()), ..self }
    }

    pub(super) fn takes(&self) -> Duration {
        self.after.or(self.reset_after).unwrap_or_default()
    }
}
