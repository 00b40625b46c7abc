//! Small scenarios of which each is wrong, or right, in one way.

use std::future::pending;
use std::path::PathBuf;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::Duration;

use sim::{
    Address, CallRecord, Event, HostContext, HostResult, Invariant, Load, Questions, Reply, Request, Runner,
    Scenario, Swarm, matching,
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
        "astray" => scenario.host("server", listens).mistake("service1 refuses its flags"),
        "forgetless" => scenario.host("server", counts),
        "vacuous" => scenario.host("server", listens).invariant(|| DrainsLoseNothing),
        "misspelt" => scenario.host("server", settles).invariant(|| OrdersAreSettled::by("ordr", "settled")),
        "misspelt-words" => {
            scenario.host("server", settles).invariant(|| OrdersAreSettled::by("order", "setled"))
        }
        "misspelt-beside" => scenario.host("server", settles).invariant(|| SettledOrdersAreRight::by("ordr")),
        "rare" => scenario.host("server", settles).invariant(|| SettledOrdersAreRight::by("refused")),
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

/// No seed says how often it was started.
async fn counts(host: HostContext) -> HostResult {
    static STARTS: AtomicU32 = AtomicU32::new(0);
    tracing::info!(start = STARTS.fetch_add(1, Ordering::Relaxed), "started");
    listens(host).await
}

async fn settles(host: HostContext) -> HostResult {
    let listener = host.listen(7).await?;
    loop {
        drop(listener.accept().await?);
        tracing::info!(order = "one", refused = None::<&str>, "settled");
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

/// A promise that asks events for a field and for words.
#[derive(Debug)]
struct OrdersAreSettled {
    field: &'static str,
    words: &'static str,
    asked: Questions,
}

impl OrdersAreSettled {
    fn by(field: &'static str, words: &'static str) -> Self {
        Self { field, words, asked: Questions::default() }
    }
}

impl Invariant for OrdersAreSettled {
    fn name(&self) -> &str {
        "orders are settled"
    }

    fn event(&mut self, event: &Event) -> Result<(), String> {
        let Self { field, words, asked } = self;
        asked.note(|| event.text(field).is_some() && event.says(words));
        Ok(())
    }

    fn met(&self) -> u64 {
        self.asked.answered()
    }

    fn asked(&self) -> Option<&Questions> {
        Some(&self.asked)
    }
}

/// A promise that asks lines whose words it knows for a field.
#[derive(Debug)]
struct SettledOrdersAreRight(OrdersAreSettled);

impl SettledOrdersAreRight {
    fn by(field: &'static str) -> Self {
        Self(OrdersAreSettled::by(field, "settled"))
    }
}

impl Invariant for SettledOrdersAreRight {
    fn name(&self) -> &str {
        "settled orders are right"
    }

    fn event(&mut self, event: &Event) -> Result<(), String> {
        let OrdersAreSettled { field, words, asked } = &mut self.0;
        asked.note(|| event.says(words) && event.text(field).is_some());
        Ok(())
    }

    fn met(&self) -> u64 {
        self.0.met()
    }

    fn asked(&self) -> Option<&Questions> {
        self.0.asked()
    }
}
