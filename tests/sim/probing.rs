//! What must hold of a breaker that is open: it finds out in time whether its service works again.

use std::time::Duration;

use protos::app::grpc::service2::SayHello;
use rehearse::facts::{CallMade, CallOutcome, HandlerBegun, HandlerEnded, NodeStarted};
use rehearse::{Event, Invariant, Wants};
use transport::Method as _;

/// What is due at one moment may come somewhat later.
const GRACE: Duration = Duration::from_millis(20);

/// While a breaker is open, a call goes out when it is time for it and no other is out.
#[derive(Debug, Default)]
pub(crate) struct GoesOutInTime {
    /// Whether nothing but the breaker holds calls back.
    is_judged: bool,
    /// When a call may go out, while the breaker is open.
    until: Option<Duration>,
    /// The call that is out, by its number.
    probe: Option<u32>,
    /// How the last one that was out has ended.
    last: Option<String>,
    /// The request whose call is to go out, since its handler began.
    next: Option<u32>,
    met: u64,
}

impl GoesOutInTime {
    /// `is_judged` says whether nothing but the breaker holds calls back.
    pub(crate) fn new(is_judged: bool) -> Self {
        Self { is_judged, ..Self::default() }
    }

    /// Takes note of a line that tells of the breaker.
    fn line(&mut self, event: &Event) {
        let wait = event.field("next_probe_in_ms").and_then(rehearse::Value::as_f64);
        if event.field("breaker").is_some() {
            let wait = wait.and_then(|ms| Duration::try_from_secs_f64(ms / 1e3).ok());
            (self.until, self.probe, self.next) = (wait.map(|wait| event.at + wait), None, None);
        }
    }
}

impl Invariant for GoesOutInTime {
    fn name(&self) -> &str {
        "an open breaker lets a call out when it is time and no other is out"
    }

    fn wants(&self) -> Wants {
        let calls = Wants::nothing().lines().fact::<CallMade>().fact::<CallOutcome>().fact::<NodeStarted>();
        calls.fact::<HandlerBegun>().fact::<HandlerEnded>()
    }

    fn event(&mut self, event: &Event) -> Result<(), String> {
        self.line(event);
        if event.told::<NodeStarted>().is_some() && &*event.host == "service2" {
            (self.until, self.probe, self.next) = (None, None, None);
        }
        if let Some(made) = event.told::<CallMade>() {
            (self.probe, self.next) = (Some(made.hop), None);
        } else if event.told::<CallOutcome>().is_some_and(|ended| self.probe == Some(ended.hop)) {
            (self.probe, self.last) = (None, Some(event.to_string()));
        }
        let is_time = self.until.is_some_and(|until| event.at > until + GRACE) && self.probe.is_none();
        let is_hello = event.told::<HandlerBegun>().is_some_and(|begun| begun.path == SayHello::PATH);
        if self.is_judged && is_hello && is_time && self.next.is_none() {
            self.met += 1;
            self.next = event.request;
        }
        let has_ended = event.told::<HandlerEnded>().is_some_and(|ended| ended.path == SayHello::PATH);
        if has_ended && self.next.is_some() && self.next == event.request {
            return Err(format!(
                "its call to service1 was held back: by then it was time to find out whether service1 works, from {} ms on, and \
                 no other call was out for that; the last one was over: {}. Its handler ended: {event}",
                self.until.unwrap_or_default().as_millis(),
                self.last.as_deref().unwrap_or("none")
            ));
        }
        Ok(())
    }

    fn met(&self) -> u64 {
        self.met
    }
}
