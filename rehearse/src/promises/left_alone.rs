//! Lines in which a node says that it leaves a host of its callee alone for a while, and why.

use std::time::Duration;

use sim::{Event, Value};
use transport::Address;

use crate::hooks::host_of;

/// What such a line says.
#[derive(Debug)]
pub(super) struct LeftAlone<'a> {
    pub(super) why: Why,
    /// The service that the node calls.
    pub(super) callee: &'a str,
    /// Where.
    address: &'a str,
    /// For how long.
    pub(super) wait: Duration,
}

/// Why a host is left alone.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Why {
    CannotConnect,
    /// It was not told whether it serves.
    NotTold,
    /// Its calls fail.
    Ejected,
}

impl<'a> LeftAlone<'a> {
    /// Reads `event`, if it is such a line.
    ///
    /// # Errors
    /// When it does not say until when, and whom.
    pub(super) fn read(event: &'a Event) -> Result<Option<Self>, String> {
        let Some(line) = event.line().filter(|_| !event.host.is_empty()) else { return Ok(None) };
        let found = line.fields.iter().find_map(|(name, wait)| Some((why(name)?, wait)));
        let Some((why, wait)) = found else { return Ok(None) };
        let text = |name| line.field(name).and_then(Value::as_str);
        let read = || {
            let wait = Duration::try_from_secs_f64(wait.as_f64()? / 1e3).ok()?;
            Some(Self { why, callee: text("peer")?, address: text("address")?, wait })
        };
        read().map(Some).ok_or_else(|| format!("a line that does not say when and what: {event}"))
    }

    /// The host that is left alone.
    pub(super) fn host(&self) -> Option<String> {
        self.address.parse().ok().map(|address: Address| host_of(&address))
    }
}

/// The reason whose lines say in the field `name` for how long.
fn why(name: &str) -> Option<Why> {
    match name {
        "next_try_in_ms" => Some(Why::CannotConnect),
        "asked_again_in_ms" => Some(Why::NotTold),
        "ejected_for_ms" => Some(Why::Ejected),
        _ => None,
    }
}
