//! The health of services, as gRPC's own protocol asks for it (`grpc.health.v1`, gRFC A17 and
//! <https://github.com/grpc/grpc/blob/master/doc/health-checking.md>): a service like any other, on each worker.
//!
//! Every service of a node, and the node as a whole under the empty name, is serving until a drain is announced. Whoever
//! watches has the time between that and the drain's start to go elsewhere.

use std::collections::BTreeSet;
use std::sync::Arc;

use actix::{Actor, Context, Handler};
use futures_util::stream::{self, StreamExt as _};

use crate::call::{Call, Reply};
use crate::contract::{Contract, Idempotency, Method, Rpc};
use crate::drain::Drain;
use crate::service::{Bind, Binding, Serve, Service};
use crate::status::Status;
use crate::streaming::Streaming;

/// Which service is asked about; the empty name stands for all of them.
#[derive(Clone, PartialEq, Eq, prost::Message)]
pub struct HealthCheckRequest {
    /// The full name of the service, `package.Service`.
    #[prost(string, tag = "1")]
    pub service: String,
}

/// How a service is.
#[derive(Clone, Copy, PartialEq, Eq, prost::Message)]
pub struct HealthCheckResponse {
    /// A [`ServingStatus`].
    #[prost(enumeration = "ServingStatus", tag = "1")]
    pub status: i32,
}

/// Whether a service takes calls.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, prost::Enumeration)]
#[repr(i32)]
pub enum ServingStatus {
    /// Nobody says.
    Unknown = 0,
    /// It does.
    Serving = 1,
    /// It does not, or not any more.
    NotServing = 2,
    /// There is none of this name. Only [`Watch`] answers so.
    ServiceUnknown = 3,
}

impl ServingStatus {
    /// Its name in the contract.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::Unknown => "UNKNOWN",
            Self::Serving => "SERVING",
            Self::NotServing => "NOT_SERVING",
            Self::ServiceUnknown => "SERVICE_UNKNOWN",
        }
    }
}

/// The contract `grpc.health.v1.Health`.
#[derive(Debug, Clone, Copy)]
pub struct Health;

/// The rpc `/grpc.health.v1.Health/Check`: how a service is. `NOT_FOUND` if there is none of this name.
#[derive(Debug, Clone, Copy)]
pub struct Check;

/// The rpc `/grpc.health.v1.Health/Watch`: how a service is, and again when that has changed: when a drain is announced.
/// When that has started, it ends, so that it holds up none.
#[derive(Debug, Clone, Copy)]
pub struct Watch;

impl Contract for Health {
    const NAME: &'static str = "health";
    const METHODS: &'static [Rpc] = &[
        Rpc { path: Check::PATH, idempotency: Check::IDEMPOTENCY, fields: &[] },
        Rpc { path: Watch::PATH, idempotency: Watch::IDEMPOTENCY, fields: &[] },
    ];
}

impl Method for Check {
    type Request = HealthCheckRequest;
    type Response = HealthCheckResponse;
    type Contract = Health;
    const PATH: &'static str = "/grpc.health.v1.Health/Check";
    const IDEMPOTENCY: Idempotency = Idempotency::NoSideEffects;
}

impl Method for Watch {
    type Request = HealthCheckRequest;
    type Response = Streaming<HealthCheckResponse>;
    type Contract = Health;
    const PATH: &'static str = "/grpc.health.v1.Health/Watch";
    const IDEMPOTENCY: Idempotency = Idempotency::NoSideEffects;
}

impl<A> Bind<A> for Health
where
    A: Serve + Handler<Call<Check>> + Handler<Call<Watch>>,
{
    fn bind(binding: &mut Binding<'_, A>) {
        binding.method::<Check>();
        binding.method::<Watch>();
    }
}

/// The service, which tells how those of these full names are until `drain` is announced.
pub(crate) fn service(names: BTreeSet<String>, drain: Drain) -> Service {
    let names = Arc::new(names);
    Service::on_each_worker(move |()| HealthActor { names: names.clone(), drain: drain.clone() })
}

/// The full name of the service of an rpc, by the path of that.
#[must_use]
pub fn full_name(path: &str) -> &str {
    path.split('/').nth(1).unwrap_or_default()
}

struct HealthActor {
    names: Arc<BTreeSet<String>>,
    drain: Drain,
}

impl HealthActor {
    fn knows(&self, service: &str) -> bool {
        service.is_empty() || self.names.contains(service)
    }

    fn is(status: ServingStatus) -> HealthCheckResponse {
        HealthCheckResponse { status: status.into() }
    }
}

impl Actor for HealthActor {
    type Context = Context<Self>;
}

impl Serve for HealthActor {
    type Contract = Health;
}

impl Handler<Call<Check>> for HealthActor {
    type Result = Reply<Check>;

    fn handle(&mut self, call: Call<Check>, _: &mut Context<Self>) -> Self::Result {
        call.answer_now(|HealthCheckRequest { service }| match self.drain.is_announced() {
            _ if !self.knows(&service) => Err(Status::not_found("there is no service of this name here")),
            true => Ok(Self::is(ServingStatus::NotServing)),
            false => Ok(Self::is(ServingStatus::Serving)),
        })
    }
}

impl Handler<Call<Watch>> for HealthActor {
    type Result = Reply<Watch>;

    fn handle(&mut self, call: Call<Watch>, _: &mut Context<Self>) -> Self::Result {
        let (drain, known) = (self.drain.clone(), self.knows(&call.request.service));
        call.answer_now(|_| {
            let now = match drain.is_announced() {
                _ if !known => ServingStatus::ServiceUnknown,
                true => ServingStatus::NotServing,
                false => ServingStatus::Serving,
            };
            let news = async move {
                drain.announced().await;
                // What is not here does not come, and nothing is to be said of it when the node goes.
                let news = (now == ServingStatus::Serving).then_some(ServingStatus::NotServing);
                (news, drain)
            };
            let news = stream::once(news).flat_map(|(news, drain)| {
                let end = async move { drain.started().await };
                stream::iter(news).chain(stream::once(end).filter_map(async |()| None))
            });
            Ok(Streaming::new(stream::iter([now]).chain(news).map(|status| Ok(Self::is(status)))))
        })
    }
}
