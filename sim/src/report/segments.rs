//! The segments that a report shows, read from the trace.

use std::collections::{BTreeMap, VecDeque};

use serde::Serialize;

use crate::plan::time::fractional_millis as millis;
use crate::trace::event::{Event, What};
use crate::trace::value::Value;

/// A segment: from, to, when sent, when delivered, what, whether it was held.
#[derive(Debug, Serialize)]
pub(super) struct Message(usize, usize, f64, Option<f64>, String, bool);

impl Message {
    /// Whether it was on its way at `time` or later, in milliseconds.
    pub(super) fn lasted_until(&self, time: f64) -> bool {
        self.3.unwrap_or(self.2) >= time
    }
}

/// Joins each segment's departure with its arrival. Segments of one connection arrive in their order.
pub(super) fn messages(events: &[Event], hosts: &[String]) -> Vec<Message> {
    let addresses = addresses(events, hosts);
    let host_of = |address: &str| addresses.get(address.rsplit_once(':')?.0).copied();
    let mut messages: Vec<Message> = Vec::new();
    let mut under_way: BTreeMap<(&str, &str), VecDeque<usize>> = BTreeMap::new();
    for event in events {
        let What::Net(what, _) = &event.what else { continue };
        let (Some(source), Some(target)) = (text(event, "src"), text(event, "dst")) else {
            continue;
        };
        let queue = under_way.entry((source, target)).or_default();
        match *what {
            "sent" => {
                let (Some(from), Some(to)) = (host_of(source), host_of(target)) else {
                    continue;
                };
                queue.push_back(messages.len());
                let what = text(event, "protocol").unwrap_or_default().to_owned();
                messages.push(Message(from, to, millis(event.at), None, what, false));
            }
            "held" | "dropped" => {
                if let Some(last) = queue.back() {
                    messages[*last].5 = true;
                }
            }
            "delivered" => {
                if let Some(first) = queue.pop_front() {
                    messages[first].3 = Some(millis(event.at));
                }
            }
            _ => {}
        }
    }
    messages
}

/// Which lane an IP address belongs to: whoever sends from it.
fn addresses<'a>(events: &'a [Event], hosts: &[String]) -> BTreeMap<&'a str, usize> {
    let mut addresses = BTreeMap::new();
    for event in events.iter().filter(|event| matches!(event.what, What::Net("sent", _))) {
        let source = text(event, "src").and_then(|source| source.rsplit_once(':'));
        if let (Some((ip, _)), Some(lane)) = (source, hosts.iter().position(|host| **host == *event.host)) {
            addresses.entry(ip).or_insert(lane);
        }
    }
    addresses
}

fn text<'a>(event: &'a Event, name: &str) -> Option<&'a str> {
    event.field(name).and_then(Value::as_str)
}
