//! From a path to an actor: which services are here, how much they take on, and who answers.

use std::any::{Any, type_name};
use std::collections::HashMap;
use std::fmt;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::pin::Pin;
use std::sync::{Arc, Mutex, PoisonError, Weak};
use std::task::{Context, Poll};

use actix::{Actor, Addr, Handler};
use futures_util::future::{BoxFuture, LocalBoxFuture};
use futures_util::{Stream, StreamExt as _};
use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use tracing::error;

use crate::call::panicked;
use crate::channel::Response;
use crate::client::{Client, Peers};
use crate::deadline::bound;
use crate::mutant::{Mutant, is_planted};
use crate::payload::{MessageStream, Payload};
use crate::status::NotSent;
use crate::{Bind, Body, Call, CallContext, Contract, Method, Result, Status, metadata, rest, status};

/// An actor that serves a contract. This and its handlers are all that the author of a service writes.
///
/// An actor lives on one worker, and each worker has its own. An actor that dies is started again with
/// the next call.
pub trait Serve: Actor<Context = actix::Context<Self>> {
    /// The contract whose every rpc it handles.
    type Contract: Bind<Self>;
    /// The clients of the services that it calls: `()`, one, or a tuple of them.
    type Peers: Peers;

    /// Makes the actor.
    fn new(peers: Self::Peers) -> Self;
}

/// One service that a node can host.
#[derive(Debug, Clone, Copy)]
pub struct ServiceEntry {
    /// The name under which it is placed and called.
    pub name: &'static str,
    /// The names of the services that it calls.
    pub peers: &'static [&'static str],
    host: fn(&mut RouterBuilder, &dyn Fn(&'static str) -> Client),
}

impl ServiceEntry {
    /// The entry of the service that `A` serves.
    #[must_use]
    pub const fn of<A: Serve>() -> Self {
        Self {
            name: <A::Contract as Contract>::NAME,
            peers: <A::Peers as Peers>::NAMES,
            host: |router, client| router.host::<A>(A::Peers::connect(client)),
        }
    }
}

/// What a service takes on, on one worker.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Limits {
    /// The largest message, in bytes.
    pub message_size: usize,
    /// The most calls of one service at once. One more is refused at once with `RESOURCE_EXHAUSTED`.
    pub calls: usize,
}

impl Default for Limits {
    fn default() -> Self {
        Self { message_size: 4 * 1024 * 1024, calls: 1024 }
    }
}

/// Runs in front of every handler, as part of it: it may take its time, refuse the call, or panic, and the
/// call fares as if the handler had. Rehearsals make handlers slow or broken with it. What it gives is dropped with
/// the handler, so that it can tell how long each runs.
pub type Interceptor =
    Arc<dyn Fn(&CallContext) -> LocalBoxFuture<'static, Result<Box<dyn Any>>> + Send + Sync>;

/// Finds the actor for a call. One for each worker; cheap to clone.
#[derive(Clone)]
pub struct Router(Arc<RouterBuilder>);

/// A reference that does not keep the actors alive, for the clients that they hold themselves.
#[derive(Debug, Clone, Default)]
pub(crate) struct WeakRouter(Weak<RouterBuilder>);

impl WeakRouter {
    pub(crate) fn upgrade(&self) -> Option<Router> {
        self.0.upgrade().map(Router)
    }
}

impl Router {
    /// Starts with no services.
    #[must_use]
    pub fn builder(limits: Limits) -> RouterBuilder {
        RouterBuilder { limits, interceptor: None, endpoints: HashMap::new(), routes: Vec::new() }
    }

    pub(crate) fn downgrade(&self) -> WeakRouter {
        WeakRouter(Arc::downgrade(&self.0))
    }

    /// What each service takes on.
    #[must_use]
    pub fn limits(&self) -> Limits {
        self.0.limits
    }

    /// The REST routes of all services here.
    #[must_use]
    pub fn routes(&self) -> &[rest::Route] {
        &self.0.routes
    }

    pub(crate) fn endpoint(&self, path: &str) -> Option<Arc<Endpoint>> {
        self.0.endpoints.get(path).cloned()
    }
}

impl fmt::Debug for Router {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Router").field("limits", &self.0.limits).finish_non_exhaustive()
    }
}

/// A router in the making.
pub struct RouterBuilder {
    limits: Limits,
    interceptor: Option<Interceptor>,
    endpoints: HashMap<&'static str, Arc<Endpoint>>,
    routes: Vec<rest::Route>,
}

impl RouterBuilder {
    /// Puts `interceptor` in front of the handlers of all services that are added from now on.
    pub fn intercept(&mut self, interceptor: Interceptor) {
        self.interceptor = Some(interceptor);
    }

    /// Hosts the service of `entry`; `client` gives the clients that it needs.
    pub fn add(&mut self, entry: &ServiceEntry, client: &dyn Fn(&'static str) -> Client) {
        (entry.host)(self, client);
    }

    /// Hosts the service that `A` serves. Must be called on the worker where the actor is to live.
    pub fn host<A: Serve>(&mut self, peers: A::Peers) {
        let actor = Arc::new(Hosted::<A>::start(peers, self.limits.calls));
        let admission = Arc::new(Semaphore::new(self.limits.calls));
        <A::Contract as Bind<A>>::bind(&mut Binding { router: self, actor, admission });
    }

    /// The router, complete.
    #[must_use]
    pub fn build(self) -> Router {
        Router(Arc::new(self))
    }
}

impl fmt::Debug for RouterBuilder {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("RouterBuilder").field("limits", &self.limits).finish_non_exhaustive()
    }
}

/// Binds the rpcs of one service, one after the other, to its actor.
#[derive(Debug)]
pub struct Binding<'a, A: Serve> {
    router: &'a mut RouterBuilder,
    actor: Arc<Hosted<A>>,
    admission: Arc<Semaphore>,
}

impl<A: Serve> Binding<'_, A> {
    /// Binds the rpc `M`.
    pub fn method<M: Method>(&mut self)
    where
        A: Handler<Call<M>>,
    {
        let actor = self.actor.clone();
        let limit = self.router.limits.message_size;
        let interceptor = self.router.interceptor.clone();
        let endpoint = Endpoint {
            service: M::Contract::NAME,
            path: M::PATH,
            request_streaming: M::Request::STREAMING,
            response_streaming: M::Response::STREAMING,
            admission: self.admission.clone(),
            deliver: Box::new(move |context, body, place| {
                let (actor, interceptor) = (actor.clone(), interceptor.clone());
                Box::pin(async move {
                    let request = match M::Request::from_payload_now(body, limit) {
                        Ok(request) => request?,
                        Err(body) => M::Request::from_payload(body, limit).await?,
                    };
                    let call = Call::<M>::new(request, context, interceptor, place);
                    Ok(deliver(&actor, call).await?.into_payload())
                })
            }),
        };
        self.router.routes.extend(M::routes());
        self.router.endpoints.insert(M::PATH, Arc::new(endpoint));
    }
}

type Deliver = dyn Fn(CallContext, Payload, Place) -> BoxFuture<'static, Result<Payload>> + Send + Sync;

/// A place among the calls that a service takes on. The handler holds it until it is done or dropped, which
/// may be a scheduling turn after its caller has gone, and a streamed answer until it ends.
pub(crate) type Place = Arc<OwnedSemaphorePermit>;

/// One rpc of one service here.
pub(crate) struct Endpoint {
    pub(crate) service: &'static str,
    pub(crate) path: &'static str,
    pub(crate) request_streaming: bool,
    pub(crate) response_streaming: bool,
    admission: Arc<Semaphore>,
    deliver: Box<Deliver>,
}

impl Endpoint {
    /// Whether the call has one request and one answer, so that it may be given a deadline that it did
    /// not ask for.
    pub(crate) fn is_unary(&self) -> bool {
        !self.request_streaming && !self.response_streaming
    }

    /// Calls the actor. What the handler adds to the metadata comes with the answer, good or bad.
    pub(crate) async fn call(&self, context: &CallContext, body: Payload) -> Result<Response> {
        let answer = self.admitted(context, body).await;
        let added = context.take_answer_metadata();
        match answer {
            Ok(body) => {
                let metadata = metadata::of_user(added.into_headers());
                metadata::check_size(&metadata)?;
                Ok(Response { metadata, body })
            }
            Err(mut status) => {
                let own = std::mem::take(status.metadata_mut());
                *status.metadata_mut() = metadata::of_user(metadata::join(added, own));
                metadata::check_size(status.metadata())?;
                Err(status::within_limits(status))
            }
        }
    }

    async fn admitted(&self, context: &CallContext, body: Payload) -> Result<Payload> {
        if is_planted(Mutant::NoAdmission) {
            self.admission.add_permits(1);
        }
        let place = self.admission.clone().try_acquire_owned().map_err(|_| {
            Status::resource_exhausted(format!("{} has as many calls as it takes on", self.service))
        })?;
        let place = Arc::new(place);
        match (self.deliver)(context.clone(), body, place.clone()).await? {
            Payload::Stream(messages) => {
                let context = context.clone();
                let deadline = context.deadline();
                let answer = AnswerStream { messages: Some(messages), context, _place: place };
                Ok(bound(deadline, Payload::Stream(answer.boxed())))
            }
            body @ Payload::One(_) => Ok(body),
        }
    }
}

async fn deliver<A: Serve + Handler<Call<M>>, M: Method>(
    actor: &Hosted<A>,
    call: Call<M>,
) -> Result<M::Response> {
    let context = call.context.clone();
    match actor.address().send(call).await {
        // What a handler fails with is its own, even where it came from a call of its own: that this was not
        // sent proves nothing for the one that was handled.
        Ok(answer) => answer.map_err(status::without_proof),
        Err(_) if context.has_panicked() => Err(panicked()),
        // The actor died while the call was waiting in its mailbox.
        Err(_) => Err(status::not_sent(NotSent::Unreachable, format!("{} has just died", M::Contract::NAME))),
    }
}

/// An actor, and what it takes to start it again.
struct Hosted<A: Serve> {
    /// The lock is never contended: a router stays on one thread. It is there because a handle to the
    /// router may be dropped anywhere.
    address: Mutex<Addr<A>>,
    peers: A::Peers,
    mailbox: usize,
}

impl<A: Serve> Hosted<A> {
    fn start(peers: A::Peers, mailbox: usize) -> Self {
        let address = Mutex::new(start::<A>(peers.clone(), mailbox));
        Self { address, peers, mailbox }
    }

    /// The address of the actor; of a new one, if the last one died.
    fn address(&self) -> Addr<A> {
        let mut address = self.address.lock().unwrap_or_else(PoisonError::into_inner);
        if !address.connected() && !is_planted(Mutant::PanicKillsActor) {
            error!(service = A::Contract::NAME, "the actor has died and is started again");
            *address = start::<A>(self.peers.clone(), self.mailbox);
        }
        address.clone()
    }
}

impl<A: Serve> fmt::Debug for Hosted<A> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("Hosted").field(&type_name::<A>()).finish()
    }
}

/// Admission lets no more calls in than the mailbox takes, so sending never waits. (A full actix mailbox
/// wakes its senders unreliably.)
fn start<A: Serve>(peers: A::Peers, mailbox: usize) -> Addr<A> {
    A::create(|context| {
        context.set_mailbox_capacity(mailbox);
        A::new(peers)
    })
}

/// A streamed answer: runs in the context of its call, and holds the call's place until it ends.
struct AnswerStream {
    /// None once it has ended.
    messages: Option<MessageStream>,
    context: CallContext,
    _place: Place,
}

impl Stream for AnswerStream {
    type Item = <MessageStream as Stream>::Item;

    fn poll_next(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Self::Item>> {
        let Self { messages, context, .. } = &mut *self;
        let Some(stream) = messages else { return Poll::Ready(None) };
        let polled = context
            .sync_scope(|| catch_unwind(AssertUnwindSafe(|| stream.poll_next_unpin(cx))))
            .unwrap_or_else(|_| Poll::Ready(Some(Err(panicked()))));
        if matches!(polled, Poll::Ready(None | Some(Err(_)))) {
            *messages = None;
        }
        polled
    }
}
