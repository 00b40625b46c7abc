//! One rehearsal as a page to look at: a lane for each host, arrows, faults as shaded spans.
//!
//! The page is a single file that asks the network for nothing. What it draws is data in the page, taken here
//! from the trace; how it is drawn is in `report.html`.

use std::collections::{BTreeMap, VecDeque};
use std::time::Duration;

use serde::Serialize;

use crate::call::CallRecord;
use crate::rehearsal::Rehearsal;
use crate::trace::{Event, EventKind};

/// How many segments and log lines the page shows at most, which keeps it below 2 MB.
const MESSAGES_MAX: usize = 12_000;
const LOGS_MAX: usize = 4_000;
/// Where the data goes in the page.
const PLACE: &str = "/*DATA*/null";

/// All that the page draws. Times are in milliseconds.
#[derive(Debug, Serialize)]
struct Page {
    title: String,
    summary: String,
    command: String,
    plan: String,
    hosts: Vec<String>,
    end: f64,
    calls: Vec<Call>,
    faults: Vec<Fault>,
    messages: Vec<Message>,
    logs: Vec<Log>,
    violation: Option<Violation>,
    left_out: usize,
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
#[must_use]
pub fn page(rehearsal: &Rehearsal) -> String {
    let hosts = lanes(rehearsal);
    let lane = |name: &str| hosts.iter().position(|host| host == name).unwrap_or_default();
    let (messages, more_messages) = messages(&rehearsal.events, &hosts);
    let logs: Vec<_> = rehearsal.events.iter().filter(|event| event.kind == EventKind::Log).collect();
    let left_out = more_messages + logs.len().saturating_sub(LOGS_MAX);
    let violation = rehearsal.violation.as_ref().map(|violation| Violation {
        at: millis(violation.at),
        invariant: violation.invariant.clone(),
        detail: violation.detail.clone(),
    });
    let data = Page {
        title: format!("{} · seed {}", rehearsal.plan.scenario, rehearsal.plan.seed),
        summary: rehearsal.to_string(),
        command: rehearsal.command(),
        plan: rehearsal.plan.to_string(),
        end: millis(rehearsal.simulated),
        calls: rehearsal.calls.iter().map(call).collect(),
        faults: faults(rehearsal, &lane),
        messages,
        logs: logs.into_iter().take(LOGS_MAX).map(|event| log(event, &lane)).collect(),
        violation,
        left_out,
        hosts,
    };
    let json = serde_json::to_string(&data).expect("the page's data has string keys and finite numbers only");
    // `</script>` in a value would end the script.
    include_str!("report.html").replace(PLACE, &json.replace("</", "<\\/"))
}

/// The hosts from top to bottom: who calls first, then the others as they were added.
fn lanes(rehearsal: &Rehearsal) -> Vec<String> {
    let mut hosts = rehearsal.hosts.clone();
    hosts.reverse();
    hosts
}

fn call(record: &CallRecord) -> Call {
    let reply = record.reply.as_ref();
    let request = &record.request;
    Call {
        id: record.request_id.clone(),
        what: format!("{} {} {:?}", request.client, request.kind, request.argument),
        start: millis(record.started),
        end: record.ended.map(millis),
        due: millis(record.due()),
        status: reply.map_or_else(|| "waits".to_owned(), |reply| reply.status.clone()),
        value: reply.map(|reply| reply.value.clone()).unwrap_or_default(),
        ok: reply.is_some_and(crate::call::Reply::is_ok),
        probe: record.is_probe,
    }
}

fn faults(rehearsal: &Rehearsal, lane: &impl Fn(&str) -> usize) -> Vec<Fault> {
    let faults = rehearsal.plan.faults.iter().zip(&rehearsal.bites);
    let fault = |(fault, bit): (&crate::plan::Fault, &bool)| {
        let (a, b) = fault.what.hosts();
        let hosts = [Some(a), b].into_iter().flatten().map(lane).collect();
        let (what, link) = (fault.what.to_string(), b.is_some());
        Fault { what, from: millis(fault.from), until: millis(fault.until()), hosts, link, bit: *bit }
    };
    faults.map(fault).collect()
}

fn log(event: &Event, lane: &impl Fn(&str) -> usize) -> Log {
    let fields = event.fields.iter().filter(|(name, _)| *name != "target" && *name != "level");
    let fields: String = fields.map(|(name, value)| format!(" {name}={value}")).collect();
    let text = format!("{}{fields}", event.text);
    Log { at: millis(event.at), host: lane(&event.host), id: event.request_id.clone(), text }
}

/// Joins each segment's departure with its arrival; how many did not fit, too.
fn messages(events: &[Event], hosts: &[String]) -> (Vec<Message>, usize) {
    let addresses = addresses(events, hosts);
    let host_of = |address: &str| addresses.get(address.rsplit_once(':')?.0).copied();
    let mut messages: Vec<Message> = Vec::new();
    let mut under_way: BTreeMap<(&str, &str), VecDeque<usize>> = BTreeMap::new();
    let mut left_out = 0;
    for event in events.iter().filter(|event| event.kind == EventKind::Net) {
        let (Some(source), Some(target)) = (event.field("src"), event.field("dst")) else {
            continue;
        };
        let queue = under_way.entry((source, target)).or_default();
        match event.text.as_str() {
            "sent" if messages.len() < MESSAGES_MAX => {
                let (Some(from), Some(to)) = (host_of(source), host_of(target)) else {
                    continue;
                };
                queue.push_back(messages.len());
                let what = event.field("protocol").unwrap_or_default().to_owned();
                messages.push(Message(from, to, millis(event.at), None, what, false));
            }
            "sent" => left_out += 1,
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
    (messages, left_out)
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

fn millis(time: Duration) -> f64 {
    time.as_secs_f64() * 1e3
}
