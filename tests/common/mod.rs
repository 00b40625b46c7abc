//! A service that does what it is told, and a world in which any carrier leads to it.

#![allow(dead_code, reason = "each file of tests uses its part")]

pub(crate) mod callee;
pub(crate) mod carrier;
pub(crate) mod counter;
pub(crate) mod http1;
pub(crate) mod log;
pub(crate) mod machine;
pub(crate) mod request;
mod simulated;
pub(crate) mod watched;
pub(crate) mod ways;

use std::sync::Arc;
use std::time::Duration;

use actix::{Actor, ActorFutureExt as _, AsyncContext as _, Context, Handler};
use futures_util::{StreamExt as _, stream};
use node::Listen;
use node::machine::Listener as _;
use probe_contract::probe::{self, Act, Count, Mirror, Probe, Sum};
use probe_contract::{ActRequest, ActResponse, CountResponse, Deed, SumResponse};
use tokio::sync::{Notify, mpsc};
use transport::grpc::{Grpc, Keepalive, Server};
use transport::memory::Memory;
use transport::net::Sockets;
use transport::policy::Policies;
use transport::router::RouterBuilder;
use transport::{
    Address, Call, CallContext, CallerAddress, Client, Drain, Limits, Net, Reply, Result, Router, Serve,
    Service, ServiceClient as _, Status, Streaming,
};

/// The longest that a test waits for what must happen.
pub(crate) const SOON: Duration = Duration::from_secs(5);

/// The limits in force in every world: small, so that they are easily met.
pub(crate) const LIMITS: Limits = Limits { message_size: 64 * 1024, calls: 4, streams: 4 };

/// What the probe tells of its handlers.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Event {
    /// A handler that will hang has begun, or the actor is occupied.
    Started,
    /// The future of a handler that hung was dropped.
    Dropped,
}

/// What the probe is made of: a client of itself, an ear, and word that an actor that is occupied is free again.
#[derive(Clone)]
pub(crate) struct ProbeParts {
    probe: probe::Client,
    events: mpsc::UnboundedSender<Event>,
    free: Arc<Notify>,
}

pub(crate) struct ProbeActor(ProbeParts);

impl Actor for ProbeActor {
    type Context = Context<Self>;
}

impl Serve for ProbeActor {
    type Contract = Probe;
}

/// Tells when it is dropped.
struct Witness(mpsc::UnboundedSender<Event>);

impl Drop for Witness {
    fn drop(&mut self) {
        self.0.send(Event::Dropped).ok();
    }
}

impl ProbeParts {
    async fn hang<T>(&self) -> T {
        let _witness = Witness(self.events.clone());
        self.events.send(Event::Started).ok();
        std::future::pending().await
    }
}

impl Handler<Call<Act>> for ProbeActor {
    type Result = Reply<Act>;

    fn handle(&mut self, call: Call<Act>, actor: &mut Context<Self>) -> Self::Result {
        let parts = self.0.clone();
        match call.request.deed() {
            Deed::Die => sim::planned_panic(),
            Deed::Occupy => {
                let free = parts.free.clone();
                let busy = async move { free.notified().await };
                actor.wait(actix::fut::wrap_future::<_, Self>(busy).map(|(), _, _| ()));
                parts.events.send(Event::Started).ok();
            }
            _ => {}
        }
        call.answer(async move |request| act(request, &parts).await)
    }
}

async fn act(request: ActRequest, parts: &ProbeParts) -> Result<ActResponse> {
    let context = CallContext::current().ok_or_else(|| Status::internal("no context"))?;
    let left_ms = context.remaining().map_or(-1, |left| left.as_millis() as i64);
    match request.deed() {
        Deed::Fail => Err(failure()),
        Deed::Hang => parts.hang().await,
        Deed::Panic => sim::planned_panic(),
        Deed::Metadata => {
            let text = context.metadata().get("x-probe").cloned();
            let bytes = context.metadata().get_bin("x-probe-bin").cloned();
            context.answer_metadata(|metadata| {
                text.into_iter().for_each(|text| drop(metadata.insert("x-probe", text)));
                bytes.into_iter().for_each(|bytes| drop(metadata.insert_bin("x-probe-bin", bytes)));
            });
            let mut names: Vec<_> = context.metadata().as_ref().keys().map(ToString::to_string).collect();
            names.sort();
            Ok(ActResponse { text: names.join(" "), ..Default::default() })
        }
        Deed::Report => {
            Ok(ActResponse { text: context.request_id().to_string(), left_ms, ..Default::default() })
        }
        Deed::Relay => {
            let ask = ActRequest { deed: Deed::Report.into(), ..Default::default() };
            let answer = parts.probe.act(ask).await?;
            let text = format!("{} {}", context.request_id(), answer.text);
            Ok(ActResponse { text, left_ms: answer.left_ms, ..Default::default() })
        }
        Deed::Answer | Deed::Occupy | Deed::Die => {
            let text = if request.loud { request.text.to_uppercase() } else { request.text };
            Ok(ActResponse { text, left_ms: 0, numbers: request.numbers })
        }
    }
}

/// What a probe fails with.
pub(crate) fn failure() -> Status {
    let mut metadata = tonic::metadata::MetadataMap::new();
    metadata.insert("x-reason", "told so".parse().expect("a value"));
    Status::with_details_and_metadata(
        transport::Code::InvalidArgument,
        "wrong, \u{fc}ber and 100%\n",
        bytes::Bytes::from_static(b"\x08\x03details"),
        metadata,
    )
}

impl Handler<Call<Count>> for ProbeActor {
    type Result = Reply<Count>;

    fn handle(&mut self, call: Call<Count>, _: &mut Context<Self>) -> Self::Result {
        let parts = self.0.clone();
        call.answer(async move |request| {
            let numbers = stream::iter(1..=request.messages).map(|number| Ok(CountResponse { number }));
            let then = stream::once(async move {
                match request.then() {
                    Deed::Fail => Some(Err(failure())),
                    Deed::Panic => sim::planned_panic(),
                    Deed::Hang => parts.hang().await,
                    _ => None,
                }
            });
            Ok(Streaming::new(numbers.chain(then.filter_map(std::future::ready))))
        })
    }
}

impl Handler<Call<Sum>> for ProbeActor {
    type Result = Reply<Sum>;

    fn handle(&mut self, call: Call<Sum>, _: &mut Context<Self>) -> Self::Result {
        call.answer(async move |mut numbers| {
            let mut sum = 0;
            while let Some(next) = numbers.next().await {
                sum += u64::from(next?.number);
            }
            Ok(SumResponse { sum })
        })
    }
}

impl Handler<Call<Mirror>> for ProbeActor {
    type Result = Reply<Mirror>;

    fn handle(&mut self, call: Call<Mirror>, _: &mut Context<Self>) -> Self::Result {
        let witness = Witness(self.0.events.clone());
        call.answer(async move |numbers| {
            Ok(Streaming::new(numbers.map(move |next| {
                let _kept = &witness;
                next.map(|next| CountResponse { number: next.number })
            })))
        })
    }
}

/// One probe, and a client that reaches it over one carrier.
pub(crate) struct World {
    pub(crate) probe: probe::Client,
    pub(crate) events: mpsc::UnboundedReceiver<Event>,
    /// Frees the actor when it is occupied.
    pub(crate) free: Arc<Notify>,
    /// Holds the actors, where they are in the same world.
    _router: Option<Router>,
    /// Kept for as long as its Unix socket is needed.
    _folder: Option<tempfile::TempDir>,
}

impl World {
    /// The untyped client.
    pub(crate) fn client(&self) -> &Client {
        self.probe.inner()
    }

    /// What the probe tells next.
    pub(crate) async fn event(&mut self) -> Event {
        let event = tokio::time::timeout(SOON, self.events.recv()).await;
        event.expect("an event comes soon").expect("the probe lives")
    }
}

/// Runs `claim` in a world for each carrier.
pub(crate) fn on_every_carrier(claim: impl AsyncFn(&mut World) + Copy + Send + Sync + 'static) {
    for carrier in ["memory", "tcp", "unix"] {
        println!("over {carrier}:");
        run(async {
            let mut world = world(carrier).await;
            claim(&mut world).await;
        });
    }
    for seed in 0..3 {
        println!("over the simulated network of seed {seed}:");
        simulated::run(seed, claim);
    }
}

/// Runs a test on a worker-like thread: one runtime, local tasks.
pub(crate) fn run<T>(test: impl Future<Output = T>) -> T {
    run_on(tokio::runtime::Builder::new_current_thread().enable_all(), test)
}

/// The same in a time of its own, which passes at once when there is nothing to do but to wait for it. What is
/// tested must not wait for anything else, such as a socket.
pub(crate) fn run_in_no_time<T>(test: impl Future<Output = T>) -> T {
    run_on(tokio::runtime::Builder::new_current_thread().enable_all().start_paused(true), test)
}

fn run_on<T>(runtime: &mut tokio::runtime::Builder, test: impl Future<Output = T>) -> T {
    let runtime = runtime.build().expect("a runtime can be built");
    tokio::task::LocalSet::new().block_on(&runtime, test)
}

/// The probe as a service; `probe` is its client of itself.
pub(crate) fn service(probe: &probe::Client) -> (Service, mpsc::UnboundedReceiver<Event>, Arc<Notify>) {
    let (tell, events) = mpsc::unbounded_channel();
    let free = Arc::new(Notify::new());
    let parts = ProbeParts { probe: probe.clone(), events: tell, free: free.clone() };
    (Service::on_each_worker(move |()| ProbeActor(parts.clone())), events, free)
}

/// A router that hosts a probe; `probe` is its client of itself.
pub(crate) fn host(probe: &probe::Client) -> (Router, mpsc::UnboundedReceiver<Event>, Arc<Notify>) {
    host_of(probe, Router::builder(LIMITS, Drain::new()))
}

/// The same, with bounds and an interceptor that the test chooses.
pub(crate) fn host_of(
    probe: &probe::Client,
    mut router: RouterBuilder,
) -> (Router, mpsc::UnboundedReceiver<Event>, Arc<Notify>) {
    let (service, events, free) = service(probe);
    router.add(&service, &|name| {
        unreachable!("the probe calls no {name}: its client of itself is given to it")
    });
    (router.build(), events, free)
}

async fn world(carrier: &'static str) -> World {
    if carrier == "memory" {
        let memory = Memory::new();
        let probe = probe::Client::new(Client::new(memory.clone(), SOON, LIMITS));
        let (router, events, free) = host(&probe);
        memory.lead_to(&router);
        return World { probe, events, free, _router: Some(router), _folder: None };
    }
    let folder = (carrier == "unix").then(|| tempfile::tempdir().expect("a folder can be made"));
    let at = |folder: &tempfile::TempDir| format!("unix:{}", folder.path().join("probe").display());
    let socket = machine::socket(&folder.as_ref().map_or_else(|| "127.0.0.1:0".to_owned(), at)).await;
    let probe = probe::Client::new(grpc_client(&uri(&socket.address())));
    let (service, events, free) = service(&probe);
    tokio::task::spawn_local(machine::serve(socket, service, std::future::pending()));
    World { probe, events, free, _router: None, _folder: folder }
}

/// Where callers find what listens.
fn uri(listen: &Listen) -> String {
    match listen {
        Listen::Unix(path) => format!("unix:{}", path.display()),
        tcp => format!("http://{tcp}"),
    }
}

/// A client that reaches `router` by gRPC, over connections in memory.
pub(crate) fn grpc_over_memory(router: Router) -> Client {
    let address: Address = "http://10.0.0.1:50051".parse().expect("a valid address");
    let (door, mut guests) = mpsc::unbounded_channel();
    let server = Server::new(router, SOON, Keepalive::default());
    tokio::task::spawn_local(async move {
        while let Some(guest) = guests.recv().await {
            let server = server.clone();
            tokio::task::spawn_local(async move {
                server.serve_connection(Box::new(guest), CallerAddress::Memory, Drain::new().work()).await;
            });
        }
    });
    let net: Arc<dyn Net> = Arc::new(ways::Ways(vec![(address.clone(), door)]));
    client_over(&net, &[address], Keepalive::default())
}

/// A client over real sockets.
pub(crate) fn grpc_client(address: &str) -> Client {
    client_of(&[address.to_owned()], Keepalive::default())
}

/// A client of a service with several addresses.
pub(crate) fn client_of(addresses: &[String], keepalive: Keepalive) -> Client {
    let addresses: Vec<Address> =
        addresses.iter().map(|address| address.parse().expect("a valid address")).collect();
    client_over(&(Arc::new(Sockets::default()) as Arc<dyn Net>), &addresses, keepalive)
}

/// A client of a service with several addresses, whose calls go by `policies`.
pub(crate) fn client_with(addresses: &[&str], policies: Policies) -> Client {
    let addresses: Vec<Address> =
        addresses.iter().map(|address| address.parse().expect("a valid address")).collect();
    let net = Arc::new(Sockets::default()) as Arc<dyn Net>;
    let carrier = Grpc::new("probe", &addresses, &net, Keepalive::default(), LIMITS.message_size);
    Client::with_policies("probe", carrier, policies, LIMITS)
}

fn client_over(net: &Arc<dyn Net>, addresses: &[Address], keepalive: Keepalive) -> Client {
    let carrier = Grpc::new("probe", addresses, net, keepalive, LIMITS.message_size);
    Client::new(carrier, SOON, LIMITS)
}

/// A node with a probe behind a TCP port. Dropped, it is gone as a process is that was killed: the port is closed,
/// connections are broken.
pub(crate) struct TestServer {
    pub(crate) address: std::net::SocketAddr,
    pub(crate) events: mpsc::UnboundedReceiver<Event>,
    stop: Arc<Notify>,
    node: tokio::task::JoinHandle<()>,
}

impl TestServer {
    /// Starts one at `address`; port 0 takes a free one.
    pub(crate) async fn start(address: &str) -> Self {
        let socket = machine::socket(address).await;
        let Listen::Tcp(address) = socket.address() else { unreachable!("it is a TCP address") };
        let (service, events, _) = service(&probe::Client::new(grpc_client(&format!("http://{address}"))));
        let stop = Arc::new(Notify::new());
        let told = stop.clone();
        let told = async move { told.notified().await };
        let node = tokio::task::spawn_local(machine::serve(socket, service, told));
        Self { address, events, stop, node }
    }

    pub(crate) fn uri(&self) -> String {
        format!("http://{}", self.address)
    }

    /// Tells it to drain.
    pub(crate) fn drain(&self) {
        self.stop.notify_one();
    }

    /// Whether it has drained.
    pub(crate) fn has_ended(&self) -> bool {
        self.node.is_finished()
    }

    /// Waits until it has drained.
    pub(crate) async fn ended(&mut self) {
        (&mut self.node).await.expect("a node does not panic");
    }
}

impl Drop for TestServer {
    fn drop(&mut self) {
        self.node.abort();
    }
}
