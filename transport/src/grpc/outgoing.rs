//! The messages of a request on their way out, and what their errors do to the call.

use futures_util::{Stream, StreamExt as _, stream};
use tokio::sync::oneshot;

use crate::payload::{Message, MessageStream, Payload};
use crate::status::{Result, Status};

/// The messages of a request as HTTP can carry them, and word of an error among them: that cannot be
/// sent, so it ends the call here and, by way of a reset stream, there.
pub(super) fn outgoing(body: Payload) -> (impl Stream<Item = Message> + Send + 'static, Failure) {
    match body {
        Payload::One(message) => (stream::iter(Some(message)).left_stream(), Failure(None)),
        Payload::Stream(messages) => {
            let (tell, told) = oneshot::channel();
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
            (messages.boxed().right_stream(), Failure(Some(told)))
        }
    }
}

/// The error among the messages of a request, when it comes.
pub(super) struct Failure(Option<oneshot::Receiver<Status>>);

impl Failure {
    /// The error; none if the messages ended well, or are one only.
    async fn wait(&mut self) -> Option<Status> {
        let status = self.0.as_mut()?.await.ok();
        self.0 = None;
        status
    }

    /// What `answer` comes to, or the error, if that comes first.
    pub(super) async fn or<T>(&mut self, answer: impl Future<Output = Result<T>>) -> Result<T> {
        tokio::select! {
            biased;
            Some(status) = self.wait() => Err(status),
            answer = answer => answer,
        }
    }

    /// Ends an answer with the error of the request.
    pub(super) fn watch(self, messages: MessageStream) -> MessageStream {
        let Some(failure) = self.0 else { return messages };
        let failure = stream::once(failure).filter_map(async |failed| failed.ok().map(Err));
        // Items of the answer first, so that what had arrived is not lost; its end counts, that of the
        // request's messages does not. Nobody reads on behind an error.
        let messages = messages.map(Some).chain(stream::iter([None]));
        stream::select_with_strategy(messages, failure.map(Some), |(): &mut ()| stream::PollNext::Left)
            .take_while(|item| std::future::ready(item.is_some()))
            .filter_map(std::future::ready)
            .boxed()
    }
}
