//! A scenario: which nodes there are, who calls them, what may break, and what must hold nevertheless.

use std::any::{Any, TypeId};
use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use node::App;
use sim::{CallRecord, Event, Invariant};

use crate::clients::is_beside;
use crate::fold::{Eventually, Fold, Step};
use crate::foreign::Foreign;
use crate::host::Host;
use crate::load::Load;
use crate::nodes::{Make, Node};
use crate::promises::OfCalls;
use crate::setting::Setting;
use crate::swarm::Swarm;

/// How long an eventual promise may take to come true, once everything has healed.
const EVENTUALLY: Duration = Duration::from_secs(30);

/// The flags of all nodes: faults last for a second here, not for minutes.
const FLAGS: &[&str] =
    &["--deadline", "500ms", "--drain-timeout", "5s", "--keepalive", "200ms", "--greeting-timeout", "100ms"];

/// A world of nodes to rehearse in, described once and built anew for every seed.
pub struct Scenario {
    pub(crate) name: String,
    pub(crate) about: String,
    pub(crate) load: Load,
    pub(crate) swarm: Swarm,
    pub(crate) nodes: Vec<Node>,
    pub(crate) foreign: Vec<(String, Arc<Foreign>)>,
    pub(crate) options: Vec<(String, Vec<String>)>,
    pub(crate) flags: Vec<String>,
    pub(crate) workers: u16,
    pub(crate) tick: Duration,
    pub(crate) latency_max: Duration,
    pub(crate) recovers_within: Duration,
    pub(crate) sync: Duration,
    /// How often nodes tell what they hold while calls are made, if they do.
    pub(crate) gauges_every: Option<Duration>,
    /// Whether each line is shown as its node writes it.
    pub(crate) writes_logs: bool,
    /// The name under which the program that rehearses is that of its nodes, and the flags that it takes besides.
    pub(crate) stand_in: Option<(String, Vec<String>)>,
    pub(crate) checks: Vec<Check>,
    /// What is wrong with it.
    pub(crate) mistake: Option<String>,
    /// What was given to [`Scenario::fold`], by the type of its state.
    folds: Vec<(TypeId, Box<dyn Any>)>,
}

/// Adds a check to a scenario whose setting is known.
pub(crate) type Check = Box<dyn Fn(sim::Scenario, &Arc<Setting>) -> sim::Scenario + Send + Sync>;

impl Scenario {
    /// A world in which `load` is put on, and `swarm` says what may break.
    #[must_use]
    pub fn new(name: &str, about: &str, load: Load, swarm: Swarm) -> Self {
        Self {
            name: name.to_owned(),
            about: about.to_owned(),
            load,
            swarm,
            nodes: Vec::new(),
            foreign: Vec::new(),
            options: Vec::new(),
            flags: FLAGS.iter().map(|flag| (*flag).to_owned()).collect(),
            workers: 2,
            tick: Duration::from_millis(10),
            latency_max: Duration::from_millis(12),
            recovers_within: Duration::from_secs(5),
            sync: Duration::ZERO,
            gauges_every: None,
            writes_logs: false,
            stand_in: None,
            checks: Vec::new(),
            mistake: None,
            folds: Vec::new(),
        }
    }

    /// Adds a host for each of these services, of its name, which runs that service of the app.
    #[must_use]
    pub fn nodes(mut self, services: &[&str], app: impl Fn(&Host) -> App + Send + Sync + 'static) -> Self {
        let make: Make = Arc::new(app);
        let node = |service: &&str| Node {
            host: (*service).to_owned(),
            services: vec![(*service).to_owned()],
            make: Arc::clone(&make),
            by_names: false,
        };
        self.nodes.extend(services.iter().map(node));
        self
    }

    /// Adds a host which runs these services of the app: a replica, or one for several services. Where a service has
    /// several hosts, the seed chooses which of them each caller asks first.
    #[must_use]
    pub fn node(
        mut self,
        host: &str,
        services: &[&str],
        app: impl Fn(&Host) -> App + Send + Sync + 'static,
    ) -> Self {
        let services = services.iter().map(|service| (*service).to_owned()).collect();
        self.nodes.push(Node { host: host.to_owned(), services, make: Arc::new(app), by_names: false });
        self
    }

    /// Lets the nodes that were added so far know services by names, which lead to their hosts: to all but those on which
    /// [`Family::Unlisted`](crate::Family::Unlisted) is in force. While [`Family::SilentName`](crate::Family::SilentName) is on
    /// any of them, a name says nothing.
    #[must_use]
    pub fn by_names(mut self) -> Self {
        self.nodes.iter_mut().for_each(|node| node.by_names = true);
        self
    }

    /// Adds a host which is no node, but another server that speaks gRPC. Faults happen on it where the swarm names it.
    #[must_use]
    pub fn foreign(mut self, host: &str, server: Foreign) -> Self {
        self.foreign.push((host.to_owned(), Arc::new(server)));
        self
    }

    /// Adds an option of which each seed picks one choice; apps read it by [`Host::option`].
    #[must_use]
    pub fn option(mut self, name: &str, choices: &[&str]) -> Self {
        self.options.push((name.to_owned(), choices.iter().map(|choice| (*choice).to_owned()).collect()));
        self
    }

    /// Gives all nodes these flags, in place of those that they have of the same name. Rehearsed nodes have
    /// `--deadline 500ms --drain-timeout 5s --keepalive 200ms --greeting-timeout 100ms`. What says where what is (`--http`,
    /// `--grpc`, `--services`, `--peer`, `--workers`) follows from the scenario.
    #[must_use]
    pub fn flags(mut self, flags: &[&str]) -> Self {
        for flag in flags.iter().filter(|flag| flag.starts_with("--")) {
            if let Some(at) = self.flags.iter().position(|known| known == flag) {
                let values = self.flags[at + 1..].iter().take_while(|word| !word.starts_with("--")).count();
                self.flags.drain(at..=at + values);
            }
        }
        self.flags.extend(flags.iter().map(|flag| (*flag).to_owned()));
        self
    }

    /// Gives each node so many workers; 2 at first.
    #[must_use]
    pub fn workers(self, workers: u16) -> Self {
        Self { workers, ..self }
    }

    /// Where hosts are processes, runs the program that rehearses in place of the one that the runner names, under the name
    /// `name` and with these flags besides: for apps that no other program has. Its `main` has to look under which name
    /// it was started (the first of `std::env::args`), and to be [`node::main`] then.
    #[must_use]
    pub fn stand_in(self, name: &str, flags: &[&str]) -> Self {
        let flags = flags.iter().map(|flag| (*flag).to_owned()).collect();
        Self { stand_in: Some((name.to_owned(), flags)), ..self }
    }

    /// The step of the simulated network, in whole milliseconds; 10 ms at first. A segment takes at least until the
    /// next tick. A longer tick is less work for each simulated second.
    #[must_use]
    pub fn tick(self, tick: Duration) -> Self {
        Self { tick, ..self }
    }

    /// The longest time a segment may take over a healthy link; 12 ms at first.
    #[must_use]
    pub fn latency_max(self, latency_max: Duration) -> Self {
        Self { latency_max, ..self }
    }

    /// Within this time after the last fault has healed, every sort of call must work again; 5 s at first.
    #[must_use]
    pub fn recovers_within(self, recovers_within: Duration) -> Self {
        Self { recovers_within, ..self }
    }

    /// How long a sync of the disk takes that nodes keep idempotency keys on (`--idempotency-store`): no time at first. What
    /// was written and is not synced yet may be lost with the power in that time.
    #[must_use]
    pub fn sync_takes(self, sync: Duration) -> Self {
        Self { sync, ..self }
    }

    /// Has nodes tell what they hold ([`facts::GaugesRead`](crate::facts::GaugesRead)) every so often from their start on, and
    /// not only when nothing is asked any more. It takes time: once in some dozens of ticks is enough.
    #[must_use]
    pub fn gauges_every(self, pause: Duration) -> Self {
        Self { gauges_every: Some(pause), ..self }
    }

    /// Has nodes show each line of their logs as they write it ([`Line::written`](sim::Line::written)), by `--log` and
    /// `--log-format`. It takes some microseconds for each line.
    #[must_use]
    pub fn writes_logs(self) -> Self {
        Self { writes_logs: true, ..self }
    }

    /// Adds promises about calls: [`promises::of_calls`](crate::promises::of_calls).
    #[must_use]
    pub fn promises(mut self, promises: OfCalls) -> Self {
        self.checks.push(Box::new(move |scenario, setting| promises.add_to(scenario, setting)));
        self
    }

    /// Adds a check; `new` makes it for each rehearsal.
    #[must_use]
    pub fn invariant<I: Invariant + 'static>(mut self, new: impl Fn() -> I + Send + Sync + 'static) -> Self {
        let new = Arc::new(new);
        self.checks.push(Box::new(move |scenario, _| {
            let new = Arc::clone(&new);
            scenario.invariant(move || new())
        }));
        self
    }

    /// Adds a promise about single calls of the load, checked as each ends.
    #[must_use]
    pub fn every_call(
        mut self,
        promise: &str,
        check: impl Fn(&CallRecord) -> Result<(), String> + Send + Sync + 'static,
    ) -> Self {
        let promise = promise.to_owned();
        let check = Arc::new(check);
        self.checks.push(Box::new(move |scenario, _| {
            let check = Arc::clone(&check);
            let check = move |call: &CallRecord| if is_beside(&call.request) { Ok(()) } else { check(call) };
            scenario.every_call(&promise, check)
        }));
        self
    }

    /// Adds a promise about the domain: `step` folds each event into a state, and says when that breaks the promise.
    ///
    /// It is shown every event, and asks those for what concerns it: [`Event::text`], [`Event::number`],
    /// [`Event::field`], [`Event::says`], [`Event::told`]. It has judged those that had an answer. Where none had one in a whole
    /// run of the suite, the promise is reported as vacuous, and the suite fails. It fails, too, where a field is asked for of
    /// nothing but lines whose words were asked for before (`event.says("sold") && event.number("cents") > ..`), and those
    /// lines have no such field, or none of that type: its name is wrong. Any other question without an answer is told as
    /// a note, for it may be about what is rare: no run can tell rare words from misspelt ones. A step that asks none of
    /// these, but looks into [`Event::line`] or [`Event::what`] itself, counts as having judged all that services say.
    #[must_use]
    pub fn fold<S, F>(mut self, promise: &str, step: F) -> Self
    where
        S: Default + 'static,
        F: Fn(&mut S, &Event) -> Result<(), String> + Send + Sync + 'static,
    {
        let (promise, step): (Arc<str>, Arc<Step<S>>) = (promise.into(), Arc::new(step));
        self.folds.push((TypeId::of::<S>(), Box::new(Arc::clone(&step))));
        self.checks.push(Box::new(move |scenario, _| {
            let (promise, step) = (Arc::clone(&promise), Arc::clone(&step));
            scenario.invariant(move || Fold::new(&promise, &step))
        }));
        self
    }

    /// Adds a promise about the state of the last [`fold`](Self::fold) of this type: it must come true once
    /// everything has healed and nothing is in flight. Where it does not, the state is told. It is vacuous where the fold
    /// is. Without such a fold before, the scenario is told to be set up wrongly.
    #[must_use]
    pub fn eventually<S, F>(mut self, promise: &str, holds: F) -> Self
    where
        S: Default + fmt::Debug + 'static,
        F: Fn(&S) -> bool + Send + Sync + 'static,
    {
        let fold = self.folds.iter().rev().find(|(state, _)| *state == TypeId::of::<S>());
        let step = fold.and_then(|(_, step)| step.downcast_ref::<Arc<Step<S>>>()).cloned();
        let Some(step) = step else {
            let state = std::any::type_name::<S>();
            let expected = "expected .fold(..) with such a state before";
            let mistake = || format!("{promise:?} is about the state of a fold, a {state}: {expected}");
            self.mistake.get_or_insert_with(mistake);
            return self;
        };
        let (promise, holds) = (promise.to_owned(), Arc::new(holds));
        self.checks.push(Box::new(move |scenario, _| {
            let (step, holds) = (Arc::clone(&step), Arc::clone(&holds));
            let new = move || Eventually::new(&step, Arc::clone(&holds));
            scenario.eventually(&promise, new, EVENTUALLY)
        }));
        self
    }
}

impl fmt::Debug for Scenario {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Scenario")
            .field("name", &self.name)
            .field("nodes", &self.nodes)
            .finish_non_exhaustive()
    }
}
