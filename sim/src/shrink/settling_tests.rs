//! A saga that must come true in the end: late is fine, never is found, and what is shrunk still shows it.

use std::collections::BTreeSet;
use std::fmt;

use net::Address;
use tokio::io::{AsyncReadExt, AsyncWriteExt};

use super::*;
use crate::call::Reply;
use crate::host::HostContext;
use crate::host::disk::Disk;
use crate::invariant::Eventual;
use crate::load::{Load, matching};
use crate::plan::Family;
use crate::plan::FaultKind;
use crate::rehearsal::rehearse_seed;
use crate::scenario::HostResult;
use crate::swarm::Swarm;
use crate::trace::event::{Event, Fact};
use crate::trace::recorder::tell;

const SETTLED: &str = "every order is settled";

/// How long an order takes after its call has its reply.
const SAGA: Duration = Duration::from_millis(300);

const LINE_BYTES: usize = 5;

#[derive(Debug)]
enum Step {
    Placed(u32),
    Settled(u32),
}

impl fmt::Display for Step {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{self:?}")
    }
}

impl Fact for Step {}

/// Takes orders and settles each when its call has long ended. It finds those that are open on its disk when it starts
/// again, unless it forgets them.
async fn orders(host: HostContext) -> HostResult {
    let listener = host.listen(1).await?;
    let disk = host.disk("orders");
    if host.planted() != Some("forgets") {
        let mut open = BTreeSet::new();
        for line in disk.read()?.chunks_exact(LINE_BYTES) {
            let order = u32::from_be_bytes(line[1..].try_into()?);
            if line[0] == b'p' {
                open.insert(order)
            } else {
                open.remove(&order)
            };
        }
        for order in open {
            tokio::task::spawn_local(settle(disk.clone(), order));
        }
    }
    loop {
        let (mut io, _) = listener.accept().await?;
        let order = io.read_u32().await?;
        disk.append(&line(b'p', order))?;
        disk.sync()?;
        tell(Step::Placed(order), None);
        io.write_u32(order).await?;
        if host.planted() == Some("leaves") {
            return Ok(());
        }
        tokio::task::spawn_local(settle(disk.clone(), order));
    }
}

/// What is written of an order: whether it is placed or settled, and its number.
fn line(what: u8, order: u32) -> [u8; LINE_BYTES] {
    let [a, b, c, d] = order.to_be_bytes();
    [what, a, b, c, d]
}

async fn settle(disk: Disk, order: u32) {
    tokio::time::sleep(SAGA).await;
    disk.append(&line(b's', order)).expect("a task runs while its host does");
    tell(Step::Settled(order), None);
}

async fn place(host: HostContext, request: Request) -> std::io::Result<Reply> {
    let mut io = host.net().connect(&Address::Tcp { host: "orders".to_owned(), port: 1 }).await?;
    io.write_u32(request.id).await?;
    io.read_u32().await?;
    Ok(Reply::ok(""))
}

#[derive(Debug, Default)]
struct AllSettled {
    open: BTreeSet<u32>,
    met: u64,
}

impl Eventual for AllSettled {
    fn event(&mut self, event: &Event) {
        match event.told() {
            Some(Step::Placed(order)) => {
                self.open.insert(*order);
                self.met += 1;
            }
            Some(Step::Settled(order)) => {
                self.open.remove(order);
            }
            None => {}
        }
    }

    fn holds(&self) -> Result<(), String> {
        if self.open.is_empty() { Ok(()) } else { Err(format!("{} order(s) are open", self.open.len())) }
    }

    fn met(&self) -> u64 {
        self.met
    }
}

fn ms(millis: u64) -> Duration {
    Duration::from_millis(millis)
}

fn scenario(within: Duration) -> Scenario {
    let load = Load::new(10..=10, ms(500), ms(100)..=ms(200)).kind("caller", "place", matching("[a-z]"));
    let faults = Swarm::new(3..=3, ms(500), ms(20)..=ms(100)).host("orders");
    Scenario::new("saga", "orders are settled late", load, faults.only(&[Family::Kill, Family::SlowHandler]))
        .host("orders", orders)
        .client("caller", |host| {
            move |request: Request| {
                let host = host.clone();
                async move {
                    let deadline = request.deadline;
                    let reply = tokio::time::timeout(deadline, place(host, request)).await;
                    reply.ok().and_then(Result::ok).unwrap_or_else(|| Reply::failed("FAILED", ""))
                }
            }
        })
        .recovers_within(ms(1000))
        .eventually(SETTLED, AllSettled::default, within)
}

fn has_kill(plan: &Plan) -> bool {
    plan.faults.iter().any(|fault| matches!(fault.what, FaultKind::Kill { .. }))
}

#[test]
fn a_saga_that_ends_late_keeps_its_promise() {
    for seed in 0..20 {
        let rehearsal = rehearse_seed(&scenario(ms(1000)), seed, None, Keep::Hash);
        assert_eq!(rehearsal.violation, None, "{rehearsal}");
        assert!(rehearsal.met[0].1 > 0, "{rehearsal}");
        let last_reply = rehearsal.calls.iter().filter_map(|call| call.ended).max().expect("calls end");
        // The saga of the last order began before its client had the reply: earlier by the time of one way over the network.
        assert!(rehearsal.simulated >= last_reply + SAGA - ms(5), "{rehearsal}");
    }
}

#[test]
fn a_saga_that_never_ends_is_found_and_shrinks_to_what_it_takes() {
    let scenario = scenario(ms(1000));
    let mut played = (0..20).map(|seed| rehearse_seed(&scenario, seed, Some("forgets"), Keep::Hash));
    let failed =
        played.find(|rehearsal| promise(rehearsal) == Some(SETTLED)).expect("one of these is killed");
    let shrunk = shrink(&scenario, &failed, SHRINK_TIME).rehearsal;
    assert_eq!(promise(&shrunk), Some(SETTLED));
    let plan = &shrunk.plan;
    assert_eq!((plan.faults.len(), plan.requests.len(), plan.probes.len()), (1, 1, 0), "{plan}");
    assert!(has_kill(plan), "{plan}");
    // Shrinking left every saga the time to end. So the one that does not end shows the bug, and not a lack of time.
    assert!(shrunk.simulated >= plan.horizon() + ms(1000) + ms(1000), "{shrunk}");
    let sound = Plan { planted: None, ..plan.clone() };
    assert_eq!(rehearse(&scenario, &sound, Keep::Hash).violation, None);
}

#[test]
fn without_probes_a_promise_is_judged_no_earlier_than_with_them() {
    // This is less than a saga takes. The promise is kept all the same: without probes, calls have a second in which to work
    // again before that time begins.
    let scenario = scenario(ms(10));
    let mut plan = rehearse_seed(&scenario, 1, None, Keep::Hash).plan;
    plan.probes.clear();
    assert_eq!(rehearse(&scenario, &plan, Keep::Hash).violation, None);
}

#[test]
fn of_a_host_that_has_left_nothing_is_promised() {
    let scenario = scenario(ms(100));
    let mut plan = crate::draw::plan(&scenario, 1, Some("leaves"));
    plan.faults.clear();
    plan.probes.clear();
    let rehearsal = rehearse(&scenario, &plan, Keep::Hash);
    assert_eq!(rehearsal.violation, None, "{rehearsal}");
    assert!(rehearsal.met[0].1 > 0, "{rehearsal}");
}
