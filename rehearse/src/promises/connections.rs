//! What is known of the connections between hosts: which could not be made, and which have carried calls.

use std::sync::Arc;
use std::time::Duration;

use sim::Event;

use super::left_alone::{LeftAlone, Why};

/// What connections did so far.
#[derive(Debug, Default)]
pub(super) struct Connections {
    retreats: Vec<Retreat>,
    worked: Vec<Worked>,
}

/// A node that could not connect, or was not told whether its callee serves, leaves it alone for a while: calls to it are
/// not sent.
#[derive(Debug)]
struct Retreat {
    host: Arc<str>,
    callee: String,
    /// The host of the callee that it leaves alone.
    target: String,
    from: Duration,
    until: Duration,
}

/// A call that a client of a node, or one of the clients, made, and that worked.
#[derive(Debug)]
struct Worked {
    client: Option<u32>,
    /// Where it was handled.
    host: Arc<str>,
    span: (Duration, Duration),
}

impl Connections {
    /// Takes note of `event`; the callee that its host leaves alone, and why, if it tells that. Who is asked again whether it
    /// serves may take `greeting` to answer.
    pub(super) fn note<'a>(
        &mut self,
        event: &'a Event,
        greeting: Duration,
    ) -> Result<Option<(&'a str, &'static str)>, String> {
        let Some(told) = LeftAlone::read(event)? else { return Ok(None) };
        let (more, why) = match told.why {
            Why::CannotConnect => (Duration::ZERO, "could not connect to"),
            Why::NotTold => (greeting, "was not told whether it serves by"),
            // Where all others are out of reach, calls go there even so.
            Why::Ejected => return Ok(None),
        };
        let (host, callee, from) = (Arc::clone(&event.host), told.callee.to_owned(), event.at);
        let (target, until) = (told.host().unwrap_or_default(), from + told.wait + more);
        self.retreats.push(Retreat { host, callee, target, from, until });
        Ok(Some((told.callee, why)))
    }

    /// Whether `host` left `callee` on `target` alone at some time between the two.
    pub(super) fn retreated(
        &self,
        host: &str,
        callee: &str,
        target: &str,
        (start, end): (Duration, Duration),
        tick: Duration,
    ) -> bool {
        let is_this = |retreat: &&Retreat| {
            *retreat.host == *host && retreat.callee == callee && retreat.target == target
        };
        self.retreats
            .iter()
            .filter(is_this)
            .any(|retreat| retreat.from <= end + tick && retreat.until + tick >= start)
    }

    /// A call worked that was handled on `host`.
    pub(super) fn worked(&mut self, client: Option<u32>, host: Arc<str>, span: (Duration, Duration)) {
        self.worked.push(Worked { client, host, span });
    }

    /// Whether a call of `client` to `host` began and worked between the two.
    pub(super) fn has_worked(
        &self,
        client: Option<u32>,
        host: &str,
        (from, to): (Duration, Duration),
    ) -> bool {
        let mut same = self.worked.iter().filter(|worked| worked.client == client && *worked.host == *host);
        same.any(|worked| worked.span.0 >= from && worked.span.1 <= to)
    }
}
