//! One rehearsal as a page to look at: a lane for each host, arrows, faults as shaded spans.
//!
//! The page is a single file that asks the network for nothing. What it draws is data in the page, taken here
//! from the trace; how it is drawn is in the folder `report`.

mod segments;

use std::collections::BTreeSet;
use std::time::Duration;

use serde::Serialize;

use crate::call::{CallRecord, Reply};
use crate::plan::time::fractional_millis as millis;
use crate::plan::{self, Request};
use crate::rehearsal::Rehearsal;
use crate::scenario::CLIENTS;
use crate::trace::event::{CallStep, Event, Line, What};
use crate::why::Why;

use segments::{Message, messages};

/// The largest page, in bytes: more is no pleasure to open.
const SIZE_MAX: usize = 2_000_000;
/// The longest text in it, in characters, and the longest plan.
const TEXT_MAX: usize = 400;
const PLAN_MAX: usize = 40_000;

/// All that the page draws. Times are in milliseconds.
#[derive(Debug, Serialize)]
struct Page {
    title: String,
    outcome: &'static str,
    summary: String,
    command: String,
    plan: String,
    /// From top to bottom; all calls come from the first.
    hosts: Vec<String>,
    /// Where the drawing starts; what ended before is left out.
    start: f64,
    end: f64,
    calls: Vec<Call>,
    faults: Vec<Fault>,
    messages: Vec<Message>,
    logs: Vec<Log>,
    violation: Option<Violation>,
}

#[derive(Debug, Serialize)]
struct Call {
    id: String,
    what: String,
    start: f64,
    end: Option<f64>,
    due: f64,
    status: String,
    value: String,
    ok: bool,
    probe: bool,
}

#[derive(Debug, Serialize)]
struct Fault {
    what: String,
    from: f64,
    until: f64,
    hosts: Vec<usize>,
    link: bool,
    effective: bool,
}

#[derive(Debug, Serialize)]
struct Log {
    at: f64,
    host: usize,
    id: Option<String>,
    text: String,
    /// Whether its call had ended. The order of events tells, for hosts' clocks differ within a tick.
    late: bool,
}

#[derive(Debug, Serialize)]
struct Violation {
    at: f64,
    promise: String,
    detail: String,
    why: Vec<String>,
}

/// The page for `rehearsal`, which must have kept its trace; `command` is the line that does it again.
///
/// If all of it is too large, the page shows the last half of the time, or the last quarter, and so on: a
/// rehearsal ends with the promise that is broken.
#[must_use]
pub fn page(rehearsal: &Rehearsal, command: &str) -> String {
    let mut window = rehearsal.simulated;
    loop {
        let page = render(&page_since(rehearsal, command, rehearsal.simulated - window));
        if page.len() <= SIZE_MAX || window.is_zero() {
            return page;
        }
        window /= 2;
    }
}

fn render(data: &Page) -> String {
    let json = serde_json::to_string(data).expect("the page's data has string keys and finite numbers only");
    // The data come last, for they may contain anything; `</script>` in a value would end the script.
    include_str!("report/page.html")
        .replace("/*STYLE*/", include_str!("report/page.css"))
        .replace("/*SCRIPT*/", include_str!("report/page.js"))
        .replace("/*DATA*/null", &json.replace("</", "<\\/").replace("<!--", "<\\u0021--"))
}

fn page_since(rehearsal: &Rehearsal, command: &str, since: Duration) -> Page {
    let hosts = lanes(rehearsal);
    let lane = |name: &str| hosts.iter().position(|host| host == name).unwrap_or_default();
    let in_view = |call: &&CallRecord| call.ended.is_none_or(|ended| ended >= since);
    let (mut messages, start) = (messages(&rehearsal.events, &hosts), millis(since));
    messages.retain(|message| message.lasted_until(start));
    Page {
        title: format!("{} · seed {}", rehearsal.plan.scenario, rehearsal.plan.seed),
        outcome: rehearsal.summary().outcome,
        summary: clip(&rehearsal.to_string(), TEXT_MAX),
        command: command.to_owned(),
        plan: clip(&rehearsal.plan.to_string(), PLAN_MAX),
        start,
        end: millis(rehearsal.simulated),
        calls: rehearsal.calls.iter().filter(in_view).map(call).collect(),
        faults: faults(rehearsal, since, &lane),
        messages,
        logs: logs(&rehearsal.events, since, &lane),
        violation: Why::of(rehearsal).map(|why| violation(&why)),
        hosts,
    }
}

/// The hosts from top to bottom: who calls first, then the others, the last that was added first.
fn lanes(rehearsal: &Rehearsal) -> Vec<String> {
    let mut hosts: Vec<_> = rehearsal.hosts.iter().rev().cloned().collect();
    hosts.sort_by_key(|host| host != CLIENTS);
    hosts
}

fn call(record: &CallRecord) -> Call {
    let (request, reply) = (&record.request, record.reply.as_ref());
    let what = format!("{} {} {:?}", request.client, request.kind, request.argument);
    Call {
        id: record.request_id.clone(),
        what: clip(&what, TEXT_MAX),
        start: millis(record.started),
        end: record.ended.map(millis),
        due: millis(record.due()),
        status: reply.map_or_else(|| "waits".to_owned(), |reply| clip(&reply.status, TEXT_MAX)),
        value: reply.map(|reply| clip(&reply.value, TEXT_MAX)).unwrap_or_default(),
        ok: reply.is_some_and(Reply::is_ok),
        probe: record.is_probe,
    }
}

fn faults(rehearsal: &Rehearsal, since: Duration, lane: &impl Fn(&str) -> usize) -> Vec<Fault> {
    let faults = rehearsal.plan.faults.iter().zip(&rehearsal.effective);
    let fault = |(fault, effective): (&plan::Fault, &bool)| {
        let (a, b) = fault.what.hosts();
        let hosts = [Some(a), b].into_iter().flatten().map(lane).collect();
        let (what, link) = (fault.what.to_string(), b.is_some());
        Fault {
            what,
            from: millis(fault.from),
            until: millis(fault.until()),
            hosts,
            link,
            effective: *effective,
        }
    };
    let happened = |fault: &plan::Fault| fault.from <= rehearsal.simulated && fault.until() >= since;
    faults.filter(|(fault, _)| happened(fault)).map(fault).collect()
}

/// What the page calls the request that an event belongs to.
fn id(event: &Event) -> Option<String> {
    event.request.map(Request::name_of).or_else(|| event.request_id.clone())
}

fn logs(events: &[Event], since: Duration, lane: &impl Fn(&str) -> usize) -> Vec<Log> {
    let mut ended = BTreeSet::new();
    let mut logs = Vec::new();
    for event in events {
        match &event.what {
            What::Call(CallStep::Ends { .. }) => {
                ended.insert(id(event));
            }
            // Lines without a host come while the world is taken down, when no host runs any more.
            What::Log(_) | What::Told(_) if event.at >= since && !event.host.is_empty() => {
                let (at, host, id) = (millis(event.at), lane(&event.host), id(event));
                let late = ended.contains(&id);
                logs.push(Log { at, host, id, text: said(&event.what), late });
            }
            _ => {}
        }
    }
    logs
}

fn said(what: &What) -> String {
    let What::Log(Line { message, fields, .. }) = what else { return clip(&what.to_string(), TEXT_MAX) };
    let fields: String = fields.iter().map(|(name, value)| format!(" {name}={value}")).collect();
    clip(&format!("{message}{fields}"), TEXT_MAX)
}

fn violation(why: &Why<'_>) -> Violation {
    let violation = why.violation();
    let (promise, detail) = (clip(&violation.promise, TEXT_MAX), clip(&violation.detail, PLAN_MAX));
    Violation { at: millis(violation.at), promise, detail, why: why.way() }
}

/// The first `length_max` characters of `text`.
fn clip(text: &str, length_max: usize) -> String {
    match text.char_indices().nth(length_max) {
        Some((end, _)) => format!("{}…", &text[..end]),
        None => text.to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn no_text_ends_the_script_or_hides_its_end() {
        let text = "</script><!--<script>/*SCRIPT*/".to_owned();
        let page = render(&Page {
            title: text.clone(),
            outcome: "passed",
            summary: text.clone(),
            command: text.clone(),
            plan: text,
            hosts: Vec::new(),
            start: 0.0,
            end: 0.0,
            calls: Vec::new(),
            faults: Vec::new(),
            messages: Vec::new(),
            logs: Vec::new(),
            violation: None,
        });
        assert_eq!(page.matches("</script>").count(), 1, "{page}");
        assert_eq!(page.matches("<!--").count(), 0, "{page}");
    }

    #[test]
    fn a_long_text_is_cut_between_characters() {
        assert_eq!(clip("äöü", 3), "äöü");
        assert_eq!(clip("äöü", 2), "äö…");
    }
}
