//! One rehearsal as a page to look at: a lane for each host, arrows, faults as shaded spans.
//!
//! The page is a single file that asks the network for nothing. What it draws is data in the page, taken here
//! from the trace; how it is drawn is in the folder `report`.

use std::collections::{BTreeMap, VecDeque};
use std::time::Duration;

use serde::Serialize;

use crate::call::{CallRecord, Reply};
use crate::plan;
use crate::rehearsal::Rehearsal;
use crate::scenario::CLIENTS;
use crate::trace::{Event, EventKind};

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
    bit: bool,
}

/// A segment: from, to, when sent, when delivered, what, whether it was held.
#[derive(Debug, Serialize)]
struct Message(usize, usize, f64, Option<f64>, String, bool);

#[derive(Debug, Serialize)]
struct Log {
    at: f64,
    host: usize,
    id: Option<String>,
    text: String,
}

#[derive(Debug, Serialize)]
struct Violation {
    at: f64,
    invariant: String,
    detail: String,
}

/// The page for `rehearsal`, which must have kept its trace.
///
/// If all of it is too large, the page shows the last half of the time, or the last quarter, and so on: a
/// rehearsal ends with the promise that is broken.
#[must_use]
pub fn page(rehearsal: &Rehearsal) -> String {
    let mut window = rehearsal.simulated;
    loop {
        let page = render(&page_since(rehearsal, rehearsal.simulated - window));
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

fn page_since(rehearsal: &Rehearsal, since: Duration) -> Page {
    let hosts = lanes(rehearsal);
    let lane = |name: &str| hosts.iter().position(|host| host == name).unwrap_or_default();
    let in_view = |call: &&CallRecord| call.ended.is_none_or(|ended| ended >= since);
    let (mut messages, start) = (messages(&rehearsal.events, &hosts), millis(since));
    messages.retain(|Message(_, _, sent, delivered, ..)| delivered.unwrap_or(*sent) >= start);
    let logs = rehearsal.events.iter().filter(|event| event.kind == EventKind::Log && event.at >= since);
    Page {
        title: format!("{} · seed {}", rehearsal.plan.scenario, rehearsal.plan.seed),
        outcome: rehearsal.summary().outcome,
        summary: clip(&rehearsal.to_string(), TEXT_MAX),
        command: rehearsal.command(),
        plan: clip(&rehearsal.plan.to_string(), PLAN_MAX),
        start,
        end: millis(rehearsal.simulated),
        calls: rehearsal.calls.iter().filter(in_view).map(call).collect(),
        faults: faults(rehearsal, since, &lane),
        messages,
        logs: logs.map(|event| log(event, &lane)).collect(),
        violation: rehearsal.violation.as_ref().map(violation),
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
    let faults = rehearsal.plan.faults.iter().zip(&rehearsal.bites);
    let fault = |(fault, bit): (&plan::Fault, &bool)| {
        let (a, b) = fault.what.hosts();
        let hosts = [Some(a), b].into_iter().flatten().map(lane).collect();
        let (what, link) = (fault.what.to_string(), b.is_some());
        Fault { what, from: millis(fault.from), until: millis(fault.until()), hosts, link, bit: *bit }
    };
    let happened = |fault: &plan::Fault| fault.from <= rehearsal.simulated && fault.until() >= since;
    faults.filter(|(fault, _)| happened(fault)).map(fault).collect()
}

fn log(event: &Event, lane: &impl Fn(&str) -> usize) -> Log {
    let fields = event.fields.iter().filter(|(name, _)| *name != "target" && *name != "level");
    let fields: String = fields.map(|(name, value)| format!(" {name}={value}")).collect();
    let text = clip(&format!("{}{fields}", event.text), TEXT_MAX);
    Log { at: millis(event.at), host: lane(&event.host), id: event.request_id.clone(), text }
}

fn violation(violation: &crate::stage::Violation) -> Violation {
    let (invariant, detail) = (clip(&violation.invariant, TEXT_MAX), clip(&violation.detail, PLAN_MAX));
    Violation { at: millis(violation.at), invariant, detail }
}

/// Joins each segment's departure with its arrival. Segments of one connection arrive in their order.
fn messages(events: &[Event], hosts: &[String]) -> Vec<Message> {
    let addresses = addresses(events, hosts);
    let host_of = |address: &str| addresses.get(address.rsplit_once(':')?.0).copied();
    let mut messages: Vec<Message> = Vec::new();
    let mut under_way: BTreeMap<(&str, &str), VecDeque<usize>> = BTreeMap::new();
    for event in events.iter().filter(|event| event.kind == EventKind::Net) {
        let (Some(source), Some(target)) = (event.field("src"), event.field("dst")) else {
            continue;
        };
        let queue = under_way.entry((source, target)).or_default();
        match event.text.as_str() {
            "sent" => {
                let (Some(from), Some(to)) = (host_of(source), host_of(target)) else {
                    continue;
                };
                queue.push_back(messages.len());
                let what = event.field("protocol").unwrap_or_default().to_owned();
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
    for event in events.iter().filter(|event| event.kind == EventKind::Net && event.text == "sent") {
        let source = event.field("src").and_then(|source| source.rsplit_once(':'));
        if let (Some((ip, _)), Some(lane)) = (source, hosts.iter().position(|host| *host == event.host)) {
            addresses.entry(ip).or_insert(lane);
        }
    }
    addresses
}

/// The first `length_max` characters of `text`.
fn clip(text: &str, length_max: usize) -> String {
    match text.char_indices().nth(length_max) {
        Some((end, _)) => format!("{}…", &text[..end]),
        None => text.to_owned(),
    }
}

/// Milliseconds, to the microsecond.
fn millis(time: Duration) -> f64 {
    (time.as_secs_f64() * 1e6).round() / 1e3
}
