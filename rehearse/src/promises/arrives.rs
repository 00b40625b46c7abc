//! What a caller adds to a call reaches who handles it, whichever way the call takes.

use std::sync::Arc;

use sim::{CallRecord, Event, Invariant, Wants};

use super::hops::Hops;
use super::names::WHAT_IS_ADDED_ARRIVES;
use super::requests::ByRequest;
use crate::facts::{CallMade, HandlerBegun};
use crate::setting::Setting;

/// A handler sees the metadata that its caller has added to the call, all of them and no others, and that it matters as much
/// as its caller says: also where the call was sent again. It is judged for calls between services.
#[derive(Debug)]
pub(super) struct WhatIsAddedArrives {
    setting: Arc<Setting>,
    hops: Hops,
    /// The rpc that the client of each request calls itself.
    called: ByRequest<&'static str>,
    met: u64,
}

impl WhatIsAddedArrives {
    pub(super) fn new(setting: &Arc<Setting>) -> Self {
        let (hops, called) = Default::default();
        Self { setting: Arc::clone(setting), hops, called, met: 0 }
    }
}

impl Invariant for WhatIsAddedArrives {
    fn name(&self) -> &str {
        WHAT_IS_ADDED_ARRIVES
    }

    fn wants(&self) -> Wants {
        Hops::wants(Wants::nothing())
    }

    fn call_started(&mut self, call: &CallRecord) -> Result<(), String> {
        let kind = self.setting.kind(&call.request);
        kind.into_iter().for_each(|kind| self.called.insert(call.request.id, kind.path));
        Ok(())
    }

    fn event(&mut self, event: &Event) -> Result<(), String> {
        self.hops.note(event);
        let begun = event.told::<HandlerBegun>().and_then(|begun| Some((begun, begun.added?)));
        let Some((request, (begun, added))) = event.request.zip(begun) else { return Ok(()) };
        if self.called.get(request) == Some(&begun.path) {
            return Ok(());
        }
        let of_it = |made: &&CallMade| made.path == begun.path;
        let mut made = self.hops.of(request).iter().map(|hop| &hop.made).filter(of_it).peekable();
        if made.peek().is_none() {
            return Ok(());
        }
        self.met += 1;
        if made.any(|made| made.added == added) {
            return Ok(());
        }
        Err(format!(
            "its handler sees other metadata than its caller has added, or that it matters less or more: {event}"
        ))
    }

    fn met(&self) -> u64 {
        self.met
    }
}
