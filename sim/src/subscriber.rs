//! Takes every `tracing` event of every host, and turmoil's own, into the trace.
//!
//! One subscriber serves all simulation threads: it keeps nothing itself but writes to the thread's stage.
//! Which events are wanted is decided once for each place in the code, not for each event.

use std::fmt::{self, Write as _};
use std::sync::OnceLock;

use tracing::field::{Field, Visit};
use tracing::span::{Attributes, Id, Record};
use tracing::subscriber::Interest;
use tracing::{Dispatch, Level, Metadata, Subscriber};
use tracing_core::callsite::Identifier;
use tracing_core::span::Current;
use transport::CallContext;

use crate::packet::{self, Details, Packet};
use crate::spans::HOST_SPANS;
use crate::stage::{self, Stage};
use crate::trace::{EventKind, Fields};

/// The field by which a span or an event says which request it belongs to.
const REQUEST_ID: &str = "request_id";

/// Runs `work` with this thread's tracing going to its stage.
pub(crate) fn subscribed<T>(work: impl FnOnce() -> T) -> T {
    // A new `Dispatch` makes tracing ask about every place in the program again, under a global lock.
    static DISPATCH: OnceLock<Dispatch> = OnceLock::new();
    let dispatch = DISPATCH.get_or_init(|| Dispatch::new(ToStage));
    tracing::dispatcher::with_default(dispatch, work)
}

#[derive(Debug)]
struct ToStage;

/// What the harness does with what happens at one place in the code.
enum Interesting {
    /// turmoil is about to run a host.
    HostSpan,
    Span,
    Net,
    Log,
    No,
}

fn interest_in(metadata: &Metadata<'_>) -> Interesting {
    if is_host_span(metadata) {
        return Interesting::HostSpan;
    }
    if metadata.target() != "turmoil" {
        return match (*metadata.level() <= Level::INFO, metadata.is_span()) {
            (false, _) => Interesting::No,
            (true, true) => Interesting::Span,
            (true, false) => Interesting::Log,
        };
    }
    match metadata.module_path() {
        // Sent, held, dropped; delivered, bound. What an application then receives, its socket reports.
        Some("turmoil::top" | "turmoil::host") => Interesting::Net,
        // Crashes and bounces name an address; the line for each step has nothing but its message.
        Some("turmoil::sim") if metadata.fields().len() > 1 => Interesting::Net,
        _ => Interesting::No,
    }
}

/// turmoil's own events have its target, but the span around a host's turn has its module's.
fn is_host_span(metadata: &Metadata<'_>) -> bool {
    metadata.is_span() && metadata.name() == "node" && metadata.target() == "turmoil::sim"
}

impl Subscriber for ToStage {
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
        let id = stage::with(|stage| match is_host_span(attributes.metadata()) {
            true => host_span(stage, attributes),
            false => open_span(stage, attributes),
        });
        Id::from_u64(id.unwrap_or(HOST_SPANS))
    }

    fn record(&self, span: &Id, values: &Record<'_>) {
        let mut found = RequestId(None);
        values.record(&mut found);
        if let Some(request_id) = found.0 {
            stage::with(|stage| stage.spans.set_request_id(span.into_u64(), request_id));
        }
    }

    fn record_follows_from(&self, _span: &Id, _follows: &Id) {}

    fn event(&self, event: &tracing::Event<'_>) {
        stage::with(|stage| match event.metadata().target() {
            "turmoil" => net_event(stage, event),
            _ => log_event(stage, event),
        });
    }

    fn enter(&self, span: &Id) {
        let id = span.into_u64();
        stage::with(|stage| match id {
            ..HOST_SPANS => stage.enter(usize::try_from(id - 1).ok()),
            _ => stage.spans.enter(id),
        });
    }

    fn exit(&self, span: &Id) {
        let id = span.into_u64();
        stage::with(|stage| match id {
            ..HOST_SPANS => stage.enter(None),
            _ => stage.spans.exit(id),
        });
    }

    fn clone_span(&self, id: &Id) -> Id {
        stage::with(|stage| stage.spans.add_handle(id.into_u64()));
        id.clone()
    }

    fn try_close(&self, id: Id) -> bool {
        stage::with(|stage| stage.spans.drop_handle(id.into_u64())).unwrap_or(false)
    }

    fn current_span(&self) -> Current {
        match stage::with(|stage| stage.spans.current_metadata()).flatten() {
            Some((id, metadata)) => Current::new(Id::from_u64(id), metadata),
            None => Current::none(),
        }
    }
}

/// The id of a host's span is the host's number plus one, since ids start at one.
fn host_span(stage: &Stage, attributes: &Attributes<'_>) -> u64 {
    struct Name<'a>(&'a Stage, Option<usize>);
    impl Visit for Name<'_> {
        fn record_str(&mut self, _field: &Field, value: &str) {
            self.1 = self.0.host_named(value);
        }
        fn record_debug(&mut self, _field: &Field, _value: &dyn fmt::Debug) {}
    }
    let mut name = Name(stage, None);
    attributes.record(&mut name);
    name.1.map_or(HOST_SPANS, |host| host as u64 + 1)
}

fn open_span(stage: &mut Stage, attributes: &Attributes<'_>) -> u64 {
    let mut own = RequestId(None);
    attributes.record(&mut own);
    let parent = match attributes.parent() {
        Some(parent) => Some(parent.into_u64()),
        None if attributes.is_contextual() => stage.spans.current(),
        None => None,
    };
    stage.spans.open(attributes.metadata(), own.0, parent)
}

fn log_event(stage: &mut Stage, event: &tracing::Event<'_>) {
    let mut line = LogLine::new();
    event.record(&mut line);
    let parent = event.parent().map(Id::into_u64).or_else(|| stage.spans.current());
    let inherited = || parent.and_then(|span| stage.spans.request_id_of(span)).map(str::to_owned);
    let of_call = || CallContext::with_current(|call| Some(call?.request_id().as_str().to_owned()));
    let request_id = line.request_id.or_else(of_call).or_else(inherited);
    line.fields.push(("level", event.metadata().level().as_str().into()));
    line.fields.push(("target", event.metadata().target().into()));
    let event = stage.event(EventKind::Log, line.message, request_id, line.fields);
    stage.push(event);
}

/// The places in turmoil's code that tell of each segment when it is sent and when it is delivered, known by the
/// first of each.
static SENDS: OnceLock<Identifier> = OnceLock::new();
static DELIVERS: OnceLock<Identifier> = OnceLock::new();

fn net_event(stage: &mut Stage, event: &tracing::Event<'_>) {
    if !stage.is_traced() {
        return;
    }
    let details = |_: &Stage| {
        let mut details = Details::default();
        event.record(&mut details);
        details.into_fields()
    };
    let place = event.metadata().callsite();
    let mut packet = Packet::default();
    match [&SENDS, &DELIVERS].map(|known| known.get() == Some(&place)) {
        [true, _] => packet.is(packet::SENT),
        [_, true] => packet.is(packet::DELIVERED),
        _ => event.record(&mut packet),
    }
    match packet.text() {
        // Its socket has hashed it already.
        packet::SENT => {
            SENDS.get_or_init(|| place);
            return stage.keep(EventKind::Net, packet::SENT, None, details);
        }
        // To print it costs more than to deliver it, and the socket that reads it hashes it.
        packet::DELIVERED => {
            DELIVERS.get_or_init(|| place);
            return stage.push_frequent(EventKind::Net, packet::DELIVERED, &[], details);
        }
        _ => {}
    }
    if packet.is_held()
        && let Some((from, to)) = packet.ends()
        && let (Some(from), Some(to)) = (stage.host_at(from.ip()), stage.host_at(to.ip()))
    {
        stage.touch(from, to);
    }
    stage.push_frequent(EventKind::Net, packet.text(), &[packet.hash()], details);
}

/// Finds the request id among the fields.
struct RequestId(Option<String>);

impl Visit for RequestId {
    fn record_str(&mut self, field: &Field, value: &str) {
        if field.name() == REQUEST_ID {
            self.0 = Some(value.to_owned());
        }
    }

    fn record_debug(&mut self, field: &Field, value: &dyn fmt::Debug) {
        if field.name() == REQUEST_ID {
            self.0 = Some(format!("{value:?}"));
        }
    }
}

/// A log line in the making.
struct LogLine {
    message: String,
    request_id: Option<String>,
    fields: Fields,
}

impl LogLine {
    fn new() -> Self {
        /// As many as an access line has, so that the list need not grow.
        const FIELDS: usize = 12;
        Self { message: String::new(), request_id: None, fields: Fields::with_capacity(FIELDS) }
    }

    fn put(&mut self, field: &Field, value: String) {
        match field.name() {
            "message" => self.message = value,
            REQUEST_ID => self.request_id = Some(value),
            name => self.fields.push((name, value.into())),
        }
    }
}

impl Visit for LogLine {
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
