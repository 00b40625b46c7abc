//! Typed calls, and the policies that each goes through, whatever carries it.

use std::fmt;
use std::time::Duration;

use tonic::metadata::MetadataMap;
use tower::{Service, ServiceBuilder, ServiceExt as _};

use crate::channel::{Channel, Request, Response};
use crate::deadline::{self, DeadlineLayer};
use crate::mutant::{Mutant, is_planted};
use crate::{Body, CallContext, Limits, Method, Result, Status, metadata};

/// Calls the methods of one service. Cheap to clone; generated clients wrap it.
///
/// A call made while handling another inherits that one's request id and, where it is shorter than its
/// own, what is left of its deadline. A call made outside of any takes its request id from the metadata
/// entry `x-request-id`, or gets a fresh one.
#[derive(Clone)]
pub struct Client {
    channel: Channel,
    deadline: Duration,
    message_size: usize,
}

impl Client {
    /// A client over `carrier`. A call takes at most `deadline`, and less where its caller has less.
    pub fn new<C>(carrier: C, deadline: Duration, limits: Limits) -> Self
    where
        C: Service<Request, Response = Response, Error = Status> + Clone + Send + Sync + 'static,
        C::Future: Send + 'static,
    {
        Self { channel: policies(carrier), deadline, message_size: limits.message_size }
    }

    /// Calls `M`.
    ///
    /// # Errors
    ///
    /// Whatever the handler answers; `DEADLINE_EXCEEDED`, `UNAVAILABLE`, `RESOURCE_EXHAUSTED` or
    /// `CANCELLED` from the way there and back.
    pub async fn call<M: Method>(&self, request: M::Request) -> Result<M::Response> {
        let (_, answer) = self.send::<M>(MetadataMap::new(), request).await?;
        Ok(answer)
    }

    /// Calls `M` with metadata of its own, and gives those of the answer. A timeout set on `request`
    /// holds where it is shorter than the client's.
    ///
    /// # Errors
    ///
    /// As [`call`](Self::call).
    pub async fn exchange<M: Method>(
        &self,
        request: tonic::Request<M::Request>,
    ) -> Result<tonic::Response<M::Response>> {
        let (metadata, extensions, message) = request.into_parts();
        let (metadata, answer) = self.send::<M>(metadata, message).await?;
        Ok(tonic::Response::from_parts(metadata, answer, extensions))
    }

    async fn send<M: Method>(
        &self,
        metadata: MetadataMap,
        request: M::Request,
    ) -> Result<(MetadataMap, M::Response)> {
        let request = self.outgoing::<M>(metadata, request)?;
        let response = self.channel.clone().oneshot(request).await?;
        let answer = match M::Response::from_payload_now(response.body, self.message_size) {
            Ok(answer) => answer?,
            Err(body) => M::Response::from_payload(body, self.message_size).await?,
        };
        Ok((response.metadata, answer))
    }

    fn outgoing<M: Method>(&self, metadata: MetadataMap, request: M::Request) -> Result<Request> {
        let asked = metadata.as_ref().get(metadata::GRPC_TIMEOUT).and_then(deadline::parse);
        let fresh = || metadata::request_id(metadata.as_ref());
        let (request_id, inherited) = CallContext::with_current(|context| match context {
            Some(context) => (context.request_id().clone(), context.deadline()),
            None => (fresh(), None),
        });
        let metadata = metadata::of_user(metadata.into_headers());
        metadata::check_size(&metadata)?;
        let own = deadline::after(asked.map_or(self.deadline, |asked| asked.min(self.deadline)));
        let inherited = inherited.filter(|_| !is_planted(Mutant::DeadlineRestarted));
        Ok(Request {
            path: M::PATH,
            streaming: M::Response::STREAMING,
            request_id,
            deadline: own.into_iter().chain(inherited).min(),
            metadata,
            body: request.into_payload(),
        })
    }
}

impl fmt::Debug for Client {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Client").field("deadline", &self.deadline).finish_non_exhaustive()
    }
}

/// The policies, outermost first. Each stands where it does for a reason.
fn policies<C>(carrier: C) -> Channel
where
    C: Service<Request, Response = Response, Error = Status> + Clone + Send + Sync + 'static,
    C::Future: Send + 'static,
{
    let stack = ServiceBuilder::new()
        // Outermost, because a deadline covers everything that a call may wait for. Retries, hedges and a
        // circuit breaker have their place between it and the carrier; balancing is the carrier's.
        .layer(DeadlineLayer)
        .service(carrier);
    Channel::new(stack)
}

/// The client of one service, generated from its contract.
pub trait Peer: Clone + Send + Sync + 'static {
    /// The name of the service.
    const NAME: &'static str;

    /// Types a client.
    fn new(client: Client) -> Self;
}

/// The clients of the services that an actor calls.
pub trait Peers: Clone + Send + Sync + 'static {
    /// The names of the services.
    const NAMES: &'static [&'static str];

    /// Makes the clients; `client` gives the one for a name.
    fn connect(client: &dyn Fn(&'static str) -> Client) -> Self;
}

impl Peers for () {
    const NAMES: &'static [&'static str] = &[];

    fn connect(_: &dyn Fn(&'static str) -> Client) -> Self {}
}

impl<P: Peer> Peers for P {
    const NAMES: &'static [&'static str] = &[P::NAME];

    fn connect(client: &dyn Fn(&'static str) -> Client) -> Self {
        P::new(client(P::NAME))
    }
}

impl<P: Peer, Q: Peer> Peers for (P, Q) {
    const NAMES: &'static [&'static str] = &[P::NAME, Q::NAME];

    fn connect(client: &dyn Fn(&'static str) -> Client) -> Self {
        (P::new(client(P::NAME)), Q::new(client(Q::NAME)))
    }
}

impl<P: Peer, Q: Peer, R: Peer> Peers for (P, Q, R) {
    const NAMES: &'static [&'static str] = &[P::NAME, Q::NAME, R::NAME];

    fn connect(client: &dyn Fn(&'static str) -> Client) -> Self {
        (P::new(client(P::NAME)), Q::new(client(Q::NAME)), R::new(client(R::NAME)))
    }
}
