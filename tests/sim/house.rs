//! How many calls each host is at, by its handlers' own word.

use std::collections::BTreeSet;
use std::time::Duration;

use sim::{Event, Invariant, Value};

use crate::faults::TICK;
use crate::handlers::number;
use crate::hosts::{BEGUN, ENDED, STARTED};

/// The handlers that run on each host.
#[derive(Debug)]
pub(crate) struct Houses {
    /// How many it may be.
    admitted: usize,
    houses: Vec<House>,
}

#[derive(Debug, Default)]
struct House {
    host: String,
    running: usize,
    /// The calls that had places at some time in this very moment: those that ran, began, or were given up before
    /// their handlers began. All that began may have waited together in the mailbox.
    busy: (Duration, usize),
    /// The calls whose handlers have begun.
    begun: BTreeSet<u32>,
    /// When there was last no room for another; `Duration::MAX` while there is none.
    full: Option<Duration>,
}

/// What a log line says about a place.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Step {
    Start,
    Begin(u32),
    End,
    /// The call ended, perhaps before its handler began.
    GiveUp(u32),
}

impl Houses {
    pub(crate) fn new(admitted: usize) -> Self {
        Self { admitted, houses: Vec::new() }
    }

    /// Takes note of `event`; how many handlers run on its host now, if it is about handlers.
    pub(crate) fn note(&mut self, event: &Event) -> Option<usize> {
        let step = Step::of(event)?;
        let known = self.houses.iter().position(|house| *house.host == *event.host);
        let at = known.unwrap_or_else(|| {
            self.houses.push(House { host: event.host.to_string(), ..House::default() });
            self.houses.len() - 1
        });
        let house = &mut self.houses[at];
        house.take(step, event.at);
        house.look(self.admitted, event.at);
        Some(house.running)
    }

    /// Whether a host on the way of calls of `kind` had no room at some time since then.
    pub(crate) fn was_full(&self, kind: &str, since: Duration) -> bool {
        let since = since.saturating_sub(TICK);
        let mut on_way = self.houses.iter().filter(|house| kind != "name" || house.host != "service2");
        on_way.any(|house| house.full.is_some_and(|full| full >= since))
    }
}

impl Step {
    fn of(event: &Event) -> Option<Self> {
        match event.line()?.message.as_str() {
            STARTED => Some(Self::Start),
            BEGUN => number(event).map(Self::Begin),
            ENDED => Some(Self::End),
            "call" | "request" => {
                let gives_up = match event.field("status")? {
                    Value::Text(status) => {
                        matches!(status.as_str(), "CANCELLED" | "499" | "DEADLINE_EXCEEDED" | "504")
                    }
                    status => matches!(status.as_u64(), Some(499 | 504)),
                };
                number(event).filter(|_| gives_up).map(Self::GiveUp)
            }
            _ => None,
        }
    }
}

impl House {
    fn take(&mut self, step: Step, at: Duration) {
        if self.busy.0 != at {
            self.busy = (at, self.running);
        }
        match step {
            Step::Start => self.running = 0,
            Step::End => self.running = self.running.saturating_sub(1),
            Step::Begin(number) => {
                self.begun.insert(number);
                self.running += 1;
                self.busy.1 += 1;
            }
            Step::GiveUp(number) => self.busy.1 += usize::from(!self.begun.contains(&number)),
        }
    }

    fn look(&mut self, admitted: usize, now: Duration) {
        if self.running >= admitted {
            self.full = Some(Duration::MAX);
        } else if self.full == Some(Duration::MAX) || self.busy.1 >= admitted {
            self.full = Some(now);
        }
    }
}

/// A service takes on no more calls at once than it says.
#[derive(Debug)]
pub(crate) struct NoMoreThanAdmitted(Houses, u64);

impl NoMoreThanAdmitted {
    pub(crate) fn new(most: usize) -> Self {
        Self(Houses::new(most), 0)
    }
}

impl Invariant for NoMoreThanAdmitted {
    fn name(&self) -> &str {
        "a service takes on no more calls than it says"
    }

    fn event(&mut self, event: &Event) -> Result<(), String> {
        let running = self.0.note(event);
        self.1 += u64::from(running.is_some());
        match running {
            Some(running) if running > self.0.admitted => {
                Err(format!("{running} handlers at once on {}", event.host))
            }
            _ => Ok(()),
        }
    }

    fn met(&self) -> u64 {
        self.1
    }
}
