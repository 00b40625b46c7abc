//! A call in memory, with all that a call has, beside actix's own way of sending a message to an actor.

use std::time::Duration;

use actix::{Actor, Context, Handler, Message, MessageResult};
use protos::app::grpc::ProcessNameRequest;
use protos::app::grpc::service1::Client;
use transport::memory::Memory;
use transport::{Client as Calls, Drain, Limits, Router, Service, ServiceClient as _};

use crate::options::Options;
use crate::program::now;
use crate::progress::Progress;
use crate::samples::sorted;

const CALLS: u32 = 200_000;
const DEADLINE: Duration = Duration::from_secs(10);
const LIMITS: Limits = Limits { message_size: 4 << 20, calls: 1024, streams: 1024 };

#[derive(Debug)]
pub(crate) struct Memories {
    /// Nanoseconds of a call, and of a message; one of each for each round, in rising order.
    pub(crate) call_ns: Vec<f64>,
    pub(crate) message_ns: Vec<f64>,
}

/// Both in turns, one after the other, on one thread.
pub(crate) fn measure(options: &Options, progress: &mut Progress) -> Memories {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().expect("a runtime");
    tokio::task::LocalSet::new().block_on(&runtime, async {
        let ((client, _router), bare) = (client(), Bare.start());
        let (mut call_ns, mut message_ns) = (Vec::new(), Vec::new());
        for round in 1..=options.rounds() {
            progress.say(&format!("calls in memory: round {round} of {}", options.rounds()));
            call_ns.push(
                time(async || name_of(client.process_name(request()).await.map(|answer| answer.name))).await,
            );
            message_ns.push(time(async || name_of(bare.send(Name(request().name)).await)).await);
        }
        Memories { call_ns: sorted(call_ns.into_iter()), message_ns: sorted(message_ns.into_iter()) }
    })
}

async fn time(call: impl AsyncFn()) -> f64 {
    let start = now();
    for _ in 0..CALLS {
        call().await;
    }
    start.elapsed().as_nanos() as f64 / f64::from(CALLS)
}

fn request() -> ProcessNameRequest {
    ProcessNameRequest { name: "test".to_owned() }
}

fn name_of<E: std::fmt::Debug>(answer: Result<String, E>) {
    assert_eq!(answer.expect("an answer"), "TEST");
}

/// A client, and the router that must live as long.
fn client() -> (Client, Router) {
    let memory = Memory::new();
    let mut router = Router::builder(LIMITS, Drain::new());
    let calls = |_| Calls::new(memory.clone(), DEADLINE, LIMITS);
    router.add(&Service::on_each_worker(|()| actors::NameService), &calls);
    let router = router.build();
    memory.lead_to(&router);
    (Client::new(calls("")), router)
}

/// The same work, in an actor that knows nothing of calls.
struct Bare;

impl Actor for Bare {
    type Context = Context<Self>;
}

struct Name(String);

impl Message for Name {
    type Result = String;
}

impl Handler<Name> for Bare {
    type Result = MessageResult<Name>;

    fn handle(&mut self, Name(name): Name, _: &mut Context<Self>) -> Self::Result {
        MessageResult(name.to_uppercase())
    }
}
