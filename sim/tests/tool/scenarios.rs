//! Small scenarios of which each is wrong, or right, in one way.

use std::future::pending;
use std::path::PathBuf;
use std::time::Duration;

use sim::{
    Address, CallRecord, HostContext, HostResult, Invariant, Load, Reply, Request, Runner, Scenario, Swarm,
    matching,
};

/// The program of a user whose plans and patches are where they stand.
#[expect(clippy::disallowed_methods, reason = "a test or bench drives programs from outside")]
pub(crate) fn runner(names: &str) -> Runner {
    let folder = PathBuf::from(std::env::var_os("PWD").expect("the tests set it"));
    Runner::new(env!("CARGO_MANIFEST_DIR"))
        .graveyard(folder.join("tests/graveyard"))
        .planted(folder.join("tests/planted"))
        .scenarios(names.split(',').map(scenario))
}

fn scenario(name: &str) -> Scenario {
    let second = Duration::from_secs(1);
    let load = Load::new(3..=3, second, second..=second).kind("caller", "ask", matching("[a-z]"));
    let scenario = Scenario::new(name, "what its name says", load, Swarm::calm())
        .client("caller", |host| move |_: Request| ask(host.clone()));
    match name {
        "deaf" | "deaf-too" => scenario.host("server", |_| pending()),
        "vacuous" => scenario.host("server", listens).invariant(|| DrainsLoseNothing),
        "broken" => scenario
            .host("server", listens)
            .every_call("every call fails", |_: &CallRecord| Err("it worked".to_owned())),
        _ => scenario.host("server", listens).every_call("every call ends", |_: &CallRecord| Ok(())),
    }
}

async fn listens(host: HostContext) -> HostResult {
    let listener = host.listen(7).await?;
    loop {
        drop(listener.accept().await?);
    }
}

async fn ask(host: HostContext) -> Reply {
    match host.net().connect(&Address::Tcp { host: "server".to_owned(), port: 7 }).await {
        Ok(_) => Reply::ok("connected"),
        Err(error) => Reply::failed("IO", error.to_string()),
    }
}

/// A promise about what never happens here.
#[derive(Debug)]
struct DrainsLoseNothing;

impl Invariant for DrainsLoseNothing {
    fn name(&self) -> &str {
        "drains lose nothing"
    }

    fn met(&self) -> u64 {
        0
    }
}
