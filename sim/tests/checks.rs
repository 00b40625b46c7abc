//! Checks are told values in their types, and say how often they had something to judge.

use std::cell::RefCell;
use std::fmt;
use std::time::Duration;

use sim::{
    Address, Event, Fact, HostContext, HostResult, Invariant, Keep, Load, LogsKnowTheirCaller, Rehearsal,
    Reply, Request, Scenario, Swarm, Value, What, matching, rehearse_seed,
};
use tokio::io::{AsyncReadExt, AsyncWriteExt};

thread_local! {
    /// The call that the host handles, as a program may know it.
    static HANDLED: RefCell<Option<String>> = const { RefCell::new(None) };
}

/// A sale that the shop tells.
#[derive(Debug)]
struct Sold {
    apples: u32,
}

impl fmt::Display for Sold {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} apples sold", self.apples)
    }
}

impl Fact for Sold {}

/// Sells as many apples as it is asked for, tells of it, and logs it.
async fn shop(host: HostContext) -> HostResult {
    let listener = host.listen(1).await?;
    let loses_ids = host.planted() == Some("loses-ids");
    loop {
        let (mut io, _) = listener.accept().await?;
        let id = format!("sim-{:06}", io.read_u32().await?);
        let apples = io.read_u32().await?;
        sim::tell(Sold { apples }, Some(&id));
        HANDLED.set(Some(if loses_ids { String::new() } else { id }));
        tracing::info!(apples, change = -3, price = 0.5, is_ripe = true, kind = "red", "sold");
        HANDLED.set(None);
        tracing::info!("waits for the next customer");
        io.write_u32(apples).await?;
    }
}

async fn buy(host: HostContext, request: Request) -> std::io::Result<Reply> {
    let mut io = host.net().connect(&Address::Tcp { host: "shop".to_owned(), port: 1 }).await?;
    io.write_u32(request.id).await?;
    io.write_u32(request.argument.parse().expect("the load draws numbers")).await?;
    Ok(Reply::ok(io.read_u32().await?.to_string()))
}

/// No sale is of more than so many apples.
#[derive(Debug)]
struct NoMoreThan {
    most: u32,
    met: u64,
}

impl Invariant for NoMoreThan {
    fn name(&self) -> &str {
        "no sale is too large"
    }

    fn event(&mut self, event: &Event) -> Result<(), String> {
        let Some(sold) = event.told::<Sold>() else { return Ok(()) };
        self.met += 1;
        if sold.apples <= self.most { Ok(()) } else { Err(format!("{sold} at once")) }
    }

    fn met(&self) -> u64 {
        self.met
    }
}

fn rehearse(most: u32, planted: Option<&str>) -> Rehearsal {
    let second = Duration::from_secs(1);
    let load = Load::new(3..=3, second, second..=second).kind("customer", "buy", matching("[1-5]"));
    let scenario = Scenario::new("shop", "apples are sold", load, Swarm::calm())
        .host("shop", shop)
        .client("customer", |host| {
            move |request| {
                let host = host.clone();
                async move {
                    buy(host, request).await.unwrap_or_else(|error| Reply::failed("IO", error.to_string()))
                }
            }
        })
        .request_id_of_line(|| HANDLED.with_borrow(Clone::clone))
        .invariant(move || NoMoreThan { most, met: 0 })
        .invariant(LogsKnowTheirCaller::default)
        .every_call("every call works", |call| match &call.reply {
            Some(reply) if reply.is_ok() => Ok(()),
            reply => Err(format!("{reply:?}")),
        });
    rehearse_seed(&scenario, 1, planted, Keep::Trace)
}

#[test]
fn a_fact_reaches_the_checks_in_its_own_type() {
    assert_eq!(rehearse(5, None).violation, None);
    let violation = rehearse(0, None).violation.expect("any sale is too large");
    assert!(violation.detail.ends_with("apples sold at once"), "{violation}");
}

#[test]
fn a_log_line_keeps_its_values_in_their_types() {
    let rehearsal = rehearse(5, None);
    let mut lines = rehearsal.events.iter().filter(|event| event.line().is_some());
    let sold = lines.next().expect("something is sold");
    let values = ["apples", "change", "price", "is_ripe", "kind"].map(|name| sold.field(name));
    let [Some(Value::U64(1..=5)), Some(change), Some(price), Some(is_ripe), Some(kind)] = values else {
        panic!("{sold}");
    };
    let typed = (change.as_i64(), price.as_f64(), is_ripe.as_bool(), kind.as_str());
    assert_eq!(typed, (Some(-3), Some(0.5), Some(true), Some("red")));
}

#[test]
fn a_line_belongs_to_the_call_that_is_handled_meanwhile() {
    let rehearsal = rehearse(5, None);
    let lines: Vec<_> = rehearsal.events.iter().filter(|event| event.line().is_some()).collect();
    assert!(lines[0].request.is_some() && lines[1].request.is_none(), "{} {}", lines[0], lines[1]);
}

#[test]
fn a_line_without_an_id_is_judged_where_a_call_is_handled() {
    let violation = rehearse(5, Some("loses-ids")).violation.expect("a line has lost its id");
    assert_eq!(violation.detail, "shop logged \"sold\" without an id, while it handled a call");
}

#[test]
fn each_promise_says_how_often_it_had_something_to_judge() {
    let rehearsal = rehearse(5, None);
    let calls = rehearsal.calls.len() as u64;
    let names =
        ["no sale is too large", "every log line carries its caller's request id", "every call works"];
    assert_eq!(rehearsal.met, names.map(|name| (name.to_owned(), calls)));
    let told = rehearsal.events.iter().filter(|event| matches!(event.what, What::Told(_))).count();
    assert_eq!(told as u64, calls);
}

#[test]
fn calls_that_still_fail_after_healing_are_told_with_what_they_got() {
    let second = Duration::from_secs(1);
    let kinds = ["ok", "buy", "take", "keep", "find"];
    let calm = || Load::new(0..=0, second, second..=second);
    let load =
        |kinds: &[&str]| kinds.iter().fold(calm(), |load, kind| load.kind("customer", kind, matching("x")));
    let told = |kinds: &[&str]| {
        let scenario = Scenario::new("shop", "only ok works", load(kinds), Swarm::calm())
            .host("shop", shop)
            .client("customer", |_| {
                async |request: Request| match &*request.kind {
                    "ok" => Reply::ok(""),
                    _ => Reply::failed("INTERNAL", "my bug"),
                }
            });
        rehearse_seed(&scenario, 1, None, Keep::Hash).violation.expect("calls fail").detail
    };
    let one = "5000 ms after healing, still: buy over customer: INTERNAL \"my bug\"";
    assert_eq!(told(&kinds[..2]), one);
    let many = told(&kinds);
    assert!(many.starts_with(one) && many.ends_with("; and 1 more"), "{many}");
}

#[test]
#[should_panic(expected = "none runs on this thread")]
fn a_fact_told_outside_of_a_rehearsal_is_a_bug_that_says_so() {
    sim::tell(Sold { apples: 1 }, None);
}
