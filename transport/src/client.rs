//! Typed calls, and the policies that each goes through, whatever carries it.

use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use tonic::metadata::MetadataMap;
use tower::{Service, ServiceBuilder};

use crate::attempts::AttemptsLayer;
use crate::breaker::{Breaker, BreakerLayer};
use crate::channel::{Channel, Request, Response};
use crate::context::CallContext;
use crate::contract::{Body, Idempotency, Method};
use crate::criticality::Criticality;
use crate::deadline::{self, DeadlineLayer};
use crate::gauges::Gauges;
use crate::in_flight::{InFlightLayer, Limit};
use crate::limits::Limits;
use crate::metadata;
use crate::policy::Policies;
use crate::record::RecordLayer;
use crate::status::{Result, Status};
use crate::timeout;
use crate::trail::Trail;

/// Calls the methods of one service. Cheap to clone; generated clients wrap it.
///
/// A call made while handling another inherits that one's request id and, where it is shorter than its
/// own, what is left of its deadline. A call made outside of any takes its request id from the metadata
/// entry `x-request-id`, or gets a fresh one.
#[derive(Clone)]
pub struct Client {
    channel: Channel,
    shared: Arc<Shared>,
    message_size: usize,
}

/// What all clones of a client share.
struct Shared {
    policies: Policies,
    breaker: Option<Arc<Breaker>>,
    limit: Option<Arc<Limit>>,
}

impl Client {
    /// A client over `carrier` each of whose calls is tried once. A call takes at most `deadline`, and less where its
    /// caller has less.
    pub fn new<C>(carrier: C, deadline: Duration, limits: Limits) -> Self
    where
        C: Service<Request, Response = Response, Error = Status> + Clone + Send + Sync + 'static,
        C::Future: Send + 'static,
    {
        Self::with_policies("the callee", carrier, Policies::new(deadline).without_retries(), limits)
    }

    /// A client of `callee` over `carrier`, whose calls go by `policies`.
    pub fn with_policies<C>(callee: &'static str, carrier: C, policies: Policies, limits: Limits) -> Self
    where
        C: Service<Request, Response = Response, Error = Status> + Clone + Send + Sync + 'static,
        C::Future: Send + 'static,
    {
        let breaker = policies.breaker.map(|most| Arc::new(Breaker::new(callee, most)));
        let limit = policies.max_in_flight.map(|most| Arc::new(Limit::new(callee, most)));
        let shared = Arc::new(Shared { policies, breaker, limit });
        Self { channel: layers(carrier, &shared), shared, message_size: limits.message_size }
    }

    /// Counts what its policies hold among `gauges`.
    pub fn watch(&self, gauges: &Gauges) {
        self.shared.breaker.iter().for_each(|breaker| gauges.watch(breaker));
        self.shared.limit.iter().for_each(|limit| gauges.watch(limit));
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
    /// holds where it is shorter than the client's. What came to a handler is not passed on but by this:
    ///
    /// ```
    /// use transport::health::{Check, HealthCheckRequest, HealthCheckResponse};
    /// use transport::tonic::{Request, Response};
    /// use transport::{CallContext, Client, Result};
    ///
    /// async fn on_behalf(
    ///     context: &CallContext,
    ///     client: &Client,
    /// ) -> Result<Response<HealthCheckResponse>> {
    ///     let mut request = Request::new(HealthCheckRequest::default());
    ///     if let Some(who) = context.metadata().get("authorization") {
    ///         request.metadata_mut().insert("authorization", who.clone());
    ///     }
    ///     client.exchange::<Check>(request).await
    /// }
    /// ```
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
        let response = self.channel.carry(request).await?;
        let answer = match M::Response::from_payload_now(response.body, self.message_size) {
            Ok(answer) => answer?,
            Err(body) => M::Response::from_payload(body, self.message_size).await?,
        };
        Ok((response.metadata, answer))
    }

    fn outgoing<M: Method>(&self, metadata: MetadataMap, request: M::Request) -> Result<Request> {
        let asked = metadata.as_ref().get(metadata::GRPC_TIMEOUT).and_then(timeout::parse);
        let fresh = || metadata::request_id(metadata.as_ref());
        let (request_id, inherited, criticality, repeated_outside, attempts) =
            CallContext::with_current(|context| match context {
                Some(context) => (
                    context.request_id().clone(),
                    context.deadline(),
                    context.criticality(),
                    context.is_repeated_outside(),
                    context.attempts().cloned(),
                ),
                None => (fresh(), None, Criticality::Default, false, None),
            });
        let criticality = Criticality::said(metadata.as_ref()).unwrap_or(criticality);
        let mut metadata = metadata::of_user(metadata.into_headers());
        criticality.say(metadata.as_mut());
        metadata::check_size(&metadata)?;
        let policy = self.shared.policies.of(M::PATH).clone();
        let own = asked.map_or(policy.deadline, |asked| asked.min(policy.deadline));
        // A stream may last for hours: it is bounded where its caller says so, or has a deadline of its own.
        let is_stream = M::Request::STREAMING || M::Response::STREAMING;
        let own = if is_stream { asked.and_then(deadline::after) } else { deadline::after(own) };
        // What is due within the client's deadline even so: the beginning of an answer to a request that is sent
        // whole at once.
        let starts = !M::Request::STREAMING;
        Ok(Request {
            path: M::PATH,
            streaming: M::Response::STREAMING,
            request_id,
            deadline: own.into_iter().chain(inherited).min(),
            starts_by: if is_stream && starts { deadline::after(policy.deadline) } else { None },
            wait_for_ready: policy.wait_for_ready,
            policy,
            idempotent: M::IDEMPOTENCY != Idempotency::Unknown,
            repeated_outside,
            attempt: 0,
            trail: Trail::counting(attempts),
            metadata,
            body: request.into_payload(),
        })
    }
}

impl fmt::Debug for Client {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Client").field("policies", &self.shared.policies).finish_non_exhaustive()
    }
}

/// The policies, outermost first. Each stands where it does for a reason.
fn layers<C>(carrier: C, shared: &Shared) -> Channel
where
    C: Service<Request, Response = Response, Error = Status> + Clone + Send + Sync + 'static,
    C::Future: Send + 'static,
{
    let stack = ServiceBuilder::new()
        // Outermost, because it tells of every call that failed, also of those that ran into their deadline.
        .layer(RecordLayer)
        // Outside of all that a call may wait for: of its attempts and of the waits between them, too.
        .layer(DeadlineLayer)
        // Outside of the attempts: a call that waits to be repeated is still in flight, and one that is refused here was
        // never at the callee, so that it costs none of the budget.
        .layer(InFlightLayer(shared.limit.clone()))
        // Inside of the limit, so that it judges calls that went out and no others. Outside of the attempts: a service works
        // whose second attempt does, one that is refused here is not worth waiting to be repeated and costs none of the
        // budget, and what is hedged or repeated counts once.
        .layer(BreakerLayer(shared.breaker.clone()))
        // Innermost, so that each attempt is picked an endpoint of its own: what is below is the carrier's, as balancing,
        // outliers and the one transparent retry of a call that was refused unread.
        .layer(AttemptsLayer::new(shared.policies.budget))
        .service(carrier);
    Channel::new(stack)
}

/// The client of one service, generated from its contract.
pub trait ServiceClient: Clone + Send + Sync + 'static {
    /// The name of the service.
    const NAME: &'static str;

    /// Types a client.
    fn new(client: Client) -> Self;
}

/// The clients of the services that an actor calls: none, one, or a tuple of up to four.
pub trait Clients: Clone + Send + Sync + 'static {
    /// The names of the services.
    const NAMES: &'static [&'static str];

    /// Makes the clients; `client` gives the one for a name.
    fn connect(client: &dyn Fn(&'static str) -> Client) -> Self;
}

impl Clients for () {
    const NAMES: &'static [&'static str] = &[];

    fn connect(_: &dyn Fn(&'static str) -> Client) -> Self {}
}

impl<P: ServiceClient> Clients for P {
    const NAMES: &'static [&'static str] = &[P::NAME];

    fn connect(client: &dyn Fn(&'static str) -> Client) -> Self {
        P::new(client(P::NAME))
    }
}

impl<P: ServiceClient, Q: ServiceClient> Clients for (P, Q) {
    const NAMES: &'static [&'static str] = &[P::NAME, Q::NAME];

    fn connect(client: &dyn Fn(&'static str) -> Client) -> Self {
        (P::new(client(P::NAME)), Q::new(client(Q::NAME)))
    }
}

impl<P: ServiceClient, Q: ServiceClient, R: ServiceClient> Clients for (P, Q, R) {
    const NAMES: &'static [&'static str] = &[P::NAME, Q::NAME, R::NAME];

    fn connect(client: &dyn Fn(&'static str) -> Client) -> Self {
        (P::new(client(P::NAME)), Q::new(client(Q::NAME)), R::new(client(R::NAME)))
    }
}

impl<P: ServiceClient, Q: ServiceClient, R: ServiceClient, S: ServiceClient> Clients for (P, Q, R, S) {
    const NAMES: &'static [&'static str] = &[P::NAME, Q::NAME, R::NAME, S::NAME];

    fn connect(client: &dyn Fn(&'static str) -> Client) -> Self {
        let fourth = S::new(client(S::NAME));
        (P::new(client(P::NAME)), Q::new(client(Q::NAME)), R::new(client(R::NAME)), fourth)
    }
}
