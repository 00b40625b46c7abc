//! Only the outermost of all callers repeats a call: did each, attempts would multiply with every hop.

use std::sync::Arc;

use sim::{CallRecord, Event, Invariant, Wants};

use super::names::ONLY_THE_OUTERMOST_REPEATS;
use super::requests::ByRequest;
use crate::facts::{CallMade, HandlerBegun};
use crate::setting::Setting;

/// Who is called by somebody who may repeat the call knows it, and repeats none of the calls that it makes for it.
#[derive(Debug)]
pub(super) struct OnlyTheOutermostRepeats {
    setting: Arc<Setting>,
    /// By request: the rpcs that were called for it, and whether somebody may repeat each of these calls.
    calls: ByRequest<Vec<(&'static str, bool)>>,
    met: u64,
}

impl OnlyTheOutermostRepeats {
    pub(super) fn new(setting: &Arc<Setting>) -> Self {
        Self { setting: Arc::clone(setting), calls: ByRequest::default(), met: 0 }
    }

    fn made(&mut self, event: &Event, number: u32, made: &CallMade) -> Result<(), String> {
        let is_repeated = made.may_be_repeated || made.is_repeated;
        self.calls.get_or_default(number).push((made.path, is_repeated));
        match made.attempt > 0 && made.is_repeated {
            true => Err(format!(
                "it is made for a call that is repeated further out; expected no attempt after the first: {event}"
            )),
            false => Ok(()),
        }
    }

    /// All calls of this rpc that were made for the request may be repeated, or none: then its handler knows.
    fn begun(&mut self, event: &Event, number: u32, begun: &HandlerBegun) -> Result<(), String> {
        let calls = self.calls.get(number).into_iter().flatten();
        let mut calls = calls.filter(|(path, _)| *path == begun.path).map(|(_, is_repeated)| *is_repeated);
        let Some(expected) = calls.next().filter(|first| calls.all(|other| other == *first)) else {
            return Ok(());
        };
        self.met += u64::from(expected);
        if begun.is_repeated == expected {
            return Ok(());
        }
        let (may, knows) = match expected {
            true => ("may", "does not know it"),
            false => ("will not", "takes it that somebody may"),
        };
        Err(format!("its callers {may} repeat it, and it {knows}: {event}"))
    }
}

impl Invariant for OnlyTheOutermostRepeats {
    fn name(&self) -> &str {
        ONLY_THE_OUTERMOST_REPEATS
    }

    fn wants(&self) -> Wants {
        Wants::nothing().fact::<CallMade>().fact::<HandlerBegun>()
    }

    fn call_started(&mut self, call: &CallRecord) -> Result<(), String> {
        // Clients of the load repeat nothing.
        if let Some(kind) = self.setting.kind(&call.request) {
            self.calls.get_or_default(call.request.id).push((kind.path, false));
        }
        Ok(())
    }

    fn event(&mut self, event: &Event) -> Result<(), String> {
        let Some(number) = event.request else { return Ok(()) };
        if let Some(made) = event.told::<CallMade>() {
            return self.made(event, number, made);
        }
        event.told::<HandlerBegun>().map_or(Ok(()), |begun| self.begun(event, number, begun))
    }

    fn met(&self) -> u64 {
        self.met
    }
}
