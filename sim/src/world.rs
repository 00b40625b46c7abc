//! Builds the world of a plan and lets it run: the hosts, the clients, the steps of virtual time.
//!
//! A rehearsal has two phases, as TigerBeetle's simulator has. While faults last, every invariant must hold at
//! every step; then nothing is wrong any more, and within a stated time every sort of call must work again.

use std::cell::Cell;
use std::collections::BTreeMap;
use std::rc::Rc;
use std::sync::Arc;
use std::sync::atomic::Ordering;
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
use crate::trace::event::{Phase, What};

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
    pub(crate) plan: &'a Plan,
    scenario: &'a Scenario,
    now: Duration,
    curtain: Curtain,
    /// When all probes worked and nothing was in flight.
    settles_from: Option<Duration>,
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
    stage::install(Stage::new(scenario, plan, warm_up(scenario), keep));
    let mut world = World::build(scenario, plan);
    world.warm_up();
    if stage::with(|stage| stage.violation.is_some()).unwrap_or(true) {
        return Duration::ZERO;
    }
    world.run()
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
        let choices = Arc::new(Choices { options: plan.options.clone(), planted: plan.planted.clone() });
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
        Self { sim, timeline, plan, scenario, now: Duration::ZERO, curtain, settles_from: None }
    }

    /// Lets the hosts start before the clock does: who calls a service that does not listen yet learns nothing.
    fn warm_up(&mut self) {
        for step in 0..WARM_UP_TICKS {
            entropy::set_now(self.scenario.tick * step);
            if let Err(error) = self.sim.step() {
                stage::with(|stage| stage.violate("hosts do not fail", error.to_string()));
            }
        }
        stage::with(|stage| check_set_up(stage, warm_up(self.scenario)));
    }

    /// Steps until all is done or a promise is broken.
    fn run(&mut self) -> Duration {
        let heals_at = self.plan.horizon();
        announce(Phase::FaultsMayHappen);
        let mut healed_at = None;
        loop {
            stage::with(|stage| stage.start_tick(self.now));
            self.apply_due_faults(self.now);
            if healed_at.is_none() && self.now >= heals_at && self.is_quiet() {
                healed_at = Some(self.now);
                announce(Phase::Healed);
                self.curtain.has_healed.set();
            }
            if let Err(error) = self.sim.step() {
                stage::with(|stage| stage.violate("hosts do not fail", error.to_string()));
            }
            self.now += self.scenario.tick;
            self.note_leavers();
            if self.settles_from.is_none() && self.now > heals_at.max(last_call()) + LAST_CALL {
                stage::with(|stage| {
                    stage.violate("every call ends", "one was still in flight when the rehearsal had to end")
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

    fn is_over(&mut self, healed_at: Duration) -> bool {
        let left = self.curtain.probes_left.get();
        let bound = self.scenario.recovers_within;
        if left > 0 && self.now > healed_at + bound {
            let detail = format!("{left} sort(s) of call still fail {} ms after healing", bound.as_millis());
            stage::with(|stage| stage.violate("after healing, calls succeed", detail));
            return true;
        }
        left == 0 && self.is_quiet() && self.has_settled(healed_at)
    }

    /// Whether all that must come true in the end has, or never will.
    fn has_settled(&mut self, healed_at: Duration) -> bool {
        // Without probes nothing shows when calls work again: they are given all the time that they have for it.
        let recovered_by = if self.plan.probes.is_empty() {
            healed_at + self.scenario.recovers_within
        } else {
            *self.settles_from.get_or_insert(self.now)
        };
        let missing = stage::with(|stage| stage.missing()).unwrap_or_default();
        let late = missing.iter().find(|(_, within, _)| self.now > recovered_by + *within);
        let Some((promise, within, detail)) = late else { return missing.is_empty() };
        // What is down cannot do its part, and no promise is made for it.
        if stage::with(|stage| stage.hosts.iter().all(|host| host.status == Status::Running)).unwrap_or(false)
        {
            let detail = format!("{detail}, {} ms after calls work again", within.as_millis());
            stage::with(|stage| stage.violate(promise, detail));
        }
        true
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

    /// A program that has returned leaves a machine on which nothing runs: its sockets are closed, and new
    /// connections refused.
    fn note_leavers(&mut self) {
        let has_left =
            |host: &HostState| host.status == Status::Running && host.shared.has_left.load(Ordering::Relaxed);
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

fn announce(phase: Phase) {
    stage::with(|stage| stage.announce(What::Phase(phase)));
}

/// When the last call began.
fn last_call() -> Duration {
    stage::with(|stage| stage.calls.last().map(|call| call.started)).flatten().unwrap_or_default()
}

fn warm_up(scenario: &Scenario) -> Duration {
    scenario.tick * WARM_UP_TICKS
}

/// The name under which a scenario is told that it is wrong under every plan.
const SET_UP: &str = "every host starts";

/// Finds the mistakes that show before anything goes wrong: a program that panics, ends or never listens.
fn check_set_up(stage: &mut Stage, warm_up: Duration) {
    for panic in panics::take() {
        stage.violate_set_up(SET_UP, format!("a host panicked while it started: {panic}"));
    }
    let servers: Vec<_> = stage.hosts.iter().filter(|host| &*host.name != CLIENTS).collect();
    let has_left = |host: &&&HostState| host.shared.has_left.load(Ordering::Relaxed);
    let is_deaf = |host: &&&HostState| !host.shared.has_listened.load(Ordering::Relaxed);
    let left = servers.iter().find(has_left).map(|host| {
        format!("{} ended while it started: expected its program to run until it is told to drain", host.name)
    });
    let deaf = servers.iter().find(is_deaf).map(|host| {
        let (name, within) = (&host.name, warm_up.as_millis());
        format!("{name} never listened on a port: expected its program to call HostContext::listen within {within} ms")
    });
    if let Some(detail) = left.or(deaf) {
        stage.violate_set_up(SET_UP, detail);
    }
}

fn fault_state(stage: &Stage, fault: &crate::plan::Fault) -> Option<FaultState> {
    let (a, b) = fault.what.hosts();
    let a = stage.host_named(a)?;
    let b = match b {
        Some(name) => Some(stage.host_named(name)?),
        None => None,
    };
    Some(FaultState { fault: fault.clone(), a, b, active: false, has_begun: false, is_effective: false })
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
                stage::with(|stage| stage.host_failed(&format!("{name}: {error}")));
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
