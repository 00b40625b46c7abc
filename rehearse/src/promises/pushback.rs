//! A callee that says when it may be called again is left alone until then.

use std::time::Duration;

use sim::{Event, Invariant, Wants};

use super::names::PUSHBACK_IS_HEEDED;
use super::requests::ByRequest;
use crate::facts::{HandlerBegun, PushedBack};

/// Who has pushed back is not called for the same request before the time that it said, or never.
#[derive(Debug, Default)]
pub(super) struct PushbackIsHeeded {
    /// By request: where, which rpc, and until when.
    closed: ByRequest<Vec<(&'static str, Duration)>>,
    met: u64,
}

impl Invariant for PushbackIsHeeded {
    fn name(&self) -> &str {
        PUSHBACK_IS_HEEDED
    }

    fn wants(&self) -> Wants {
        Wants::nothing().fact::<PushedBack>().fact::<HandlerBegun>()
    }

    fn event(&mut self, event: &Event) -> Result<(), String> {
        let Some(number) = event.request else { return Ok(()) };
        if let Some(PushedBack { path, wait }) = event.told() {
            self.met += 1;
            let until = wait.map_or(Duration::MAX, |wait| event.at + wait);
            self.closed.get_or_default(number).push((path, until));
        }
        let Some(begun) = event.told::<HandlerBegun>() else { return Ok(()) };
        let mut closed = self.closed.get(number).into_iter().flatten();
        match closed.find(|(path, until)| *path == begun.path && event.at < *until) {
            Some((_, Duration::MAX)) => {
                Err(format!("its callee had said that it must not be called again: {event}"))
            }
            Some((_, until)) => {
                let early = (*until - event.at).as_millis();
                Err(format!("its callee had said that it may be called again {early} ms later: {event}"))
            }
            None => Ok(()),
        }
    }

    fn met(&self) -> u64 {
        self.met
    }
}
