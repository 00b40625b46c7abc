//! The clients: they make the calls of the plan, and after healing the probes, until each works.

use std::cell::Cell;
use std::collections::BTreeMap;
use std::rc::Rc;
use std::sync::Arc;
use std::time::Duration;

use tokio::sync::Semaphore;

use crate::call::{CallRecord, Reply};
use crate::host::process::Signal;
use crate::plan::{Plan, Request};
use crate::scenario::{Caller, HostResult};
use crate::tempo::Tempo;
use crate::trace::recorder;

/// How often in a row each sort of call must work before things count as recovered.
const PROBES_IN_A_ROW: u32 = 2;
/// The attempts of one probe have numbers from a thousand of their own, so that they are not taken for those of another.
const ATTEMPTS: u32 = 1000;
/// How long a client waits before it tries a probe again.
const PROBE_PAUSE: Duration = Duration::from_millis(50);

/// What the world and the clients tell each other.
#[derive(Debug, Clone)]
pub(crate) struct Signals {
    pub(crate) has_healed: Rc<Signal>,
    requests_left: Rc<Cell<usize>>,
    probes_left: Rc<Cell<usize>>,
}

impl Signals {
    pub(crate) fn new(plan: &Plan) -> Self {
        let requests_left = Rc::new(Cell::new(plan.requests.len()));
        let probes_left = Rc::new(Cell::new(plan.probes.len()));
        Self { has_healed: Rc::default(), requests_left, probes_left }
    }

    /// How many requests were not made yet.
    pub(crate) fn requests_left(&self) -> usize {
        self.requests_left.get()
    }

    /// How many sorts of call do not work yet.
    pub(crate) fn probes_left(&self) -> usize {
        self.probes_left.get()
    }
}

/// The program of the host on which all clients run.
pub(crate) async fn play(
    callers: BTreeMap<String, Caller>,
    start: tokio::time::Instant,
    plan: Plan,
    signals: Signals,
    tempo: Tempo,
) -> HostResult {
    let permits = Arc::new(Semaphore::new(plan.in_flight_max.unwrap_or(Semaphore::MAX_PERMITS)));
    for request in plan.requests {
        tokio::time::sleep_until(start + tempo.stretched(request.at)).await;
        let permit = Arc::clone(&permits).acquire_owned().await?;
        signals.requests_left.set(signals.requests_left.get() - 1);
        if let Some(caller) = callers.get(&request.client) {
            let call = call(Rc::clone(caller), request, false, tempo);
            tokio::task::spawn_local(async move { (call.await, permit).0 });
        }
    }
    signals.has_healed.wait().await;
    for probe in plan.probes {
        let caller = callers.get(&probe.client).ok_or("a probe names no client")?;
        tokio::task::spawn_local(probe_until_it_works(
            Rc::clone(caller),
            probe,
            Rc::clone(&signals.probes_left),
            tempo,
        ));
    }
    std::future::pending().await
}

/// Whether the call got an answer that is right for it.
async fn call(caller: Caller, request: Request, is_probe: bool, tempo: Tempo) -> bool {
    let number = recorder::with(|recorder| recorder.start_call(&request, is_probe));
    let reply = caller(Request { deadline: tempo.stretched(request.deadline), ..request }).await;
    let is_right = reply.is_right;
    recorder::with(|recorder| recorder.end_call(number, reply));
    is_right
}

async fn probe_until_it_works(caller: Caller, probe: Request, probes_left: Rc<Cell<usize>>, tempo: Tempo) {
    let mut in_a_row = 0;
    for attempt in 0.. {
        let id = probe.id * ATTEMPTS + attempt;
        let attempt = Request { id, ..probe.clone() };
        in_a_row = match call(Rc::clone(&caller), attempt, true, tempo).await {
            true => in_a_row + 1,
            false => 0,
        };
        if in_a_row == PROBES_IN_A_ROW {
            break;
        }
        if in_a_row == 0 {
            tokio::time::sleep(tempo.stretched(PROBE_PAUSE)).await;
        }
    }
    probes_left.set(probes_left.get() - 1);
}

/// Which of the `probes` do not work `bound` after healing, and what each got last.
pub(crate) fn still_failing(probes: &[Request], calls: &[CallRecord], bound: Duration) -> String {
    /// What all fail by is mostly the same.
    const NAMED: usize = 3;
    let failing: Vec<_> = probes.iter().filter_map(|probe| failure_of(probe, calls)).collect();
    let named = match failing.get(..NAMED) {
        Some(first) if failing.len() > NAMED => {
            format!("{}; and {} more", first.join("; "), failing.len() - NAMED)
        }
        _ if failing.is_empty() => "a call has not ended".to_owned(),
        _ => failing.join("; "),
    };
    format!("{} ms after healing, still: {named}", bound.as_millis())
}

/// What a probe got last, if it does not work.
fn failure_of(probe: &Request, calls: &[CallRecord]) -> Option<String> {
    let attempts = calls.iter().filter(|call| call.is_probe && call.request.id / ATTEMPTS == probe.id);
    let replies: Vec<_> = attempts.filter_map(|call| call.reply.as_ref()).collect();
    let right = replies.iter().rev().take_while(|reply| reply.is_right).count();
    if right >= PROBES_IN_A_ROW as usize {
        return None;
    }
    let got = replies.iter().rfind(|reply| !reply.is_right).map(|reply| told(reply));
    Some(format!("{} over {}: {}", probe.kind, probe.client, got.unwrap_or_else(|| "no answer".to_owned())))
}

fn told(reply: &Reply) -> String {
    /// An answer that is not right may be large.
    const VALUE_MAX: usize = 200;
    let value: String = reply.value.chars().take(VALUE_MAX).collect();
    format!("{} {value:?}", reply.status)
}
