//! Rehearsals of what holds calls back: a breaker, where a service fails as a whole, and a limit of calls in flight that
//! follows the callee.

use std::ops::Range;
use std::time::Duration;

use protos::app::grpc::service2::SayHello;
use rehearse::facts::{CallMade, CallOutcome, GaugesRead, HandlerEnded, Outcome};
use rehearse::{
    Code, Event, Expect, Failed, Family, Invariant, Load, Ms as _, Picks, Scenario, Swarm, Wants, drawn,
    promises,
};
use transport::Method as _;
use transport::gauges::Gauge;
use transport::status::code_name;

use crate::greetings::greetings;
use crate::probing::GoesOutInTime;
use crate::window::OpensByShare;
use crate::{checks, foreign, scenarios};

/// The longest wait of a breaker, and time for the backoff of connections to end that grew meanwhile.
const RECOVERS_WITHIN: Duration = Duration::from_secs(20);

/// The limit that an adaptive one begins with.
const FIRST_LIMIT: usize = 20;

/// The scenario of a service that fails as a whole, again and again.
pub(crate) fn breakers() -> sim::Scenario {
    drawn(
        "breakers",
        "the only host of service1 fails: service2 leaves it alone until it works again",
        broken,
    )
}

fn broken(picks: &mut Picks<'_>) -> Scenario {
    let breaker = picks.pick("breaker", &["2", "1", "4", "20%"]);
    let attempts = picks.pick("attempts", &[1, 3]);
    let limit = picks.pick("max-in-flight", &["none", "adaptive"]);
    // Of a share nobody counts in a row. Calls that come together, and a quarter of a minute later again, tell whether it is one of
    // the last ten seconds.
    let share = breaker.strip_suffix('%').and_then(|percent| percent.parse().ok());
    let most = breaker.parse().unwrap_or(usize::MAX);
    let is_in_bursts = share.is_some() && picks.pick("calls", &["all the time", "in bursts"]) == "in bursts";
    let (calls, over, bursts, faults) =
        if is_in_bursts { (120, 36_000, 3, 28_000) } else { (100, 10_000, 1, 8000) };
    let policy = format!("breaker={breaker};attempts={attempts};max-in-flight={limit}");
    let swarm =
        Swarm::new(1..=4, faults.ms(), 200.ms()..=3000.ms()).link("service2", "service1").host("service1");
    let swarm = swarm.only(&[
        Family::Partition,
        Family::Hold,
        Family::SlowLink,
        Family::PowerLoss,
        Family::Kill,
        Family::Drain,
        Family::SlowHandler,
        Family::FullService,
        Family::PanickingHandler,
    ]);
    // A limit that has shrunk holds back what would be too much.
    let right = match limit {
        "adaptive" => Expect::ok().or(Code::ResourceExhausted),
        _ => Expect::ok(),
    };
    let load = greetings(Load::new(calls, over.ms(), 300.ms()..=1000.ms()).bursts(bursts), right);
    let scenario = Scenario::new("breakers", "", load, swarm)
        .nodes(&["service2", "service1"], scenarios::app)
        .workers(1)
        .flags(&["--policy", &policy])
        .recovers_within(RECOVERS_WITHIN)
        .promises(promises::of_calls())
        .every_call("every reply belongs to its request", checks::right_value)
        .invariant(move || OpensInTime { most, calls: Vec::new(), met: 0 })
        .invariant(move || GoesOutInTime::new(limit == "none"))
        .fold("when all has healed, no breaker is open", |_: &mut (), event| all_are_closed(event));
    match share {
        Some(share) => scenario.invariant(move || OpensByShare::new(share)),
        None => scenario,
    }
}

/// While a breaker is closed fewer calls have failed in a row than it says.
#[derive(Debug)]
struct OpensInTime {
    most: usize,
    /// The calls that went out since the breaker last changed, without those that were answered, and those before them.
    calls: Vec<CallOut>,
    met: u64,
}

/// A call that is out, or has failed.
#[derive(Debug)]
struct CallOut {
    request: u32,
    has_failed: bool,
    has_ended: bool,
}

impl OpensInTime {
    /// Another attempt of a call means that it is not given up. None is made of one that a breaker has let out before.
    fn made(&mut self, request: u32, attempt: u32) {
        if attempt == 0 {
            self.calls.push(CallOut { request, has_failed: false, has_ended: false });
        }
        let again = self.calls.iter_mut().filter(|call| call.request == request);
        again.for_each(|call| call.has_failed = false);
    }

    fn came_to(&mut self, request: u32, outcome: Outcome) {
        match outcome {
            Outcome::Lost
            | Outcome::Said(Code::Unavailable | Code::Internal | Code::Unknown | Code::DataLoss) => {
                let failed = self.calls.iter_mut().filter(|call| call.request == request);
                failed.for_each(|call| call.has_failed = true);
            }
            Outcome::Ok | Outcome::Said(_) => self.calls.retain(|call| !call.has_failed),
            // Whether these count, the breaker alone knows.
            Outcome::NotSent | Outcome::Late | Outcome::Dropped => {}
        }
    }

    /// Each request makes one call, which ends with its handler.
    fn ended(&mut self, event: &Event, request: u32) -> Result<(), String> {
        self.met += 1;
        self.calls.retain(|call| call.request != request || call.has_failed);
        let ended = self.calls.iter_mut().filter(|call| call.request == request);
        ended.for_each(|call| call.has_ended = true);
        let failed = self.calls.iter().filter(|call| call.has_ended).count();
        if failed < self.most {
            return Ok(());
        }
        Err(format!(
            "{failed} calls to service1 have failed in a row, and no breaker has opened; expected that it does after {}: \
             {event}",
            self.most
        ))
    }
}

impl Invariant for OpensInTime {
    fn name(&self) -> &str {
        "a breaker opens when as many calls have failed as it says"
    }

    fn wants(&self) -> Wants {
        Wants::nothing().lines().fact::<CallMade>().fact::<CallOutcome>().fact::<HandlerEnded>()
    }

    fn event(&mut self, event: &Event) -> Result<(), String> {
        if event.field("breaker").is_some() {
            self.calls.clear();
        }
        let Some(request) = event.request else { return Ok(()) };
        if let Some(made) = event.told::<CallMade>() {
            self.made(request, made.attempt);
        } else if let Some(ended) = event.told::<CallOutcome>() {
            self.came_to(request, ended.outcome);
        } else if event.told::<HandlerEnded>().is_some_and(|ended| ended.path == SayHello::PATH) {
            return self.ended(event, request);
        }
        Ok(())
    }

    fn met(&self) -> u64 {
        self.met
    }
}

/// Gauges are told when all has settled: then calls have worked.
fn all_are_closed(event: &Event) -> Result<(), String> {
    let open = |GaugesRead(reading): &GaugesRead| {
        let of = |state| reading.count(Gauge::CalleeBreakers, "service1", state);
        of("open") + of("probing")
    };
    match event.told().map(open) {
        Some(open) if open > 0 => Err(format!("{open} of {} are not closed", event.host)),
        _ => Ok(()),
    }
}

/// The scenario of a callee that has room for more calls than its caller may make at first.
pub(crate) fn limits() -> sim::Scenario {
    drawn("limits", "service1 takes its time, and as many calls as there are: its caller finds out", limited)
}

fn limited(picks: &mut Picks<'_>) -> Scenario {
    let service1 = foreign::service1().takes(picks.pick("takes ms", &[100, 60, 150]).ms());
    let has_room = picks.pick("its room", &["for all", "for few"]) == "for all";
    let service1 = if has_room { service1 } else { service1.room(ROOM) };
    // What fails at once says nothing of how long calls take, whether it is repeated or not.
    let fails =
        if has_room { picks.pick("fails at first", &["no", "UNAVAILABLE", "NOT_FOUND"]) } else { "no" };
    let code = [Code::Unavailable, Code::NotFound].into_iter().find(|code| code_name(*code) == fails);
    let (service1, calls, over, right) = match code {
        Some(code) => {
            (service1.falls_ill(0.ms()..300.ms(), Failed::new(code, "ill"), 300.ms()), 440, 1100, code)
        }
        None => (service1, 300, 750, Code::ResourceExhausted),
    };
    let right = Expect::ok().or(Code::ResourceExhausted).or(right);
    let load = greetings(Load::new(calls, over.ms(), 400.ms()..=800.ms()), right);
    let policy = format!("max-in-flight=adaptive;attempts={}", picks.pick("attempts", &[3, 1]));
    Scenario::new("limits", "", load, Swarm::calm())
        .nodes(&["service2"], scenarios::app)
        .foreign("service1", service1)
        .workers(1)
        .flags(&["--policy", &policy])
        .promises(promises::of_calls())
        .every_call("every reply belongs to its request", checks::right_value)
        .fold(
            "a callee that has room is found to have it, and one that has little, too",
            move |_: &mut (), event| {
                if has_room { has_grown(event) } else { has_shrunk(event) }
            },
        )
}

/// The scenario of a callee that has no room at all for a while, to a caller that finds out how much it has.
pub(crate) fn starved() -> Scenario {
    let right = Expect::ok().or(Code::ResourceExhausted);
    let load = greetings(Load::new(300, 6000.ms(), 300.ms()..=800.ms()).bursts(12), right);
    let swarm = Swarm::new(1..=3, 4000.ms(), 500.ms()..=2500.ms()).host("service1");
    let swarm = swarm.only(&[Family::FullService, Family::SlowHandler]);
    Scenario::new(
        "starved",
        "service1 has no room for a while: its caller learns when it has some again",
        load,
        swarm,
    )
    .nodes(&["service2", "service1"], scenarios::app)
    .workers(1)
    .flags(&["--policy", "max-in-flight=adaptive"])
    .promises(promises::of_calls())
    .every_call("every reply belongs to its request", checks::right_value)
    .fold("who has no room for a while is asked again", |_: &mut (), event| is_asked(event))
}

/// An adaptive limit lets so many calls out, however little room there seems to be.
const LEAST: usize = 4;

/// How many calls a host lets out to service1 at once, where its gauges are told.
fn limit(event: &Event) -> Option<usize> {
    event.told().map(|GaugesRead(reading)| reading.count(Gauge::CalleeLimit, "service1", "most"))
}

fn is_asked(event: &Event) -> Result<(), String> {
    match limit(event) {
        Some(limit) if limit < LEAST && &*event.host == "service2" => {
            Err(format!("{} lets {limit} calls out at once; expected {LEAST} at least", event.host))
        }
        _ => Ok(()),
    }
}

/// The room of a callee that has little, and how many times as many calls may be let out that it may learn of more.
const ROOM: usize = 4;
const TIMES: usize = 4;

fn has_shrunk(event: &Event) -> Result<(), String> {
    match limit(event) {
        Some(limit) if limit > ROOM * TIMES => Err(format!(
            "{} lets {limit} calls out at once, and its callee has refused all but {ROOM}; expected {} at most",
            event.host,
            ROOM * TIMES
        )),
        _ => Ok(()),
    }
}

fn has_grown(event: &Event) -> Result<(), String> {
    match limit(event) {
        Some(limit) if limit <= FIRST_LIMIT => Err(format!(
            "{} lets {limit} calls out at once, and its callee has never kept one waiting; expected more than \
             {FIRST_LIMIT}",
            event.host
        )),
        _ => Ok(()),
    }
}

/// When the callee of [`hanging`] answers no more, and when it is looked how many calls it is still given.
const HANGS: Range<Duration> = Duration::from_millis(710)..Duration::from_millis(6000);
const LOOKED_AT: Range<Duration> = Duration::from_millis(4500)..Duration::from_millis(4900);

/// The scenario of a callee that hangs, and of a caller whose limit adapts: when all calls are late, it must let fewer out.
pub(crate) fn hanging() -> Scenario {
    let right = Expect::ok().or(Code::ResourceExhausted).or(Code::Unavailable).or(Code::DeadlineExceeded);
    let load = greetings(Load::new(400, 5000.ms(), 300.ms()..=800.ms()), right);
    let said = Failed::new(Code::Unavailable, "ill");
    let service1 =
        foreign::service1().takes(60.ms()).falls_ill(HANGS.start - 10.ms()..HANGS.start, said, HANGS.end);
    let about = "service1 answers nothing for seconds, and its caller lets fewer calls out";
    Scenario::new("hanging", about, load, Swarm::calm())
        .nodes(&["service2"], scenarios::app)
        .foreign("service1", service1)
        .workers(1)
        .flags(&["--policy", "max-in-flight=adaptive"])
        .gauges_every(70.ms())
        // That it hangs is no fault of the plan, which would explain that calls are late.
        .promises(promises::of_calls().except(promises::STATUSES_ARE_EXPLAINED))
        .fold("who answers nothing is given fewer calls", |_: &mut (), event| has_fallen(event))
}

fn has_fallen(event: &Event) -> Result<(), String> {
    match limit(event).filter(|limit| LOOKED_AT.contains(&event.at) && *limit > FIRST_LIMIT / 2) {
        Some(limit) => Err(format!(
            "{} lets {limit} calls out to a callee that has answered none since {} ms; expected {} at most: {event}",
            event.host,
            HANGS.start.as_millis(),
            FIRST_LIMIT / 2
        )),
        None => Ok(()),
    }
}
