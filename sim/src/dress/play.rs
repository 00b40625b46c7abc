//! Plays a plan on processes, in real time: starts them, lets the clients call, makes the faults happen, and sees that
//! all works again, comes to rest and leaves in good order.

use std::future::Future;
use std::pin::pin;
use std::rc::Rc;
use std::sync::Arc;
use std::time::{Duration, SystemTime};

use tokio::task::LocalSet;
use tokio::time::{Instant, sleep, timeout};

use super::faults::Timeline;
use super::hosts::{ENDS_WELL, Hosts, Inputs};
use super::judge::Judge;
use super::links::Links;
use super::net::ToProcesses;
use crate::clients::{self, Signals};
use crate::entropy::mix;
use crate::host::process::HostShared;
use crate::host::{Choices, HostContext};
use crate::scenario::Dress;
use crate::scenario::{CLIENTS, Scenario};
use crate::trace::event::{Phase, What};
use crate::trace::recorder::{self, Checks, Clock, Keep, Recorder};

/// How often is looked what is due.
const STEP: Duration = Duration::from_millis(4);
/// How long processes have for starting.
const START: Duration = Duration::from_secs(30);
/// How long a call may be in flight after the last fault and the beginning of the last call, in the plan's time.
const LAST_CALL: Duration = Duration::from_secs(60);
/// How long the last lines take to come.
const LAST_LINES: Duration = Duration::from_millis(100);
/// How often processes are asked what they hold.
const OBSERVE: Duration = Duration::from_millis(100);

/// A play that goes on.
struct Play<'a> {
    scenario: &'a Scenario,
    dress: &'a Dress,
    inputs: Inputs<'a>,
    hosts: Hosts<'a>,
    timeline: Timeline,
    signals: Signals,
    outside: HostContext,
    horizon: Duration,
    healed_at: Option<Duration>,
}

/// Puts a recorder of `plan` on this thread, which asks no check.
pub(super) fn install_recorder(scenario: &Scenario, inputs: Inputs<'_>) {
    let (checks, clock) = (Checks::new(Vec::new(), Vec::new()), Clock::real(inputs.tempo.stretch()));
    let mut recorder = Recorder::new(inputs.plan, clock, checks, scenario.lines, Keep::Trace);
    for name in inputs.hosts.iter().map(|(name, _)| name.as_str()).chain([CLIENTS]) {
        let address = std::net::Ipv4Addr::LOCALHOST.into();
        recorder.hosts.add(name.into(), address, Arc::new(HostShared::default()));
    }
    recorder.set_faults(&inputs.plan.faults);
    recorder::install(recorder);
}

/// Plays the plan of `inputs` to its end, and judges it.
pub(super) async fn run(scenario: &Scenario, dress: &Dress, inputs: Inputs<'_>, judge: &mut Judge) {
    let links = Rc::new(Links::new(&inputs.plan.network, mix(inputs.plan.seed), inputs.tempo));
    let hosts = match Hosts::reserve(inputs, &links) {
        Ok(hosts) => hosts,
        Err(error) => return reject(format!("this machine has no ports: {error}")),
    };
    let choices = Choices { options: inputs.plan.options.clone(), planted: inputs.plan.planted.clone() };
    let net = Arc::new(ToProcesses(hosts.of_clients()));
    let outside = HostContext::outside(CLIENTS, Arc::new(choices), net);
    let timeline = Timeline::new(inputs.plan, scenario.recovers_within / 2, inputs.tempo);
    let (signals, horizon) = (Signals::new(inputs.plan), inputs.plan.horizon());
    let mut play =
        Play { scenario, dress, inputs, hosts, timeline, signals, outside, horizon, healed_at: None };
    play.start().await;
    if !is_broken() {
        play.until_recovered().await;
    }
    sleep(LAST_LINES).await;
    recorder::with(|recorder| judge.hear_all(recorder, inputs.tempo.slack()));
    if !is_broken() && judge.checks.violation().is_none() {
        play.until_settled(judge).await;
    }
    if !is_broken() && judge.checks.violation().is_none() {
        play.until_left().await;
        recorder::with(|recorder| judge.hear_more(recorder));
    }
}

impl Play<'_> {
    /// Starts all processes, and then the clock and the clients.
    async fn start(&mut self) {
        self.hosts.start_all();
        let all_listen = async {
            while !self.hosts.all_listen() && !is_broken() {
                sleep(STEP).await;
                self.hosts.note_ended();
            }
        };
        if timeout(START, all_listen).await.is_err() {
            let within = START.as_secs();
            return reject(format!("not all processes said within {within} s where they listen"));
        }
        let now = Instant::now();
        recorder::with(|recorder| recorder.clock.begin(now));
        self.hosts.begin(wall_clock());
        announce(Phase::FaultsMayHappen);
        let callers = self.scenario.clients.iter();
        let callers = callers.map(|(name, client)| (name.clone(), client(self.outside.clone()))).collect();
        let (plan, signals, tempo) = (self.inputs.plan.clone(), self.signals.clone(), self.inputs.tempo);
        let clients = clients::play(callers, now, plan, signals, tempo);
        let number = self.inputs.hosts.len();
        tokio::task::spawn_local(as_host(number, async move {
            if let Err(error) = clients.await {
                recorder::with(|recorder| recorder.violate("clients do not fail", error.to_string()));
            }
        }));
    }

    /// Goes on until every sort of call works again after the last fault, or something is broken.
    async fn until_recovered(&mut self) {
        let slack = self.inputs.tempo.slack();
        loop {
            sleep(STEP).await;
            let now = recorder::with(|recorder| recorder.now());
            self.timeline.apply(&self.hosts, now);
            self.hosts.note_ended();
            self.note_healing(now);
            let (left, bound) = (self.signals.probes_left(), self.scenario.recovers_within + slack);
            match self.healed_at {
                Some(_) if left == 0 && self.is_quiet() => return,
                Some(healed_at) if now > healed_at + bound => {
                    let probes = &self.inputs.plan.probes;
                    let detail = recorder::with(|recorder| {
                        clients::still_failing(probes, recorder.calls.all(), bound)
                    });
                    return violate("after healing, calls succeed", detail);
                }
                None if now > self.horizon + LAST_CALL && !self.is_quiet() => {
                    return violate(
                        "every call ends",
                        "one was in flight when the play had to end".to_owned(),
                    );
                }
                None if now > self.horizon + LAST_CALL => {
                    return violate(
                        "every process starts again",
                        "one did not say that it listens".to_owned(),
                    );
                }
                _ if is_broken() => return,
                _ => {}
            }
        }
    }

    fn note_healing(&mut self, now: Duration) {
        let is_over = self.healed_at.is_none() && now >= self.horizon && self.timeline.is_over();
        if is_over && self.is_quiet() && self.hosts.all_listen() {
            self.healed_at = Some(now);
            announce(Phase::Healed);
            self.signals.has_healed.set();
        }
    }

    /// Whether all requests were made and have ended.
    fn is_quiet(&self) -> bool {
        self.signals.requests_left() == 0 && recorder::with(|recorder| recorder.calls.is_quiet())
    }

    /// Goes on until all promises hold that must come true in the end.
    async fn until_settled(&self, judge: &mut Judge) {
        let since = recorder::with(|recorder| recorder.now());
        while !is_broken() {
            self.observe_all().await;
            self.hosts.note_ended();
            recorder::with(|recorder| judge.hear_more(recorder));
            let (missing, now) = (judge.missing(), recorder::with(|recorder| recorder.now()));
            let slack = self.inputs.tempo.slack();
            if let Some(late) = missing.iter().find(|missing| now > since + missing.within + slack) {
                let within = late.within.as_millis();
                return violate(
                    &late.promise,
                    format!("{} ({within} ms after calls work again)", late.detail),
                );
            }
            if missing.is_empty() {
                return;
            }
            sleep(OBSERVE).await;
        }
    }

    async fn observe_all(&self) {
        for (host, (name, process)) in self.inputs.hosts.iter().enumerate() {
            match (process.observes)(self.outside.clone()).await {
                Ok(fact) => recorder::with(|recorder| {
                    let now = recorder.now();
                    recorder.told_of(host, now, |recorder| recorder.tell(fact, None));
                }),
                Err(error) => violate("what a process holds can be read", format!("{name}: {error}")),
            }
        }
    }

    /// Tells all processes to leave, and sees that they do.
    async fn until_left(&self) {
        self.hosts.tell_all_to_leave();
        let within = self.inputs.tempo.stretched(self.dress.leaves_within + self.inputs.tempo.slack());
        let all_left = async {
            while !self.hosts.all_have_left() {
                sleep(STEP).await;
                self.hosts.note_ended();
            }
        };
        if timeout(within, all_left).await.is_err() {
            let detail = format!("one had not left {} ms after it was told to", within.as_millis());
            violate(ENDS_WELL, detail);
        }
        sleep(LAST_LINES).await;
    }
}

/// Runs `work`, with all local tasks that it spawns, as what happens on a host.
async fn as_host(number: usize, work: impl Future<Output = ()>) {
    let tasks = LocalSet::new();
    let mut running = pin!(tasks.run_until(work));
    std::future::poll_fn(|context| {
        recorder::with(|recorder| recorder.enter(Some(number)));
        let polled = running.as_mut().poll(context);
        recorder::with(|recorder| recorder.enter(None));
        polled
    })
    .await;
}

fn announce(phase: Phase) {
    recorder::with(|recorder| recorder.announce(What::Phase(phase)));
}

fn violate(promise: &str, detail: String) {
    recorder::with(|recorder| recorder.violate(promise, detail));
}

fn reject(detail: String) {
    recorder::with(|recorder| {
        let now = recorder.now();
        recorder.checks.reject_set_up(detail, now);
    });
}

fn is_broken() -> bool {
    recorder::with(|recorder| recorder.checks.violation().is_some())
}

#[expect(clippy::disallowed_methods, reason = "processes tell the time by the wall clock")]
fn wall_clock() -> SystemTime {
    SystemTime::now()
}
