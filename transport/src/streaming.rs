//! A stream of messages, as a request or as an answer.

use std::fmt;
use std::marker::PhantomData;
use std::panic::AssertUnwindSafe;
use std::pin::Pin;
use std::task::{Context, Poll, ready};

use futures_util::future::BoxFuture;
use futures_util::{FutureExt as _, Stream, StreamExt as _, stream};
use tokio::sync::mpsc;

use crate::admission::Taken;
use crate::context::CallContext;
use crate::contract::Body;
use crate::payload::{Message, MessageStream, MessageType, Payload};
use crate::status::{self, Result};

/// A stream of messages, as request or response. Dropping it ends the stream on the other side.
pub struct Streaming<T> {
    messages: MessageStream,
    limit: usize,
    kind: PhantomData<fn() -> T>,
}

impl<T: MessageType> Streaming<T> {
    /// A stream of what `items` yields. The first error is the last item.
    pub fn new(items: impl Stream<Item = Result<T>> + Send + 'static) -> Self {
        Self {
            messages: items.map(|item| item.map(Message::of)).boxed(),
            limit: usize::MAX,
            kind: PhantomData,
        }
    }

    /// A stream of `items`, which are there already.
    pub fn of<I>(items: I) -> Self
    where
        I: IntoIterator<Item = T>,
        I::IntoIter: Send + 'static,
    {
        Self::new(stream::iter(items.into_iter().map(Ok)))
    }

    /// A stream of what `items` yields, which may be of this thread only: they are taken by a local task, in the
    /// context of the call that is being handled, one ahead of who reads them. A panic among them is an error of
    /// the stream.
    pub fn local(items: impl Stream<Item = Result<T>> + 'static) -> Self {
        let (sender, receiver) = mpsc::channel(1);
        let pump = pump(items, sender);
        match CallContext::current() {
            Some(context) => {
                let source = context.admission().map(|admission| admission.one(Taken::Sources));
                actix_rt::spawn(context.scope(async move { (pump.await, source).0 }))
            }
            None => actix_rt::spawn(pump),
        };
        Self::new(stream::unfold(receiver, async |mut receiver| Some((receiver.recv().await?, receiver))))
    }
}

/// Hands over what `items` yields until they end or nobody reads them any more.
async fn pump<T>(items: impl Stream<Item = Result<T>>, sender: mpsc::Sender<Result<T>>) {
    let mut items = std::pin::pin!(items);
    loop {
        let Ok(room) = sender.reserve().await else { return };
        let next = AssertUnwindSafe(items.next()).catch_unwind();
        let next = tokio::select! {
            biased;
            () = sender.closed() => return,
            next = next => next.unwrap_or_else(|_| Some(Err(status::panicked()))),
        };
        let Some(item) = next else { return };
        let is_last = item.is_err();
        room.send(item);
        if is_last {
            return;
        }
    }
}

impl<T: MessageType> Body for Streaming<T> {
    const STREAMING: bool = true;

    fn into_payload(self) -> Payload {
        Payload::Stream(self.messages)
    }

    fn from_payload(payload: Payload, limit: usize) -> BoxFuture<'static, Result<Self>> {
        let messages = payload.into_stream();
        Box::pin(async move { Ok(Self { messages, limit, kind: PhantomData }) })
    }

    fn from_payload_now(payload: Payload, limit: usize) -> Result<Result<Self>, Payload> {
        Ok(Ok(Self { messages: payload.into_stream(), limit, kind: PhantomData }))
    }
}

impl<T: MessageType> Stream for Streaming<T> {
    type Item = Result<T>;

    fn poll_next(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Self::Item>> {
        let limit = self.limit;
        let item = ready!(self.messages.poll_next_unpin(cx));
        let item = item.map(|message| message.and_then(|message| message.open(limit)));
        if matches!(item, Some(Err(_))) {
            // tonic's stream goes on after an error: with the same one for ever, or with the rest of a message
            // that was too large, taken for messages.
            self.messages = stream::empty().boxed();
        }
        Poll::Ready(item)
    }
}

impl<T> fmt::Debug for Streaming<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Streaming").finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests {
    use std::rc::Rc;

    use tokio::task::{LocalSet, yield_now};

    use super::*;

    #[tokio::test]
    async fn a_local_stream_that_nobody_reads_any_more_ends_though_it_has_nothing_to_say() {
        let claim = async {
            let held = Rc::new(());
            let source = Rc::clone(&held);
            let first = stream::iter([Ok(String::from("first"))]);
            let silent = stream::once(async move { std::future::pending::<Rc<()>>().await == source });
            let mut messages = Streaming::local(first.chain(silent.map(|_| Ok(String::new()))));
            assert_eq!(messages.next().await.expect("a message").expect("no error"), "first");
            yield_now().await;
            assert_eq!(Rc::strong_count(&held), 2, "the next message is waited for");
            drop(messages);
            yield_now().await;
            assert_eq!(Rc::strong_count(&held), 1);
        };
        LocalSet::new().run_until(claim).await;
    }
}
