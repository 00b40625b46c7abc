//! Writes names in capitals.

use actix::{Actor, Context, Handler};
use protos::app::grpc::ProcessNameResponse;
use protos::app::grpc::service1::{ProcessName, Service1};
use tracing::info;
use transport::{Call, Reply, Serve};

/// `service1`.
#[derive(Debug)]
pub struct NameService;

impl Serve for NameService {
    type Contract = Service1;
}

impl Actor for NameService {
    type Context = Context<Self>;
}

impl Handler<Call<ProcessName>> for NameService {
    type Result = Reply<ProcessName>;

    fn handle(&mut self, call: Call<ProcessName>, _: &mut Context<Self>) -> Self::Result {
        call.answer(async |request| {
            let name = request.name.to_uppercase();
            info!(%name, "name processed");
            Ok(ProcessNameResponse { name })
        })
    }
}
