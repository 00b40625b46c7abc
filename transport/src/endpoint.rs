//! One rpc of one service here: from admission to its actor, and back.

use std::future::poll_fn;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};

use actix::{Actor, Handler};
use futures_util::future::BoxFuture;
use futures_util::{Stream, StreamExt as _};
use tokio::time::Instant;

use crate::admission::{Admission, Awaited, Counted, Permit, Taken};
use crate::answers::Answers;
use crate::budget::Buffered;
use crate::call::{Call, Held, Interceptor, Stay, Ticket};
use crate::channel::Response;
use crate::context::CallContext;
use crate::contract::{Body, Contract, Idempotency, Method};
use crate::criticality::Criticality;
use crate::deadline::{self, bound};
use crate::key::IDEMPOTENCY_KEY;
use crate::metadata;
use crate::payload::{MessageStream, Payload};
use crate::place::Locate;
use crate::route::Route;
use crate::status::{self, NotSent, Result, Status};
use crate::transcode::Transcoder;
use crate::usual::Usual;

type Deliver = dyn Fn(CallContext, Payload, Ticket) -> BoxFuture<'static, Result<Payload>> + Send + Sync;

/// One rpc of one service here.
pub(crate) struct Endpoint {
    pub(crate) path: &'static str,
    pub(crate) request_streaming: bool,
    pub(crate) routes: &'static [Route],
    pub(crate) transcoder: Option<Transcoder>,
    pub(crate) admission: Arc<Admission>,
    /// What calls with idempotency keys came to.
    pub(crate) answers: Answers,
    /// Whether a call that is repeated does something again, unless it has a key.
    pub(crate) has_effects: bool,
    /// Whether it does no harm to handle a call twice.
    pub(crate) is_idempotent: bool,
    /// What is usual, where that counts.
    usual: Option<Usual>,
    response_streaming: bool,
    interceptor: Option<Arc<dyn Interceptor>>,
    deliver: Box<Deliver>,
}

impl Endpoint {
    pub(crate) fn new<A, M>(
        actors: Arc<dyn Locate<A>>,
        (admission, answers): (Arc<Admission>, Answers),
        interceptor: Option<Arc<dyn Interceptor>>,
        limit: usize,
        (transcoder, sheds): (Option<Transcoder>, bool),
    ) -> Self
    where
        A: Actor<Context = actix::Context<A>> + Handler<Call<M>>,
        M: Method,
    {
        Self {
            path: M::PATH,
            request_streaming: M::Request::STREAMING,
            routes: M::ROUTES,
            transcoder,
            admission,
            answers,
            has_effects: M::IDEMPOTENCY != Idempotency::NoSideEffects,
            is_idempotent: M::IDEMPOTENCY == Idempotency::Idempotent,
            usual: (sheds && !M::Request::STREAMING && !M::Response::STREAMING).then(Usual::new),
            response_streaming: M::Response::STREAMING,
            interceptor,
            deliver: Box::new(move |context, body, ticket| {
                let actors = actors.clone();
                Box::pin(async move {
                    let request = match M::Request::from_payload_now(body, limit) {
                        Ok(request) => request?,
                        Err(body) => M::Request::from_payload(body, limit).await?,
                    };
                    let call = Call::<M>::new(request, context, ticket);
                    Ok(deliver(&*actors, call).await?.into_payload())
                })
            }),
        }
    }

    /// Whether the call has one request and one answer, so that it may be given a deadline that it did
    /// not ask for.
    pub(crate) fn is_unary(&self) -> bool {
        !self.request_streaming && !self.response_streaming
    }

    /// Takes on a call, or refuses it: before anything of its request is read that its head does not have.
    pub(crate) fn admit(&self, context: &CallContext) -> Result<Permit> {
        if !self.has_time_for(context) {
            return Err(deadline::too_short());
        }
        let (buffered, criticality) = (context.buffered(), context.criticality());
        let client = buffered.map(Buffered::client);
        let permit = self.admission.admit(!self.is_unary(), criticality, client)?;
        buffered.into_iter().for_each(Buffered::admit);
        Ok(permit)
    }

    /// Whether the call may be answered in time. One with an idempotency key may have been answered already.
    fn has_time_for(&self, context: &CallContext) -> bool {
        let Some((usual, deadline)) = self.usual.as_ref().zip(context.deadline()) else { return true };
        let now = Instant::now();
        context.criticality() == Criticality::Critical
            || context.metadata().contains_key(IDEMPOTENCY_KEY.as_str())
            || usual.allows(deadline.saturating_duration_since(now), now)
    }

    /// Waits for the request of a call that was admitted, as long as that keeps its permit.
    ///
    /// # Errors
    ///
    /// Those of `request`, and `RESOURCE_EXHAUSTED` where the call had to give its permit up.
    pub(crate) async fn read<T, E: From<Status>>(
        &self,
        context: &CallContext,
        permit: Permit,
        mut request: Pin<&mut impl Future<Output = Result<T, E>>>,
    ) -> Result<(Permit, T), E> {
        // Most have come by now.
        let (mut permit, mut awaited) = (Some(permit), None);
        let request = poll_fn(|cx| match request.as_mut().poll(cx) {
            Poll::Ready(request) => Poll::Ready(Some(request)),
            Poll::Pending if self.goes_on_waiting(context, &mut permit, &mut awaited, cx) => Poll::Pending,
            Poll::Pending => Poll::Ready(None),
        });
        let request = request.await.transpose()?;
        let permit = match awaited {
            None => permit.expect("it has not waited"),
            Some(awaited) => awaited.end()?,
        };
        Ok((permit, request.expect("a call without one has given way")))
    }

    // Apart from what all calls go through.
    #[cold]
    #[inline(never)]
    fn goes_on_waiting(
        &self,
        context: &CallContext,
        permit: &mut Option<Permit>,
        awaited: &mut Option<Awaited>,
        cx: &Context<'_>,
    ) -> bool {
        if let Some(permit) = permit.take() {
            let client = context.buffered().map(Buffered::client).expect("it comes over an edge");
            let (held, context) = (self.waits(context), context.clone());
            let gives_way = move || {
                // Now, and not when the call has its turn: until then many others may begin.
                context.buffered().inspect(|buffered| buffered.answered());
                drop(held);
            };
            *awaited = Some(Admission::awaits_request(client, permit, cx.waker(), Box::new(gives_way)));
            return true;
        }
        awaited.as_ref().is_some_and(|awaited| awaited.goes_on(cx.waker()))
    }

    /// Tells that a call which was admitted waits for its request or for the outcome of another one, for as long as it does.
    pub(crate) fn waits(&self, context: &CallContext) -> Option<Box<dyn Held>> {
        self.interceptor.as_ref()?.awaits_request(context, self.path, !self.is_unary())
    }

    /// Calls the actor. What the handler adds to the metadata comes with the answer, good or bad.
    pub(crate) async fn handle(
        &self,
        permit: Permit,
        context: &CallContext,
        body: Payload,
    ) -> Result<Response> {
        let begun = self.usual.as_ref().map(|usual| (usual, Instant::now()));
        let answer = self.admitted(permit, context, body).await;
        if let (Some((usual, begun)), Ok(_)) = (begun, &answer) {
            let now = Instant::now();
            usual.took(now.saturating_duration_since(begun), now);
        }
        let added = context.take_answer_metadata();
        match answer {
            Ok(body) => {
                let metadata = metadata::of_user(added.into_headers());
                metadata::check_size(&metadata)?;
                Ok(Response { metadata, body })
            }
            Err(mut status) => {
                let own = std::mem::take(status.metadata_mut());
                *status.metadata_mut() = metadata::of_error(metadata::join(added, own));
                metadata::check_size(status.metadata())?;
                Err(status::within_limits(status))
            }
        }
    }

    async fn admitted(&self, permit: Permit, context: &CallContext, body: Payload) -> Result<Payload> {
        let held = match &self.interceptor {
            Some(interceptor) => Some(interceptor.admit(context, self.path, !self.is_unary()).await?),
            None => None,
        };
        let stay = Stay::new(held, permit);
        let open = self
            .response_streaming
            .then(|| Open { _stay: stay.clone(), _one: self.admission.one(Taken::Answers) });
        let ticket = Ticket::new(stay);
        match (self.deliver)(context.clone(), body, ticket).await? {
            Payload::Stream(messages) => {
                let (context, deadline) = (context.clone(), context.deadline());
                let answer = AnswerStream { going: Some((messages, open)), context };
                Ok(bound(deadline, Payload::Stream(answer.boxed())))
            }
            body @ Payload::One(_) => Ok(body),
        }
    }
}

async fn deliver<A, M>(actors: &dyn Locate<A>, call: Call<M>) -> Result<M::Response>
where
    A: Actor<Context = actix::Context<A>> + Handler<Call<M>>,
    M: Method,
{
    let context = call.context.clone();
    let actor = actors.locate(M::PATH, &call.request, &context)?;
    match actor.send(call).await {
        // What a handler fails with is its own, even where it came from a call of its own: that this was not
        // sent proves nothing for the one that was handled.
        Ok(answer) => answer.map_err(status::without_proof),
        Err(_) if context.has_panicked() => Err(status::panicked()),
        // The actor died while the call was waiting in its mailbox.
        Err(_) => Err(status::not_sent(NotSent::Unreachable, format!("{} has just died", M::Contract::NAME))),
    }
}

/// A streamed answer: runs in the context of its call, and holds the call's permit until it ends.
struct AnswerStream {
    /// None once it has ended.
    going: Option<(MessageStream, Option<Open>)>,
    context: CallContext,
}

/// What a streamed answer holds until it ends.
struct Open {
    _stay: Arc<Stay>,
    _one: Counted,
}

impl Stream for AnswerStream {
    type Item = <MessageStream as Stream>::Item;

    fn poll_next(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Self::Item>> {
        let Self { going, context } = &mut *self;
        let Some((stream, _)) = going else { return Poll::Ready(None) };
        let polled = context
            .sync_scope(|| catch_unwind(AssertUnwindSafe(|| stream.poll_next_unpin(cx))))
            .unwrap_or_else(|_| Poll::Ready(Some(Err(status::panicked()))));
        if matches!(polled, Poll::Ready(None | Some(Err(_)))) {
            *going = None;
        }
        polled
    }
}

#[cfg(test)]
mod tests {
    use std::pin::pin;

    use futures_util::FutureExt as _;
    use futures_util::future::pending;
    use tokio::sync::oneshot;
    use tonic::Code;

    use super::*;
    use crate::budget::{Budget, Share};
    use crate::drain::Drain;
    use crate::gauges::{Gauge, Gauges};
    use crate::kept::KeyBounds;
    use crate::limits::Limits;

    /// An rpc of a service that takes on two calls.
    fn endpoint(gauges: &Gauges) -> Endpoint {
        let limits = Limits { calls: 2, ..Limits::default() };
        Endpoint {
            path: "/a.B/C",
            request_streaming: false,
            routes: &[],
            transcoder: None,
            admission: Admission::new("a.B", limits, Drain::new(), gauges),
            answers: Answers::new(KeyBounds::default()),
            has_effects: false,
            is_idempotent: false,
            usual: None,
            response_streaming: false,
            interceptor: None,
            deliver: Box::new(|_, _, _| pending().boxed()),
        }
    }

    fn call(share: &Arc<Share>) -> CallContext {
        CallContext::of_nobody().counting(Buffered::of(share))
    }

    /// What sends the request of a call that was admitted and waits for it, and what comes of that.
    fn waiting<'a>(
        endpoint: &'a Endpoint,
        call: &'a CallContext,
    ) -> (oneshot::Sender<()>, BoxFuture<'a, Result<Permit>>) {
        let (comes, request) = oneshot::channel::<()>();
        let permit = endpoint.admit(call).expect("it takes on two");
        let mut read = async move {
            let request = pin!(async { Ok::<_, Status>(request.await) });
            endpoint.read(call, permit, request).await.map(|(permit, _)| permit)
        }
        .boxed();
        assert!(read.as_mut().now_or_never().is_none(), "its request has not come");
        (comes, read)
    }

    #[tokio::test]
    async fn a_call_that_has_given_way_is_refused_though_its_request_has_come_since() {
        let gauges = Gauges::new();
        let (endpoint, budget) = (endpoint(&gauges), Budget::new(1 << 20, &gauges));
        let client = Share::of(&budget);
        let calls = [call(&client), call(&client)];
        let waiting = calls.each_ref().map(|call| waiting(&endpoint, call));
        let _permit = endpoint.admit(&call(&Share::of(&budget))).expect("one gives way");
        let mut codes = Vec::new();
        for (comes, read) in waiting {
            comes.send(()).expect("it is waited for");
            codes.push(read.await.map_or_else(|status| status.code(), |_| Code::Ok));
        }
        assert_eq!(codes, [Code::Ok, Code::ResourceExhausted], "the newest gives way");
    }

    #[tokio::test]
    async fn a_call_that_gives_way_counts_again_before_it_has_heard_of_it() {
        let gauges = Gauges::new();
        let (endpoint, budget) = (endpoint(&gauges), Budget::new(1 << 20, &gauges));
        let held = || gauges.read().sum(Gauge::BufferedBytes);
        let client = Share::of(&budget);
        let calls = [call(&client), call(&client)];
        let _waiting = calls.each_ref().map(|call| waiting(&endpoint, call));
        assert_eq!(held(), 0, "what has a permit is bounded by that");
        let other = call(&Share::of(&budget));
        let count = held();
        let _permit = endpoint.admit(&other).expect("one gives way");
        assert_eq!(held(), count, "the other has a permit, and one has none");
    }
}
