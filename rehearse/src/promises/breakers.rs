//! Which breakers of nodes were open when, by the nodes' own lines.

use std::sync::Arc;
use std::time::Duration;

use sim::{Event, Value};

use crate::facts::NodeStarted;

/// The times in which breakers were open.
#[derive(Debug, Default)]
pub(super) struct Breakers(Vec<Open>);

/// A time in which a node held calls to a service back.
#[derive(Debug)]
struct Open {
    host: Arc<str>,
    callee: String,
    from: Duration,
    until: Option<Duration>,
}

impl Breakers {
    /// Takes note of `event`.
    ///
    /// # Errors
    /// When the line of a breaker does not say what it must.
    pub(super) fn note(&mut self, event: &Event) -> Result<(), String> {
        if event.told::<NodeStarted>().is_some() {
            self.open_on(event).for_each(|open| open.until = Some(event.at));
        }
        let Some(told) = BreakerTold::read(event)? else { return Ok(()) };
        let (host, callee, from) = (Arc::clone(&event.host), told.callee.to_owned(), event.at);
        match told.step {
            BreakerStep::Opens(_) => self.0.push(Open { host, callee, from, until: None }),
            BreakerStep::StaysOpen(_) => {}
            // Each client of a service has a breaker of its own, and nobody tells which one it is: as many are open as
            // have opened and not closed.
            BreakerStep::Closes => {
                let first = self.open_on(event).find(|open| open.callee == callee);
                first.into_iter().for_each(|open| open.until = Some(event.at));
            }
        }
        Ok(())
    }

    /// Whether `host` held calls to `callee` back at some time between the two.
    pub(super) fn were_open(
        &self,
        host: &str,
        callee: &str,
        (start, end): (Duration, Duration),
        tick: Duration,
    ) -> bool {
        let mut of_it = self.0.iter().filter(|open| *open.host == *host && open.callee == callee);
        of_it.any(|open| open.from <= end + tick && open.until.is_none_or(|until| until + tick >= start))
    }

    /// Those that are open on the host of `event`.
    fn open_on(&mut self, event: &Event) -> impl Iterator<Item = &mut Open> {
        self.0.iter_mut().filter(|open| open.host == event.host && open.until.is_none())
    }
}

/// A line that tells what becomes of a breaker.
#[derive(Debug)]
pub(super) struct BreakerTold<'a> {
    /// The service whose calls it holds back.
    pub(super) callee: &'a str,
    pub(super) step: BreakerStep,
}

/// What becomes of a breaker.
#[derive(Debug, Clone, Copy)]
pub(super) enum BreakerStep {
    /// It opens, and lets a probe out after this time.
    Opens(Duration),
    /// A probe has failed, and another one goes out after this time.
    StaysOpen(Duration),
    Closes,
}

impl<'a> BreakerTold<'a> {
    /// Reads `event`, if it is such a line.
    ///
    /// # Errors
    /// When it does not say of whom, and until when.
    pub(super) fn read(event: &'a Event) -> Result<Option<Self>, String> {
        let Some(line) = event.line().filter(|_| !event.host.is_empty()) else { return Ok(None) };
        let text = |name| line.field(name).and_then(Value::as_str);
        let Some(state) = text("breaker") else { return Ok(None) };
        let wait = || {
            let wait = line.field("next_probe_in_ms").and_then(Value::as_f64)?;
            Duration::try_from_secs_f64(wait / 1e3).ok()
        };
        let read = || {
            let step = match state {
                "open" => BreakerStep::Opens(wait()?),
                "still open" => BreakerStep::StaysOpen(wait()?),
                "closed" => BreakerStep::Closes,
                _ => return None,
            };
            Some(Self { callee: text("peer")?, step })
        };
        read()
            .map(Some)
            .ok_or_else(|| format!("a line that does not say what becomes of which breaker: {event}"))
    }
}
