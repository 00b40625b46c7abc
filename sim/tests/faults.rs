//! Each fault does what it says, as a caller sees it.

use std::time::Duration;

use sim::{
    Address, CallFault, Event, Fault, FaultKind, HostContext, HostResult, Io, Keep, Load, Network, Plan,
    Rehearsal, Reply, Request, Scenario, Swarm, What,
};
use tokio::io::{AsyncReadExt, AsyncWriteExt};

const SERVER: &str = "server";

/// Answers each byte with the wall clock, in milliseconds.
async fn server(host: HostContext) -> HostResult {
    let listener = host.listen(1).await?;
    loop {
        let (io, _) = tokio::select! {
            biased;
            () = host.drain() => return Ok(()),
            accepted = listener.accept() => accepted?,
        };
        tokio::task::spawn_local(async move { serve(io).await.unwrap_or_default() });
    }
}

#[expect(clippy::disallowed_methods, reason = "the wall clock is what is looked at")]
async fn serve(mut io: Io) -> std::io::Result<()> {
    loop {
        io.read_u8().await?;
        match sim::call_fault() {
            Some(CallFault::Slow(delay)) => tokio::time::sleep(delay).await,
            Some(CallFault::Panic) => sim::planned_panic(),
            Some(CallFault::Full) => return Ok(()),
            None => {}
        }
        let wall = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH);
        io.write_u64(wall.unwrap_or_default().as_millis() as u64).await?;
    }
}

/// `ask` sends a byte and waits for the answer; `wait` sends nothing and waits for the end of the connection.
async fn client(host: HostContext, request: Request) -> Reply {
    let answer = async {
        let mut io = host.net().connect(&Address::Tcp { host: SERVER.to_owned(), port: 1 }).await?;
        if request.kind == "ask" {
            io.write_u8(1).await?;
        }
        io.read_u64().await
    };
    match tokio::time::timeout(request.deadline, answer).await {
        Ok(Ok(wall)) => Reply::ok(wall.to_string()),
        Ok(Err(error)) => Reply::failed(format!("{:?}", error.kind()), ""),
        Err(_) => Reply::failed("late", ""),
    }
}

fn scenario() -> Scenario {
    let nothing = Load::new(0..=0, Duration::ZERO, Duration::ZERO..=Duration::ZERO);
    Scenario::new("faults", "one fault at a time", nothing, Swarm::calm())
        .host(SERVER, server)
        .client("client", |host| move |request| client(host.clone(), request))
}

fn ms(millis: u64) -> Duration {
    Duration::from_millis(millis)
}

fn both() -> (String, String) {
    (sim::CLIENTS.to_owned(), SERVER.to_owned())
}

fn at_server() -> String {
    SERVER.to_owned()
}

/// Calls `kind` at the times given, while `what` lasts from 100 ms to 400 ms, and allows each a second.
fn with_fault(what: FaultKind, kind: &str, at: &[u64]) -> Rehearsal {
    with_faults(vec![Fault { from: ms(100), lasts: ms(300), what }], kind, at)
}

/// The same while several faults last, each of which must touch a call.
fn with_faults(faults: Vec<Fault>, kind: &str, at: &[u64]) -> Rehearsal {
    let effective = vec![true; faults.len()];
    let request = |(id, at): (u32, &u64)| {
        let (client, kind, argument) = ("client".to_owned(), kind.to_owned(), String::new());
        Request {
            id,
            at: ms(*at),
            client,
            kind,
            argument,
            deadline: ms(1000),
            sends_id: None,
            metadata: Vec::new(),
        }
    };
    let plan = Plan {
        scenario: "faults".to_owned(),
        seed: 1,
        planted: None,
        options: Default::default(),
        network: Network { latency_min: ms(1), latency_max: ms(1), yield_percent: 0 },
        faults,
        in_flight_max: None,
        requests: (1..).zip(at).map(request).collect(),
        probes: Vec::new(),
    };
    let rehearsal = sim::rehearse(&scenario(), &plan, Keep::Trace);
    assert_eq!(rehearsal.violation, None, "{}", trace(&rehearsal.events));
    assert_eq!(rehearsal.effective, effective, "{}", trace(&rehearsal.events));
    rehearsal
}

fn trace(events: &[Event]) -> String {
    events.iter().map(|event| format!("{event}\n")).collect()
}

/// How each call ended, and when, to ten milliseconds.
fn ends(rehearsal: &Rehearsal) -> Vec<(&str, u128)> {
    let end = |call: &sim::CallRecord| call.ended.unwrap_or_default().as_millis() / 10 * 10;
    let status = |call| -> &str {
        sim::CallRecord::clone(call).reply.map_or("none", |reply| status_name(&reply.status))
    };
    rehearsal.calls.iter().map(|call| (status(call), end(call))).collect()
}

fn status_name(status: &str) -> &'static str {
    let names = ["OK", "late", "ConnectionRefused", "ConnectionReset", "UnexpectedEof"];
    names.into_iter().find(|name| *name == status).unwrap_or("something else")
}

#[test]
fn what_a_partition_swallows_arrives_when_the_sender_tries_again() {
    let (a, b) = both();
    // Lost at 150 ms and before; timeouts double from 100 ms on: tried at 300, 700.
    assert_eq!(
        ends(&with_fault(FaultKind::Partition { a, b }, "ask", &[150, 450])),
        [("OK", 700), ("OK", 450)]
    );
}

#[test]
fn held_segments_arrive_together() {
    let (a, b) = both();
    assert_eq!(ends(&with_fault(FaultKind::Hold { a, b }, "ask", &[150, 200])), [("OK", 400), ("OK", 400)]);
}

#[test]
fn a_one_way_partition_lets_the_other_way_through() {
    for (a, b) in [both(), (both().1, both().0)] {
        let sender = a.clone();
        let rehearsal = with_fault(FaultKind::PartitionOneWay { a, b }, "ask", &[98]);
        let during = |event: &&Event| {
            matches!(event.what, What::Net("delivered", _)) && (ms(104)..ms(400)).contains(&event.at)
        };
        let through: Vec<_> = rehearsal.events.iter().filter(during).map(|event| &*event.host).collect();
        assert!(!through.contains(&if sender == SERVER { sim::CLIENTS } else { SERVER }), "{through:?}");
        assert_eq!(ends(&rehearsal), [("OK", 700)]);
    }
}

#[test]
fn a_slow_link_takes_its_time_for_every_segment() {
    let (a, b) = both();
    // SYN, its answer with no delay of its own, then the byte and the answer to it.
    let rehearsal = with_fault(FaultKind::SlowLink { a, b, latency: ms(50) }, "ask", &[150]);
    assert_eq!(ends(&rehearsal), [("OK", 300)]);
}

#[test]
fn a_reset_breaks_open_connections_at_once() {
    let (a, b) = both();
    assert_eq!(ends(&with_fault(FaultKind::Reset { a, b }, "wait", &[50])), [("ConnectionReset", 100)]);
}

#[test]
fn a_killed_process_closes_its_connections_and_refuses_new_ones() {
    // The one of 99 ms is still connecting when the process goes.
    let rehearsal = with_fault(FaultKind::Kill { host: at_server() }, "wait", &[50, 99, 200]);
    assert_eq!(
        ends(&rehearsal),
        [("UnexpectedEof", 100), ("ConnectionRefused", 100), ("ConnectionRefused", 200)]
    );
}

#[test]
fn a_power_loss_tells_nobody() {
    let rehearsal = with_fault(FaultKind::PowerLoss { host: at_server() }, "wait", &[50]);
    assert_eq!(ends(&rehearsal), [("late", 1050)]);
}

#[test]
fn a_machine_without_power_refuses_nothing_until_its_power_is_back() {
    let fault = |from, what| Fault { from: ms(from), lasts: ms(200), what };
    let (power, kill) = (FaultKind::PowerLoss { host: at_server() }, FaultKind::Kill { host: at_server() });
    // From 300 ms on there is power, and no process before 400 ms.
    let dark_first = vec![fault(100, power.clone()), fault(200, kill.clone())];
    let refused = |at| ("ConnectionRefused", at);
    assert_eq!(
        ends(&with_faults(dark_first, "ask", &[50, 150, 250, 350])),
        [("OK", 50), refused(300), refused(300), refused(350)]
    );
    // From 200 ms to 400 ms there is no power, whatever was before.
    let killed_first = vec![fault(100, kill), fault(200, power)];
    assert_eq!(
        ends(&with_faults(killed_first, "ask", &[50, 150, 250])),
        [("OK", 50), refused(150), refused(400)]
    );
}

#[test]
fn a_paused_host_goes_on_where_it_was() {
    assert_eq!(ends(&with_fault(FaultKind::Pause { host: at_server() }, "ask", &[150])), [("OK", 400)]);
}

#[test]
fn a_skewed_clock_is_read_by_its_host_only() {
    let host = at_server();
    let rehearsal = with_fault(FaultKind::ClockSkew { host, by_ms: 5000 }, "ask", &[50, 200]);
    let wall = |number: usize| {
        rehearsal.calls[number].reply.clone().expect("a reply").value.parse::<u64>().expect("a number")
    };
    assert!((5140..5160).contains(&(wall(1) - wall(0))), "{} and {}", wall(0), wall(1));
}

#[test]
fn a_handler_is_slow_or_panics_or_has_no_room() {
    let host = at_server;
    let slow = FaultKind::SlowHandler { host: host(), delay: ms(100) };
    assert_eq!(ends(&with_fault(slow, "ask", &[150])), [("OK", 250)]);
    let panics = FaultKind::PanickingHandler { host: host() };
    assert_eq!(ends(&with_fault(panics, "ask", &[150])), [("UnexpectedEof", 150)]);
    let full = FaultKind::FullService { host: host() };
    assert_eq!(ends(&with_fault(full, "ask", &[150])), [("UnexpectedEof", 150)]);
}

#[test]
fn a_drained_host_leaves_and_comes_back() {
    let rehearsal = with_fault(FaultKind::Drain { host: at_server() }, "ask", &[150, 450]);
    assert_eq!(ends(&rehearsal), [("ConnectionRefused", 150), ("OK", 450)]);
}
