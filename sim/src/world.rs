//! Builds the world of a plan and lets it run: the hosts, the clients, the steps of virtual time.
//!
//! A rehearsal has two phases, as TigerBeetle's simulator has. While faults last, every invariant must hold at
//! every step; then nothing is wrong any more, and within a stated time every sort of call must work again.

use std::cell::Cell;
use std::collections::BTreeMap;
use std::rc::Rc;
use std::sync::Arc;
use std::time::{Duration, UNIX_EPOCH};

use tokio::sync::Semaphore;

use crate::entropy::{self, mix};
use crate::faults::Timeline;
use crate::host::{Choices, HostContext, HostShared, Signal};
use crate::panics;
use crate::plan::{Plan, Request};
use crate::rehearsal::Keep;
use crate::scenario::{CLIENTS, Caller, HostResult, Scenario};
use crate::stage::{self, FaultState, HostState, Stage, Status};
use crate::trace::EventKind;

/// How many segments a simulated connection, and how many connections a listener, can have under way.
const TCP_CAPACITY: usize = 1024;
/// How often in a row each sort of call must work before things count as recovered.
const PROBES_IN_A_ROW: u32 = 2;
/// How many steps the hosts have for starting.
const WARM_UP_TICKS: u32 = 4;
/// How long a client waits before it tries a probe again.
const PROBE_PAUSE: Duration = Duration::from_millis(50);

/// How long a rehearsal may go on after the last fault and the beginning of the last call, whatever the scenario
/// checks.
const LAST_CALL: Duration = Duration::from_secs(300);

/// A world that runs.
pub(crate) struct World<'a> {
    pub(crate) sim: turmoil::Sim<'a>,
    pub(crate) timeline: Timeline,
    plan: &'a Plan,
    scenario: &'a Scenario,
    now: Duration,
    curtain: Curtain,
}

/// What the harness and the clients tell each other.
#[derive(Debug, Clone)]
struct Curtain {
    has_healed: Rc<Signal>,
    requests_left: Rc<Cell<usize>>,
    probes_left: Rc<Cell<usize>>,
}

/// Runs `plan` to its end on this thread, which must be a fresh simulation thread; returns the virtual time it took.
pub(crate) fn run(scenario: &Scenario, plan: &Plan, keep: Keep) -> Duration {
    let checks = scenario.checks.iter().map(|new| new()).collect();
    stage::install(Stage::new(plan, warm_up(scenario), checks, keep));
    let mut world = World::build(scenario, plan);
    world.warm_up();
    let end = world.run();
    stage::with(Stage::finish);
    end
}

impl<'a> World<'a> {
    fn build(scenario: &'a Scenario, plan: &'a Plan) -> Self {
        let mut sim = turmoil::Builder::new()
            .rng_seed(mix(plan.seed ^ 1))
            .epoch(UNIX_EPOCH + entropy::EPOCH)
            .tick_duration(scenario.tick)
            .simulation_duration(Duration::MAX / 2)
            .min_message_latency(plan.network.latency_min)
            .max_message_latency(plan.network.latency_max)
            .tcp_capacity(TCP_CAPACITY)
            .enable_random_order()
            .build();
        let choices = Arc::new(Choices { options: plan.options.clone(), mutant: plan.mutant.clone() });
        let curtain = Curtain {
            has_healed: Rc::default(),
            requests_left: Rc::new(Cell::new(plan.requests.len())),
            probes_left: Rc::new(Cell::new(plan.probes.len())),
        };
        for (name, program) in &scenario.hosts {
            add_host(&mut sim, name, &choices, move |host| program(host));
        }
        let clients = curtain.clone();
        add_host(&mut sim, CLIENTS, &choices, move |host| {
            let callers = scenario.clients.iter();
            let callers = callers.map(|(name, client)| (name.clone(), client(host.clone()))).collect();
            let start = tokio::time::Instant::now() + warm_up(scenario);
            Box::pin(play(callers, start, plan.clone(), clients.clone()))
        });
        let timeline = Timeline::new(plan, scenario);
        stage::with(|stage| {
            stage.faults = plan.faults.iter().filter_map(|fault| fault_state(stage, fault)).collect()
        });
        Self { sim, timeline, plan, scenario, now: Duration::ZERO, curtain }
    }

    /// Lets the hosts start before the clock does: who calls a service that does not listen yet learns nothing.
    fn warm_up(&mut self) {
        for step in 0..WARM_UP_TICKS {
            entropy::set_now(self.scenario.tick * step);
            if let Err(error) = self.sim.step() {
                stage::with(|stage| stage.violate("hosts do not fail", error.to_string()));
            }
        }
    }

    /// Steps until all is done or a promise is broken.
    fn run(&mut self) -> Duration {
        let heals_at = self.plan.horizon();
        self.announce("faults may happen");
        let mut healed_at = None;
        loop {
            stage::with(|stage| stage.start_tick(self.now));
            self.apply_due_faults(self.now);
            if healed_at.is_none() && self.now >= heals_at && self.is_quiet() {
                healed_at = Some(self.now);
                self.announce("all has healed");
                self.curtain.has_healed.set();
            }
            if let Err(error) = self.sim.step() {
                stage::with(|stage| stage.violate("hosts do not fail", error.to_string()));
            }
            self.now += self.scenario.tick;
            self.note_leavers();
            if self.now > heals_at.max(last_call()) + LAST_CALL {
                stage::with(|stage| {
                    stage.violate("every call ends", "one was still in flight when the curtain fell")
                });
            }
            if self.is_broken() || healed_at.is_some_and(|at| self.is_over(at)) {
                return self.now;
            }
        }
    }

    /// Whether all requests were made and have ended.
    fn is_quiet(&self) -> bool {
        let waits = stage::with(|stage| !stage.in_flight.is_empty()).unwrap_or(false);
        self.curtain.requests_left.get() == 0 && !waits
    }

    fn is_over(&self, healed_at: Duration) -> bool {
        let left = self.curtain.probes_left.get();
        let bound = self.scenario.recovers_within;
        if left > 0 && self.now > healed_at + bound {
            let detail = format!("{left} sort(s) of call still fail {} ms after healing", bound.as_millis());
            stage::with(|stage| stage.violate("after healing, calls succeed", detail));
            return true;
        }
        left == 0 && self.is_quiet()
    }

    /// Collects what went wrong outside the invariants, and says whether the rehearsal ends here.
    fn is_broken(&self) -> bool {
        stage::with(|stage| {
            stage.end_tick();
            if entropy::threads_started() > 0 {
                let detail = "a host started a thread (std::thread::spawn, or tokio's spawn_blocking), \
                    which the simulation could neither schedule nor repeat";
                stage.violate("hosts stay on their thread", detail);
            }
            for panic in panics::take() {
                stage.violate("hosts do not panic", panic);
            }
            stage.violation.is_some()
        })
        .unwrap_or(true)
    }

    fn announce(&self, text: &str) {
        stage::with(|stage| {
            let event = stage.event(EventKind::Phase, text, None, Vec::new());
            stage.push(event);
        });
    }

    /// A program that has returned leaves a machine on which nothing runs: its sockets are closed, and new
    /// connections refused.
    fn note_leavers(&mut self) {
        let has_left = |host: &HostState| {
            host.status == Status::Running && host.shared.has_left.load(std::sync::atomic::Ordering::Relaxed)
        };
        let leavers = stage::with(|stage| {
            let leavers = stage.hosts.iter_mut().filter(|host| has_left(host));
            leavers
                .map(|host| {
                    host.status = Status::Stopped;
                    host.shared.refuse();
                    host.address
                })
                .collect::<Vec<_>>()
        });
        for address in leavers.unwrap_or_default() {
            self.sim.crash(address);
        }
    }
}

/// When the last call began.
fn last_call() -> Duration {
    stage::with(|stage| stage.calls.last().map(|call| call.started)).flatten().unwrap_or_default()
}

fn warm_up(scenario: &Scenario) -> Duration {
    scenario.tick * WARM_UP_TICKS
}

fn fault_state(stage: &Stage, fault: &crate::plan::Fault) -> Option<FaultState> {
    let (a, b) = fault.what.hosts();
    let a = stage.host_named(a)?;
    let b = match b {
        Some(name) => Some(stage.host_named(name)?),
        None => None,
    };
    Some(FaultState { fault: fault.clone(), a, b, active: false, bit: false })
}

/// Registers a host whose program runs under the harness's hand.
fn add_host<'a>(
    sim: &mut turmoil::Sim<'a>,
    name: &str,
    choices: &Arc<Choices>,
    program: impl Fn(HostContext) -> futures_util::future::LocalBoxFuture<'static, HostResult> + 'a,
) {
    let name: Arc<str> = name.into();
    let shared = Arc::new(HostShared::new());
    let (its_name, its_shared, choices) = (Arc::clone(&name), Arc::clone(&shared), Arc::clone(choices));
    sim.host(&*name, move || {
        let host = HostContext::new(Arc::clone(&its_name), Arc::clone(&its_shared), Arc::clone(&choices));
        let (program, shared, name) = (program(host), Arc::clone(&its_shared), Arc::clone(&its_name));
        async move {
            if let Err(error) = shared.hold(program).await {
                stage::with(|stage| stage.violate("hosts do not fail", format!("{name}: {error}")));
            }
            // turmoil forgets a host whose program returns; the harness still has to crash and start it.
            std::future::pending().await
        }
    });
    let address = sim.lookup(&*name);
    stage::with(|stage| stage.hosts.push(HostState { name, address, shared, status: Status::Running }));
}

/// The program of the host on which all clients run.
async fn play(
    callers: BTreeMap<String, Caller>,
    start: tokio::time::Instant,
    plan: Plan,
    curtain: Curtain,
) -> HostResult {
    let places = Arc::new(Semaphore::new(plan.in_flight_max.unwrap_or(Semaphore::MAX_PERMITS)));
    for request in plan.requests {
        tokio::time::sleep_until(start + request.at).await;
        let place = Arc::clone(&places).acquire_owned().await?;
        curtain.requests_left.set(curtain.requests_left.get() - 1);
        if let Some(caller) = callers.get(&request.client) {
            let call = call(Rc::clone(caller), request, false);
            tokio::task::spawn_local(async move { (call.await, place).0 });
        }
    }
    curtain.has_healed.wait().await;
    for probe in plan.probes {
        let caller = callers.get(&probe.client).ok_or("a probe names no client")?;
        tokio::task::spawn_local(probe_until_it_works(
            Rc::clone(caller),
            probe,
            Rc::clone(&curtain.probes_left),
        ));
    }
    std::future::pending().await
}

async fn call(caller: Caller, request: Request, is_probe: bool) -> bool {
    let Some(number) = stage::with(|stage| stage.start_call(&request, is_probe)) else {
        return false;
    };
    let reply = caller(request).await;
    let is_ok = reply.is_ok();
    stage::with(|stage| stage.end_call(number, reply));
    is_ok
}

async fn probe_until_it_works(caller: Caller, probe: Request, probes_left: Rc<Cell<usize>>) {
    /// Apart in numbers, so that the attempts of one probe are not taken for those of another.
    const ATTEMPTS: u32 = 1000;
    let mut in_a_row = 0;
    for attempt in 0.. {
        let id = probe.id * ATTEMPTS + attempt;
        in_a_row = match call(Rc::clone(&caller), Request { id, ..probe.clone() }, true).await {
            true => in_a_row + 1,
            false => 0,
        };
        if in_a_row == PROBES_IN_A_ROW {
            break;
        }
        if in_a_row == 0 {
            tokio::time::sleep(PROBE_PAUSE).await;
        }
    }
    probes_left.set(probes_left.get() - 1);
}
