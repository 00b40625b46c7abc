//! Builds the world of a plan and lets it run: the hosts, the clients, the steps of virtual time.
//!
//! A rehearsal has three phases; TigerBeetle's simulator has the first two. While faults last, every invariant must
//! hold at every step; then nothing is wrong any more, and within a stated time every sort of call must work again; at
//! last nothing is asked any more, and within a stated time every eventual promise must come true.

use std::sync::Arc;
use std::time::{Duration, UNIX_EPOCH};

use futures_util::future::LocalBoxFuture;

use crate::clients::{self, Signals};
use crate::entropy::{self, mix};
use crate::faults::Timeline;
use crate::host::process::HostShared;
use crate::host::{Choices, HostContext};
use crate::panics;
use crate::plan::Plan;
use crate::scenario::{CLIENTS, HostResult, Scenario};
use crate::set_up;
use crate::tempo::Tempo;
use crate::trace::event::{Phase, What};
use crate::trace::recorder::{self, Checks, Clock, HostState, Keep, Recorder, Status};

/// How many segments a simulated connection, and how many connections a listener, can have under way.
const TCP_CAPACITY: usize = 1024;
/// How many steps the hosts have for starting.
const WARM_UP_TICKS: u32 = 4;
/// How long a call may be in flight after the last fault and the beginning of the last call, whatever the scenario
/// checks.
const LAST_CALL: Duration = Duration::from_secs(300);

/// A world that runs.
struct World<'a> {
    sim: turmoil::Sim<'a>,
    timeline: Timeline,
    plan: &'a Plan,
    scenario: &'a Scenario,
    now: Duration,
    signals: Signals,
    /// When the last fault ends and the last request is made.
    horizon: Duration,
    healed_at: Option<Duration>,
    /// When all probes worked and nothing was in flight.
    recovered_at: Option<Duration>,
}

/// Runs `plan` to its end on this thread, which must be a fresh simulation thread; returns the virtual time it took.
pub(crate) fn run(scenario: &Scenario, plan: &Plan, keep: Keep) -> Duration {
    let invariants = scenario.checks.iter().map(|new| new()).collect();
    let checks = Checks::new(invariants, scenario.eventual.iter().map(|new| new()).collect());
    let warm_up = warm_up(scenario);
    recorder::install(Recorder::new(plan, Clock::new(warm_up), checks, scenario.lines, keep));
    let mut world = World::build(scenario, plan);
    world.warm_up();
    set_up::check(warm_up);
    if recorder::with(|recorder| recorder.checks.violation().is_some()) {
        return Duration::ZERO;
    }
    let end = world.run();
    // Programs are dropped with the world. They must not write anything then, like those of a process that is killed.
    recorder::with(|recorder| recorder.hosts.all().iter().for_each(|host| host.shared.stop()));
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
        let choices = Arc::new(Choices { options: plan.options.clone(), planted: plan.planted.clone() });
        let signals = Signals::new(plan);
        for (name, program) in &scenario.hosts {
            add_host(&mut sim, name, &choices, move |host| program(host));
        }
        let of_clients = signals.clone();
        add_host(&mut sim, CLIENTS, &choices, move |host| {
            let callers = scenario.clients.iter();
            let callers = callers.map(|(name, client)| (name.clone(), client(host.clone()))).collect();
            let start = tokio::time::Instant::now() + warm_up(scenario);
            Box::pin(clients::play(callers, start, plan.clone(), of_clients.clone(), Tempo::default()))
        });
        recorder::with(|recorder| {
            recorder.set_faults(&plan.faults);
        });
        let timeline = Timeline::new(plan, scenario.recovers_within / 2);
        let (now, horizon) = (Duration::ZERO, plan.horizon());
        let (healed_at, recovered_at) = (None, None);
        Self { sim, timeline, plan, scenario, now, signals, horizon, healed_at, recovered_at }
    }

    /// Lets the hosts start before the clock does: who calls a service that does not listen yet learns nothing.
    fn warm_up(&mut self) {
        for step in 0..WARM_UP_TICKS {
            entropy::set_now(self.scenario.tick * step);
            self.step();
        }
    }

    /// Steps until all is done or a promise is broken.
    fn run(&mut self) -> Duration {
        announce(Phase::FaultsMayHappen);
        loop {
            recorder::with(|recorder| recorder.clock.start_tick(self.now));
            self.timeline.apply(&mut self.sim, self.now);
            self.note_healing();
            self.step();
            self.now += self.scenario.tick;
            self.note_leavers();
            self.end_what_never_ends();
            if self.is_broken() || self.is_over() {
                return self.now;
            }
        }
    }

    fn step(&mut self) {
        let Err(error) = self.sim.step() else { return };
        // turmoil tells of a panic as well, but not where it was.
        recorder::with(|recorder| match panics::take().first() {
            Some(panic) => recorder.host_failed("hosts do not panic", panic),
            None => recorder.host_failed("hosts do not fail", &error.to_string()),
        });
    }

    fn note_healing(&mut self) {
        if self.healed_at.is_none() && self.now >= self.horizon && self.is_quiet() {
            self.healed_at = Some(self.now);
            announce(Phase::Healed);
            self.signals.has_healed.set();
        }
    }

    /// Whether all requests were made and have ended.
    fn is_quiet(&self) -> bool {
        self.signals.requests_left() == 0 && recorder::with(|recorder| recorder.calls.is_quiet())
    }

    fn end_what_never_ends(&self) {
        let last_call = recorder::with(|recorder| recorder.calls.last_start());
        if self.now > self.horizon.max(last_call) + LAST_CALL && !self.is_quiet() {
            let detail = "one was still in flight when the rehearsal had to end";
            recorder::with(|recorder| recorder.violate("every call ends", detail));
        }
    }

    /// Whether all has healed, works again, and has come true that must.
    fn is_over(&mut self) -> bool {
        let Some(healed_at) = self.healed_at else { return false };
        let (left, bound) = (self.signals.probes_left(), self.scenario.recovers_within);
        if left > 0 && self.now > healed_at + bound {
            recorder::with(|recorder| {
                let detail = clients::still_failing(&self.plan.probes, recorder.calls.all(), bound);
                recorder.violate("after healing, calls succeed", detail);
            });
            return true;
        }
        left == 0 && self.is_quiet() && self.has_settled(healed_at)
    }

    /// Whether all eventual promises hold, or one of them is broken.
    fn has_settled(&mut self, healed_at: Duration) -> bool {
        let recovered_at = *self.recovered_at.get_or_insert_with(|| tell_that_all_has_settled(self.now));
        // Without probes nothing shows when calls work again: they are given all the time that they have for it.
        let is_probed = !self.plan.probes.is_empty();
        let since = if is_probed { recovered_at } else { healed_at + self.scenario.recovers_within };
        let missing = recorder::with(|recorder| recorder.checks.missing());
        let Some(late) = missing.iter().find(|missing| self.now > since + missing.within) else {
            return missing.is_empty();
        };
        recorder::with(|recorder| {
            // A host that has left on its own cannot do its part, so nothing is promised of it.
            if recorder.hosts.are_all_up() {
                let detail =
                    format!("{} ({} ms after calls work again)", late.detail, late.within.as_millis());
                recorder.violate(&late.promise, detail);
            }
        });
        true
    }

    /// Collects what went wrong outside the checks, and says whether the rehearsal ends here.
    fn is_broken(&self) -> bool {
        recorder::with(|recorder| {
            recorder.end_tick();
            if entropy::threads_started() > 0 {
                let detail = "a host started a thread (std::thread::spawn, or tokio's spawn_blocking), \
                    which the simulation could neither schedule nor repeat";
                recorder.violate("hosts stay on their thread", detail);
            }
            for panic in panics::take() {
                recorder.host_panicked(&panic);
            }
            recorder.checks.violation().is_some()
        })
    }

    /// A program that has returned leaves a machine on which nothing runs: its sockets are closed, and new
    /// connections refused.
    fn note_leavers(&mut self) {
        let has_left = |host: &HostState| host.status == Status::Running && host.shared.has_left();
        let leavers: Vec<_> = recorder::with(|recorder| {
            let hosts = recorder.hosts.all().iter().enumerate();
            hosts.filter(|(_, host)| has_left(host)).map(|(number, _)| number).collect()
        });
        for leaver in leavers {
            let (address, shared) = recorder::with(|recorder| {
                recorder.hosts.set_status(leaver, Status::Stopped);
                let host = recorder.hosts.get(leaver);
                (host.address, Arc::clone(&host.shared))
            });
            shared.refuse();
            self.sim.crash(address);
        }
    }
}

/// Tells the programs of all hosts; when that was.
fn tell_that_all_has_settled(now: Duration) -> Duration {
    let hosts = recorder::with(|recorder| {
        let hosts = recorder.hosts.all().iter();
        hosts.map(|host| Arc::clone(&host.shared)).collect::<Vec<_>>()
    });
    hosts.iter().for_each(|host| host.tell_that_all_has_settled());
    now
}

fn announce(phase: Phase) {
    recorder::with(|recorder| recorder.announce(What::Phase(phase)));
}

fn warm_up(scenario: &Scenario) -> Duration {
    scenario.tick * WARM_UP_TICKS
}

/// Registers a host whose program runs under the simulator's hand.
fn add_host<'a>(
    sim: &mut turmoil::Sim<'a>,
    name: &str,
    choices: &Arc<Choices>,
    program: impl Fn(HostContext) -> LocalBoxFuture<'static, HostResult> + 'a,
) {
    let name: Arc<str> = name.into();
    let shared = Arc::new(HostShared::default());
    let (its_name, its_shared, choices) = (Arc::clone(&name), Arc::clone(&shared), Arc::clone(choices));
    sim.host(&*name, move || {
        let host = HostContext::start(Arc::clone(&its_name), Arc::clone(&its_shared), Arc::clone(&choices));
        let (program, shared, name) = (program(host), Arc::clone(&its_shared), Arc::clone(&its_name));
        async move {
            if let Err(error) = shared.hold(program).await {
                // Where it panicked before, that is why.
                let (promise, why) = match panics::take().into_iter().next() {
                    Some(panic) => ("hosts do not panic", panic),
                    None => ("hosts do not fail", format!("{name}: {error}")),
                };
                recorder::with(|recorder| recorder.host_failed(promise, &why));
            }
            // turmoil forgets a host whose program returns; the simulator still has to crash and start it.
            std::future::pending().await
        }
    });
    let address = sim.lookup(&*name);
    recorder::with(|recorder| recorder.hosts.add(name, address, shared));
}
