//! Takes every `tracing` event of every host, and turmoil's own, into the trace.
//!
//! One subscriber serves all simulation threads: it keeps nothing itself but writes to the thread's recorder.
//! Which events are wanted is decided once for each line of code, not for each event. Spans of programs are not
//! looked at: which call a line belongs to is known from the line or from the scenario's hook.

use std::fmt::{self, Write as _};
use std::sync::OnceLock;

use tracing::field::{Field, Visit};
use tracing::span::{Attributes, Id, Record};
use tracing::subscriber::Interest;
use tracing::{Dispatch, Level, Metadata, Subscriber};
use tracing_core::callsite::Identifier;
use tracing_core::span::Current;

use crate::trace::event::{Line, What};
use crate::trace::packet::{self, Details, Packet};
use crate::trace::recorder::{self, Recorder};
use crate::trace::value::{Fields, Value};

/// The field by which a line says which request it belongs to.
const REQUEST_ID: &str = "request_id";

/// The id of a span that is no host's. A host's span has the host's number plus one, since ids start at one.
const NO_HOST: u64 = u64::MAX;

/// Runs `work` with this thread's tracing going to its recorder.
pub(crate) fn subscribed<T>(work: impl FnOnce() -> T) -> T {
    // A new `Dispatch` makes tracing ask about every line of the program again, under a global lock.
    static DISPATCH: OnceLock<Dispatch> = OnceLock::new();
    let dispatch = DISPATCH.get_or_init(|| Dispatch::new(ToRecorder));
    tracing::dispatcher::with_default(dispatch, work)
}

#[derive(Debug)]
struct ToRecorder;

/// What becomes of what is said at one line of code.
enum Interesting {
    /// turmoil is about to run a host.
    HostSpan,
    Net,
    Log,
    No,
}

fn interest_in(metadata: &Metadata<'_>) -> Interesting {
    if is_host_span(metadata) {
        return Interesting::HostSpan;
    }
    if metadata.target() != "turmoil" {
        let is_line = *metadata.level() <= Level::INFO && !metadata.is_span();
        return if is_line { Interesting::Log } else { Interesting::No };
    }
    match metadata.module_path() {
        // What becomes of segments, and which ports are bound. What a program then reads of a segment is told by its socket.
        Some("turmoil::top" | "turmoil::host") => Interesting::Net,
        // Hosts that crash and start again: such a line has a field, the address. The line that turmoil logs for each step
        // has none, and is not wanted.
        Some("turmoil::sim") if metadata.fields().len() > 1 => Interesting::Net,
        _ => Interesting::No,
    }
}

/// turmoil's own events have its target, but the span around a host's turn has its module's.
fn is_host_span(metadata: &Metadata<'_>) -> bool {
    metadata.is_span() && metadata.name() == "node" && metadata.target() == "turmoil::sim"
}

impl Subscriber for ToRecorder {
    fn register_callsite(&self, metadata: &'static Metadata<'static>) -> Interest {
        match interest_in(metadata) {
            Interesting::No => Interest::never(),
            _ => Interest::always(),
        }
    }

    fn enabled(&self, metadata: &Metadata<'_>) -> bool {
        !matches!(interest_in(metadata), Interesting::No)
    }

    fn new_span(&self, attributes: &Attributes<'_>) -> Id {
        let host = recorder::with(|recorder| host_of_span(recorder, attributes));
        Id::from_u64(host.map_or(NO_HOST, |host| host as u64 + 1))
    }

    fn record(&self, _span: &Id, _values: &Record<'_>) {}

    fn record_follows_from(&self, _span: &Id, _follows: &Id) {}

    fn event(&self, event: &tracing::Event<'_>) {
        match event.metadata().target() {
            "turmoil" => recorder::with(|recorder| net_event(recorder, event)),
            _ => log_event(event),
        }
    }

    fn enter(&self, span: &Id) {
        recorder::with(|recorder| recorder.enter(host_number(span)));
    }

    fn exit(&self, _span: &Id) {
        recorder::with(|recorder| recorder.enter(None));
    }

    fn current_span(&self) -> Current {
        Current::none()
    }
}

fn host_of_span(recorder: &Recorder, attributes: &Attributes<'_>) -> Option<usize> {
    struct Name<'a>(&'a Recorder, Option<usize>);
    impl Visit for Name<'_> {
        fn record_str(&mut self, _field: &Field, value: &str) {
            self.1 = self.0.hosts.named(value);
        }
        fn record_debug(&mut self, _field: &Field, _value: &dyn fmt::Debug) {}
    }
    let mut name = Name(recorder, None);
    attributes.record(&mut name);
    name.1
}

fn host_number(span: &Id) -> Option<usize> {
    if span.into_u64() == NO_HOST { None } else { usize::try_from(span.into_u64() - 1).ok() }
}

fn log_event(event: &tracing::Event<'_>) {
    let mut said = Said::new();
    event.record(&mut said);
    let metadata = event.metadata();
    // This runs the program's own code, which may report to the recorder: so it must not run inside of `with`.
    let ask = recorder::with(|recorder| recorder.lines);
    let of_call = ask.request_id.and_then(|of_line| of_line());
    let written = ask.written.and_then(|written| {
        let host = recorder::current_host()?;
        written(&host, event)
    });
    let request_id = said.request_id.or_else(|| of_call.clone().filter(|id| !id.is_empty()));
    let (message, fields) = (said.message, said.fields);
    let line = Line {
        target: metadata.target(),
        level: *metadata.level(),
        message,
        fields,
        of_call,
        known: Some(metadata.fields()),
        written,
    };
    recorder::with(|recorder| recorder.log(line, request_id));
}

/// The lines of turmoil's code that tell of each segment when it is sent and when it is delivered, known by the
/// first of each.
static SENDS: OnceLock<Identifier> = OnceLock::new();
static DELIVERS: OnceLock<Identifier> = OnceLock::new();

fn net_event(recorder: &mut Recorder, event: &tracing::Event<'_>) {
    if !recorder.kept.is_hashed() {
        return;
    }
    let details = |text: &'static str| {
        let mut details = Details::default();
        event.record(&mut details);
        What::Net(text, details.into_fields())
    };
    let callsite = event.metadata().callsite();
    let mut packet = Packet::default();
    match [&SENDS, &DELIVERS].map(|known| known.get() == Some(&callsite)) {
        [true, _] => packet.is(packet::SENT),
        [_, true] => packet.is(packet::DELIVERED),
        _ => event.record(&mut packet),
    }
    match packet.text() {
        // The socket that sent it has hashed its bytes already.
        packet::SENT => {
            SENDS.get_or_init(|| callsite);
            return recorder.keep(None, |_| details(packet::SENT));
        }
        // Its bytes are hashed by the socket that reads them. To print the segment would cost more than to deliver it.
        packet::DELIVERED => {
            DELIVERS.get_or_init(|| callsite);
            return recorder.push_frequent(packet::DELIVERED, &[], |_| details(packet::DELIVERED));
        }
        _ => {}
    }
    if packet.is_held()
        && let Some((from, to)) = packet.ends()
        && let (Some(from), Some(to)) = (recorder.hosts.at(from.ip()), recorder.hosts.at(to.ip()))
    {
        recorder.touch(from, to);
    }
    recorder.push_frequent(packet.text(), &[packet.hash()], |_| details(packet.text()));
}

/// What a log line says.
struct Said {
    message: String,
    request_id: Option<String>,
    fields: Fields,
}

impl Said {
    fn new() -> Self {
        /// As many as an access line has, so that the list need not grow.
        const FIELDS: usize = 8;
        Self { message: String::new(), request_id: None, fields: Fields::with_capacity(FIELDS) }
    }

    fn put(&mut self, field: &Field, value: String) {
        match field.name() {
            "message" => self.message = value,
            REQUEST_ID => self.request_id = Some(value),
            name => self.fields.push((name, Value::Text(value))),
        }
    }
}

impl Visit for Said {
    fn record_u64(&mut self, field: &Field, value: u64) {
        self.fields.push((field.name(), Value::U64(value)));
    }

    fn record_i64(&mut self, field: &Field, value: i64) {
        self.fields.push((field.name(), Value::I64(value)));
    }

    fn record_u128(&mut self, field: &Field, value: u128) {
        match u64::try_from(value) {
            Ok(value) => self.record_u64(field, value),
            Err(_) => self.put(field, value.to_string()),
        }
    }

    fn record_i128(&mut self, field: &Field, value: i128) {
        match i64::try_from(value) {
            Ok(value) => self.record_i64(field, value),
            Err(_) => self.put(field, value.to_string()),
        }
    }

    fn record_f64(&mut self, field: &Field, value: f64) {
        self.fields.push((field.name(), Value::F64(value)));
    }

    fn record_bool(&mut self, field: &Field, value: bool) {
        self.fields.push((field.name(), Value::Bool(value)));
    }

    fn record_str(&mut self, field: &Field, value: &str) {
        self.put(field, value.to_owned());
    }

    fn record_debug(&mut self, field: &Field, value: &dyn fmt::Debug) {
        /// More than most values take: `format!` would start from nothing and grow.
        const VALUE_BYTES: usize = 24;
        let mut text = String::with_capacity(VALUE_BYTES);
        write!(text, "{value:?}").expect("a String takes all that is written to it");
        self.put(field, text);
    }
}
