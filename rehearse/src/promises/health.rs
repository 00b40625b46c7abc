//! What must hold of health checks: a node is ready until it is told to drain, and alive for as long as it answers.

use std::sync::Arc;
use std::time::Duration;

use sim::{CLIENTS, CallRecord, Event, Family, Invariant, Reply, Wants};

use super::failure::in_words;
use super::faults::{Fault, Faults};
use super::names::HEALTH_IS_TOLD;
use crate::clients::{Health, asked};
use crate::setting::Setting;

/// Judges each answer to a health check, and each that did not come.
#[derive(Debug)]
pub(super) struct HealthIsTold {
    setting: Arc<Setting>,
    faults: Faults,
    met: u64,
}

impl HealthIsTold {
    pub(super) fn new(setting: &Arc<Setting>) -> Self {
        Self { setting: Arc::clone(setting), faults: Faults::default(), met: 0 }
    }

    /// Judges an answer that came between the two.
    fn judge(
        &self,
        asked: Health,
        host: &str,
        span: (Duration, Duration),
        reply: &Reply,
    ) -> Result<(), String> {
        let drain = |after| self.drain(host, span.1, after);
        match (asked, reply.status.as_str()) {
            (Health::Alive, "OK") => Ok(()),
            (Health::Ready, "OK") => {
                match drain(Duration::ZERO).filter(|from| span.0 > *from + self.setting.hop()) {
                    Some(from) if !self.has_paused(host, (from, span.1)) => {
                        let ago = (span.0 - from).as_millis();
                        Err(format!(
                            "{host} said that it is ready when it was asked {ago} ms after it was told to drain"
                        ))
                    }
                    _ => Ok(()),
                }
            }
            (Health::Ready, "503") if drain(self.setting.hop()).is_some() => Ok(()),
            (_, status) if status.parse::<u16>().is_ok() => Err(format!(
                "{host} said {} when it was asked whether it is {}, and it was told nothing that makes it so",
                in_words(reply),
                if asked == Health::Ready { "ready" } else { "alive" },
            )),
            _ if self.is_cut_off(host, span) => Ok(()),
            _ => Err(format!("{host} was not heard of, and nothing is in the way: {}", in_words(reply))),
        }
    }

    /// When the host was told to drain, if it was before `now` and has not been started again since, or no longer than
    /// `after` before.
    fn drain(&self, host: &str, now: Duration, after: Duration) -> Option<Duration> {
        let mut drains = self.faults.on_host(host).filter(|fault| fault.family == Family::Drain);
        let drain = drains.find(|drain| drain.is_felt((now, now), after))?;
        Some(drain.from)
    }

    /// Whether the host did nothing for a while.
    fn has_paused(&self, host: &str, between: (Duration, Duration)) -> bool {
        let mut pauses = self.faults.on_host(host).filter(|fault| fault.family == Family::Pause);
        pauses.any(|pause| pause.is_felt(between, self.setting.hop()))
    }

    /// Whether a fault keeps the host and the clients from hearing of each other.
    fn is_cut_off(&self, host: &str, span: (Duration, Duration)) -> bool {
        let on_way = |fault: &&Fault| fault.is_on(host) || fault.is_between(CLIENTS, host);
        let is_felt = |fault: &Fault| {
            // A machine that lost its power tells nobody, whenever its connections are used again.
            let is_dark = fault.family == Family::PowerLoss && fault.from <= span.1;
            fault.is_felt(span, fault.felt_after(&self.setting)) || is_dark
        };
        self.faults.iter().filter(on_way).any(|fault| fault.cuts_off() && is_felt(fault))
    }
}

impl Invariant for HealthIsTold {
    fn name(&self) -> &str {
        HEALTH_IS_TOLD
    }

    fn wants(&self) -> Wants {
        Faults::wants()
    }

    fn event(&mut self, event: &Event) -> Result<(), String> {
        self.faults.note(event);
        Ok(())
    }

    fn call_ended(&mut self, call: &CallRecord) -> Result<(), String> {
        let (Some(reply), Some((asked, host))) = (&call.reply, asked(&call.request)) else { return Ok(()) };
        self.met += 1;
        let span = (call.started, call.ended.unwrap_or_default());
        self.judge(asked, host, span, reply).map_err(|wrong| format!("{}: {wrong}", call.request_id))
    }

    fn met(&self) -> u64 {
        self.met
    }
}
