//! The messages of a request on their way out, what their errors do to the call, and what its end does to them.

use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, ready};

use bytes::Bytes;
use futures_util::future::{FutureExt as _, Shared};
use futures_util::{Stream, StreamExt as _, stream};
use http_body::{Body as HttpBody, Frame};
use tokio::sync::oneshot;
use tonic::body::Body;

use crate::payload::{Message, MessageStream, Payload};
use crate::status::{Result, Status};

/// The messages of a request as HTTP can carry them, and word of an error among them: that cannot be
/// sent, so it ends the call here and, by way of a reset stream, there.
pub(super) fn outgoing(body: Payload) -> (impl Stream<Item = Message> + Send + 'static, Streamed) {
    match body {
        Payload::One(message) => (stream::iter(Some(message)).left_stream(), Streamed(None)),
        Payload::Stream(messages) => {
            let (tell, failed) = oneshot::channel();
            let messages = stream::unfold((messages, tell), async |(mut messages, tell)| {
                match messages.next().await? {
                    Ok(message) => Some((message, (messages, tell))),
                    Err(status) => {
                        // Without a receiver the call has ended already.
                        drop(tell.send(status));
                        std::future::pending().await
                    }
                }
            });
            let (lives, over) = oneshot::channel();
            let parts = Parts { failed: Some(failed), over: over.shared(), _lives: lives };
            (messages.boxed().right_stream(), Streamed(Some(parts)))
        }
    }
}

/// A streamed request, for as long as its call lives; nothing for one message. Where it is dropped, the call is over, and
/// what is not sent by then is not to be.
pub(super) struct Streamed(Option<Parts>);

struct Parts {
    /// The error among the messages, when it comes; none once they have ended well.
    failed: Option<oneshot::Receiver<Status>>,
    over: Shared<oneshot::Receiver<()>>,
    _lives: oneshot::Sender<()>,
}

impl Streamed {
    /// The body of a request that ends with its call. hyper sends on what was not sent whether or not somebody reads the answer,
    /// and the callee would not hear that its caller has gone: an error of the body makes it reset the stream.
    pub(super) fn ending(&self) -> Option<Ending> {
        self.0.as_ref().map(|parts| Ending(parts.over.clone()))
    }

    /// What `answer` comes to, or an error among the messages of the request, if that comes first.
    pub(super) async fn or<T>(&mut self, answer: impl Future<Output = Result<T>>) -> Result<T> {
        let Some(parts) = &mut self.0 else { return answer.await };
        tokio::select! {
            biased;
            Some(status) = std::future::poll_fn(|cx| parts.poll_failed(cx)) => Err(status),
            answer = answer => answer,
        }
    }

    /// Ends an answer with the error of the request, and the request with the answer.
    pub(super) fn until_the_end_of(self, answer: MessageStream) -> MessageStream {
        match self.0 {
            Some(parts) => Answer(Some((answer, parts))).boxed(),
            None => answer,
        }
    }
}

impl Parts {
    /// The error, when it comes; none where there is none to come.
    fn poll_failed(&mut self, cx: &mut Context<'_>) -> Poll<Option<Status>> {
        let Some(failed) = &mut self.failed else { return Poll::Ready(None) };
        let status = ready!(failed.poll_unpin(cx)).ok();
        self.failed = None;
        Poll::Ready(status)
    }
}

/// An answer to a streamed request, until either has ended or failed.
struct Answer(Option<(MessageStream, Parts)>);

impl Stream for Answer {
    type Item = Result<Message>;

    fn poll_next(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Self::Item>> {
        let Some((messages, parts)) = &mut self.0 else { return Poll::Ready(None) };
        // Items of the answer first, so that what had arrived is not lost.
        let item = match messages.as_mut().poll_next(cx) {
            Poll::Ready(item) => item,
            Poll::Pending => match parts.poll_failed(cx) {
                Poll::Ready(Some(status)) => Some(Err(status)),
                Poll::Ready(None) | Poll::Pending => return Poll::Pending,
            },
        };
        if !matches!(item, Some(Ok(_))) {
            self.0 = None;
        }
        Poll::Ready(item)
    }
}

/// Resolves when a call is over.
#[derive(Clone)]
pub(super) struct Ending(Shared<oneshot::Receiver<()>>);

impl Ending {
    /// `body`, until then.
    pub(super) fn of(self, body: Body) -> Body {
        Body::new(Request { body, over: self.0 })
    }
}

struct Request {
    body: Body,
    over: Shared<oneshot::Receiver<()>>,
}

impl HttpBody for Request {
    type Data = Bytes;
    type Error = Status;

    fn poll_frame(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>>>> {
        if self.over.poll_unpin(cx).is_ready() {
            let mut status = Status::cancelled("the call is over");
            // What the stream is reset with.
            status.set_source(Arc::new(h2::Error::from(h2::Reason::CANCEL)));
            return Poll::Ready(Some(Err(status)));
        }
        Pin::new(&mut self.body).poll_frame(cx)
    }

    fn is_end_stream(&self) -> bool {
        self.body.is_end_stream()
    }
}
