//! Greets people, in capitals.

use actix::{Actor, Context, Handler};
use protos::app::grpc::service1;
use protos::app::grpc::service2::{SayHello, Service2};
use protos::app::grpc::{ProcessNameRequest, SayHelloResponse};
use tracing::info;
use transport::{Call, Reply, Serve};

/// `service2`: asks `service1` for the name.
#[derive(Debug)]
pub struct GreetingService {
    names: service1::Client,
}

impl Serve for GreetingService {
    type Contract = Service2;
}

impl GreetingService {
    /// One that asks `names`.
    #[must_use]
    pub fn new(names: service1::Client) -> Self {
        Self { names }
    }
}

impl Actor for GreetingService {
    type Context = Context<Self>;
}

impl Handler<Call<SayHello>> for GreetingService {
    type Result = Reply<SayHello>;

    fn handle(&mut self, call: Call<SayHello>, _: &mut Context<Self>) -> Self::Result {
        let names = self.names.clone();
        call.answer(async move |request| {
            let name = names.process_name(ProcessNameRequest { name: request.name }).await?.name;
            info!(%name, "greeting");
            Ok(SayHelloResponse { hello: format!("Hello, {name}!") })
        })
    }
}
