//! A scenario: which hosts there are, who calls them, what may break, and what must hold nevertheless.

use std::any::TypeId;
use std::collections::BTreeMap;
use std::fmt;
use std::future::Future;
use std::ops::Deref;
use std::rc::Rc;
use std::sync::Arc;
use std::time::Duration;

use futures_util::FutureExt;
use futures_util::future::LocalBoxFuture;

use crate::as_process::AsProcess;
use crate::call::{CallRecord, Reply};
use crate::host::HostContext;
use crate::invariant::{Eventual, EventualPromise, Invariant};
use crate::load::Load;
use crate::mistakes;
use crate::panics;
use crate::picks::Picks;
use crate::plan::{Fault, Plan, Request};
use crate::promises::{CallCheck, SharedCallCheck};
use crate::swarm::Swarm;
use crate::tempo::Tempo;
use crate::trace::recorder::{OfLines, Written};

/// How a host's program ends: `Ok` when it was told to, else with what went wrong.
pub type HostResult = Result<(), Box<dyn std::error::Error>>;

type Program = Box<dyn Fn(HostContext) -> LocalBoxFuture<'static, HostResult> + Send + Sync>;
type Client = Box<dyn Fn(HostContext) -> Caller + Send + Sync>;
type NewCheck = Box<dyn Fn() -> Box<dyn Invariant> + Send + Sync>;
type Draws = Box<dyn Fn(&mut Picks<'_>) -> Scenario + Send + Sync>;
type NewDress = Box<dyn Fn(Tempo) -> Result<Dress, String> + Send + Sync>;
type NewEventual = Box<dyn Fn() -> EventualPromise + Send + Sync>;

/// Makes one call, and resolves to what the caller got.
pub(crate) type Caller = Rc<dyn Fn(Request) -> LocalBoxFuture<'static, Reply>>;

/// The host on which all clients run.
pub const CLIENTS: &str = "clients";

/// A world to rehearse in, described once and built anew for every seed.
pub struct Scenario {
    pub(crate) name: String,
    pub(crate) about: String,
    /// Makes the world of a plan, where that is not always this one.
    draws: Option<Draws>,
    pub(crate) hosts: Vec<(String, Program)>,
    pub(crate) clients: Vec<(String, Client)>,
    pub(crate) options: Vec<(String, Vec<String>)>,
    pub(crate) load: Load,
    pub(crate) swarm: Swarm,
    pub(crate) checks: Vec<NewCheck>,
    pub(crate) eventual: Vec<NewEventual>,
    pub(crate) lines: OfLines,
    pub(crate) recovers_within: Duration,
    pub(crate) tick: Duration,
    pub(crate) latency_max: Duration,
    pub(crate) dress: Option<NewDress>,
    /// What was found wrong with it by those who made it.
    mistake: Option<String>,
}

/// A scenario as processes.
#[derive(Debug)]
pub struct Dress {
    pub(crate) hosts: Vec<(String, AsProcess)>,
    /// Whose promises are judged.
    pub(crate) promises: Scenario,
    /// The types of facts that are told.
    pub(crate) tells: Vec<TypeId>,
    pub(crate) leaves_within: Duration,
    /// The name under which the program that rehearses is that of the hosts.
    pub(crate) stand_in: Option<String>,
}

impl Dress {
    /// Hosts that are judged by those promises of `promises` for which facts of the types `tells` are enough.
    /// Each leaves within the time of the plan `leaves_within`, when it is told to.
    #[must_use]
    pub fn new(
        hosts: Vec<(String, AsProcess)>,
        promises: Scenario,
        tells: Vec<TypeId>,
        leaves_within: Duration,
    ) -> Self {
        Self { hosts, promises, tells, leaves_within, stand_in: None }
    }

    /// Runs the program that rehearses, started under the name `name`.
    #[must_use]
    pub fn by_this_program(self, name: &str) -> Self {
        Self { stand_in: Some(name.to_owned()), ..self }
    }
}

impl Scenario {
    /// A world in which `load` is put on, and `swarm` says what may break.
    #[must_use]
    pub fn new(name: &str, about: &str, load: Load, swarm: Swarm) -> Self {
        Self {
            name: name.to_owned(),
            about: about.to_owned(),
            draws: None,
            hosts: Vec::new(),
            clients: Vec::new(),
            options: Vec::new(),
            load,
            swarm,
            checks: Vec::new(),
            eventual: Vec::new(),
            lines: OfLines::default(),
            recovers_within: Duration::from_secs(5),
            tick: Duration::from_millis(1),
            latency_max: Duration::from_millis(5),
            dress: None,
            mistake: None,
        }
    }

    /// A world without hosts, clients and calls: a place for promises, or for a mistake.
    #[must_use]
    pub fn named(name: &str, about: &str) -> Self {
        let no_load = Load::new(0..=0, Duration::ZERO, Duration::ZERO..=Duration::ZERO);
        Self::new(name, about, no_load, Swarm::calm())
    }

    /// Many worlds: `world` makes the one of each plan, of what the plan's seed picks.
    #[must_use]
    pub fn drawn<W>(
        name: &str,
        about: &str,
        world: impl Fn(&mut Picks<'_>) -> W + Send + Sync + 'static,
    ) -> Self
    where
        W: Into<Self>,
    {
        let draws: Draws = Box::new(move |picks| world(picks).into());
        Self { draws: Some(draws), ..Self::named(name, about) }
    }

    /// Adds a host and the program it runs each time it is started. Local tasks die with the program.
    #[must_use]
    pub fn host<F, Fut>(mut self, name: &str, program: F) -> Self
    where
        F: Fn(HostContext) -> Fut + Send + Sync + 'static,
        Fut: Future<Output = HostResult> + 'static,
    {
        self.hosts.push((name.to_owned(), Box::new(move |host| program(host).boxed_local())));
        self
    }

    /// Adds a client: `connect` makes, once, the function that makes each of its calls.
    ///
    /// All clients share the host [`CLIENTS`], so that links to it are links to all of them.
    #[must_use]
    pub fn client<F, C, Fut>(mut self, name: &str, connect: F) -> Self
    where
        F: Fn(HostContext) -> C + Send + Sync + 'static,
        C: Fn(Request) -> Fut + 'static,
        Fut: Future<Output = Reply> + 'static,
    {
        let client = move |host| -> Caller {
            let call = connect(host);
            Rc::new(move |request| call(request).boxed_local())
        };
        self.clients.push((name.to_owned(), Box::new(client)));
        self
    }

    /// Adds an option of which each seed picks one choice; hosts read it by [`HostContext::option`].
    #[must_use]
    pub fn option(mut self, name: &str, choices: &[&str]) -> Self {
        self.options.push((name.to_owned(), choices.iter().map(|choice| (*choice).to_owned()).collect()));
        self
    }

    /// Adds a check; `new` makes it for each rehearsal.
    #[must_use]
    pub fn invariant<I, F>(mut self, new: F) -> Self
    where
        I: Invariant + 'static,
        F: Fn() -> I + Send + Sync + 'static,
    {
        self.checks.push(Box::new(move || Box::new(new())));
        self
    }

    /// Adds a promise about single calls, checked as each ends.
    #[must_use]
    pub fn every_call<F>(mut self, promise: &str, check: F) -> Self
    where
        F: Fn(&CallRecord) -> Result<(), String> + Send + Sync + 'static,
    {
        let (promise, check) = (promise.to_owned(), Arc::new(check));
        self.checks.push(Box::new(move || {
            let (promise, check) = (promise.clone(), Arc::clone(&check) as SharedCallCheck);
            Box::new(CallCheck { promise, check, met: 0 })
        }));
        self
    }

    /// Adds a promise that must come true in the end; `new` makes its check for each rehearsal.
    ///
    /// When all faults have healed, the probes work and nothing is in flight, the world goes on until the promise
    /// holds. If it does not hold `within` that time, it is broken. A plan whose probes were shrunk away gives its
    /// calls the whole of [`Self::recovers_within`] before that time begins.
    #[must_use]
    pub fn eventually<E, F>(mut self, promise: &str, new: F, within: Duration) -> Self
    where
        E: Eventual + 'static,
        F: Fn() -> E + Send + Sync + 'static,
    {
        let promise = promise.to_owned();
        self.eventual.push(Box::new(move || EventualPromise {
            promise: promise.clone(),
            within,
            check: Box::new(new()),
        }));
        self
    }

    /// Says how to find out which call a program handles as it logs a line: `Some` with its request id, or with an
    /// empty text if it has lost that, and `None` where no call is handled. A line without a field `request_id` of
    /// its own gets this id.
    #[must_use]
    pub fn request_id_of_line(mut self, of_line: fn() -> Option<String>) -> Self {
        self.lines.request_id = Some(of_line);
        self
    }

    /// Says how to find out what a line is in the log of its program: `written` is asked with the name of the host and the
    /// event, and gives nothing where that is not logged. Checks see it as [`Line::written`](crate::Line::written). It is
    /// no part of traces.
    #[must_use]
    pub fn line_as_written(mut self, written: Written) -> Self {
        self.lines.written = Some(written);
        self
    }

    /// Within this time after the last fault has healed, every sort of call must work again; 5 s at first.
    #[must_use]
    pub fn recovers_within(mut self, bound: Duration) -> Self {
        self.recovers_within = bound;
        self
    }

    /// Says how the hosts are played as processes of their own, at a tempo; or why they cannot be.
    #[must_use]
    pub fn dressed(mut self, dress: impl Fn(Tempo) -> Result<Dress, String> + Send + Sync + 'static) -> Self {
        self.dress = Some(Box::new(dress));
        self
    }

    /// The step of the simulated network, in whole milliseconds; 1 ms at first.
    ///
    /// Timers are exact to the millisecond whatever the tick, but a segment takes at least until the next tick. A
    /// longer tick is less work for each simulated second.
    #[must_use]
    pub fn tick(mut self, tick: Duration) -> Self {
        self.tick = tick;
        self
    }

    /// The longest time a segment may take over a healthy link; 5 ms at first.
    #[must_use]
    pub fn latency_max(mut self, latency: Duration) -> Self {
        self.latency_max = latency;
        self
    }

    /// Says what is wrong with it: that is told in place of playing it, as a mistake in the set-up. The first that is said
    /// counts.
    #[must_use]
    pub fn mistake(mut self, mistake: impl Into<String>) -> Self {
        self.mistake.get_or_insert_with(|| mistake.into());
        self
    }

    /// What is wrong with it, whatever is drawn.
    pub(crate) fn wrong(&self) -> Option<String> {
        let mut hosts: Vec<_> = vec![CLIENTS];
        hosts.extend(self.hosts.iter().map(|(host, _)| host.as_str()));
        (self.mistake.clone())
            .or_else(|| mistakes::of_names(&hosts))
            .or_else(|| mistakes::of_options(&self.options))
            .or_else(|| mistakes::of_tick(self.tick))
            .or_else(|| self.load.mistake())
            .or_else(|| self.swarm.mistake(&hosts))
    }

    /// The world that follows from these picks.
    pub(crate) fn world(&self, picks: &mut Picks<'_>) -> World<'_> {
        match &self.draws {
            Some(draws) => {
                let drawn = panics::caught(|| draws(picks));
                let mistaken =
                    |panic| Self::named(&self.name, "").mistake(format!("no world can be made: {panic}"));
                World::Drawn(Box::new(drawn.unwrap_or_else(mistaken)))
            }
            None => World::Only(self),
        }
    }

    /// The world that a plan with these options plays in.
    ///
    /// # Errors
    /// When there is none with such an option.
    pub(crate) fn world_of(&self, options: &BTreeMap<String, String>) -> Result<World<'_>, String> {
        let mut picks = Picks::of_plan(options);
        let world = self.world(&mut picks);
        picks.end().map(|_| world)
    }

    /// The world that `plan` plays in. It may be wrong itself, whatever the plan.
    ///
    /// # Errors
    /// When there is none that the plan fits.
    pub(crate) fn world_for(&self, plan: &Plan) -> Result<World<'_>, String> {
        let world = self.world_of(&plan.options)?;
        if world.wrong().is_some() {
            return Ok(world);
        }
        world.check(plan).map(|()| world)
    }

    /// Whether all hosts and clients that `plan` names are in this scenario.
    ///
    /// # Errors
    /// When one is not; the error names it.
    fn check(&self, plan: &Plan) -> Result<(), String> {
        if let Some(name) = plan.faults.iter().find_map(|fault| self.missing_host(fault)) {
            return Err(format!("a fault names the host {name:?}, which {} has not", self.name));
        }
        let is_client = |name: &str| self.clients.iter().any(|(client, _)| client == name);
        let mut clients = plan.requests.iter().chain(&plan.probes).map(|request| &request.client);
        match clients.find(|client| !is_client(client)) {
            Some(name) => Err(format!("a request names the client {name:?}, which {} has not", self.name)),
            None => Ok(()),
        }
    }

    /// Whether this world has the hosts of `fault`.
    pub(crate) fn has_hosts_of(&self, fault: &Fault) -> bool {
        self.missing_host(fault).is_none()
    }

    fn missing_host<'f>(&self, fault: &'f Fault) -> Option<&'f str> {
        let is_host = |name: &str| name == CLIENTS || self.hosts.iter().any(|(host, _)| host == name);
        let (a, b) = fault.what.hosts();
        [Some(a), b].into_iter().flatten().find(|name| !is_host(name))
    }

    /// Its name, as the runner lists it.
    #[must_use]
    pub fn name(&self) -> &str {
        &self.name
    }

    /// What it is about, in a sentence.
    #[must_use]
    pub fn about(&self) -> &str {
        &self.about
    }
}

/// One world of a scenario: without picks of its own.
pub(crate) enum World<'a> {
    /// There is no other.
    Only(&'a Scenario),
    /// It was made for a plan.
    Drawn(Box<Scenario>),
}

impl World<'_> {
    /// A mistake in it, with the seed that picks it if another one picks another world.
    pub(crate) fn told(&self, mistake: String, seed: u64) -> String {
        match self {
            Self::Only(_) => mistake,
            Self::Drawn(_) => format!("{mistake} (in the world that seed {seed} picks)"),
        }
    }
}

impl Deref for World<'_> {
    type Target = Scenario;

    fn deref(&self) -> &Scenario {
        match self {
            Self::Only(world) => world,
            Self::Drawn(world) => world,
        }
    }
}

impl fmt::Debug for Scenario {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Scenario").field("name", &self.name).finish_non_exhaustive()
    }
}
