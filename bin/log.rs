//! Log lines: one JSON object each, or text for people. Written off the hot path.
//!
//! A line that belongs to a call carries its request id and service, taken from the call's context. The
//! writer has a thread and a bounded queue of its own; what does not fit is dropped and counted.

use std::fmt;
use std::io::{self, BufWriter, IsTerminal as _};
use std::time::Duration;

use serde::Serializer as _;
use tracing::field::{Field, Visit};
use tracing::{Event, Subscriber, error, warn};
use tracing_appender::non_blocking::{ErrorCounter, NonBlockingBuilder, WorkerGuard};
use tracing_subscriber::filter::Targets;
use tracing_subscriber::fmt::format::Writer;
use tracing_subscriber::fmt::time::{FormatTime, SystemTime};
use tracing_subscriber::fmt::{FmtContext, FormatEvent, FormatFields};
use tracing_subscriber::layer::SubscriberExt as _;
use tracing_subscriber::registry::LookupSpan;
use tracing_subscriber::util::SubscriberInitExt as _;
use transport::CallContext;

use crate::config::{Config, LogFormat};

/// The most lines that wait to be written.
const QUEUE_LINES: usize = 64 * 1024;

/// Keeps the log running; when dropped, what waits is written.
#[derive(Debug)]
pub struct Log {
    _guard: WorkerGuard,
    dropped: ErrorCounter,
}

/// Sends the log of this process to stdout, and panics to the log. Call it once.
#[must_use]
pub fn start(config: &Config) -> Log {
    let stdout = BufWriter::with_capacity(64 * 1024, io::stdout());
    let (writer, guard) =
        NonBlockingBuilder::default().buffered_lines_limit(QUEUE_LINES).thread_name("log").finish(stdout);
    let dropped = writer.error_counter();
    let filter: Targets = config.log.parse().expect("the filter was checked with the configuration");
    let json = match config.log_format {
        LogFormat::Auto => !io::stdout().is_terminal(),
        LogFormat::Json => true,
        LogFormat::Text => false,
    };
    let registry = tracing_subscriber::registry().with(filter);
    let layer = tracing_subscriber::fmt::layer().with_writer(writer);
    if json {
        registry.with(layer.event_format(Json)).init();
    } else {
        registry.with(layer.event_format(Text)).init();
    }
    std::panic::set_hook(Box::new(|panic| {
        let location = panic.location().map(ToString::to_string).unwrap_or_default();
        let reason = panic.payload_as_str().unwrap_or("no reason given");
        error!(reason, location, "panic");
    }));
    Log { _guard: guard, dropped }
}

impl Log {
    /// Reports dropped lines, for as long as it is polled.
    pub async fn report_drops(&self) {
        let mut reported = 0;
        loop {
            tokio::time::sleep(Duration::from_secs(5)).await;
            let dropped = self.dropped.dropped_lines();
            if dropped > reported {
                warn!(
                    lines = dropped - reported,
                    "log lines were dropped: they came faster than they could be written"
                );
                reported = dropped;
            }
        }
    }
}

/// One JSON object a line.
struct Json;

impl<S, N> FormatEvent<S, N> for Json
where
    S: Subscriber + for<'a> LookupSpan<'a>,
    N: for<'a> FormatFields<'a> + 'static,
{
    fn format_event(
        &self,
        _: &FmtContext<'_, S, N>,
        mut writer: Writer<'_>,
        event: &Event<'_>,
    ) -> fmt::Result {
        writer.write_str("{\"timestamp\":\"")?;
        SystemTime.format_time(&mut writer)?;
        write!(writer, "\",\"level\":\"{}\"", event.metadata().level())?;
        let mut fields = JsonFields { writer, part: Part::Message };
        fields.string("target", event.metadata().target());
        event.record(&mut fields);
        CallContext::with_current(|context| {
            let Some(context) = context else { return };
            fields.string("request_id", context.request_id().as_str());
            if let Some(service) = context.service() {
                fields.string("service", service);
            }
        });
        fields.part = Part::Rest;
        event.record(&mut fields);
        fields.writer.write_str("}\n")
    }
}

/// Which fields are written: the message stands before the ids, the others behind them.
#[derive(PartialEq)]
enum Part {
    Message,
    Rest,
}

struct JsonFields<'a> {
    writer: Writer<'a>,
    part: Part,
}

impl JsonFields<'_> {
    fn string(&mut self, name: &str, value: &str) {
        self.key(name);
        self.value(|json| json.serialize_str(value));
    }

    fn key(&mut self, name: &str) {
        // Writing to a string does not fail.
        self.writer.write_char(',').ok();
        self.value(|json| json.serialize_str(name));
        self.writer.write_char(':').ok();
    }

    fn value(
        &mut self,
        write: impl FnOnce(&mut serde_json::Serializer<Utf8<'_, '_>>) -> serde_json::Result<()>,
    ) {
        write(&mut serde_json::Serializer::new(Utf8(&mut self.writer))).ok();
    }

    fn field(
        &mut self,
        field: &Field,
        write: impl FnOnce(&mut serde_json::Serializer<Utf8<'_, '_>>) -> serde_json::Result<()>,
    ) {
        let name = field.name();
        if (name == "message") != (self.part == Part::Message) {
            return;
        }
        match name {
            // An event's own field must not pass for one of the line's.
            "timestamp" | "level" | "target" | "request_id" | "service" => self.key(&format!("event.{name}")),
            _ => self.key(name),
        }
        self.value(write);
    }
}

impl Visit for JsonFields<'_> {
    fn record_str(&mut self, field: &Field, value: &str) {
        self.field(field, |json| json.serialize_str(value));
    }

    fn record_u64(&mut self, field: &Field, value: u64) {
        self.field(field, |json| json.serialize_u64(value));
    }

    fn record_i64(&mut self, field: &Field, value: i64) {
        self.field(field, |json| json.serialize_i64(value));
    }

    fn record_f64(&mut self, field: &Field, value: f64) {
        self.field(field, |json| json.serialize_f64(value));
    }

    fn record_bool(&mut self, field: &Field, value: bool) {
        self.field(field, |json| json.serialize_bool(value));
    }

    fn record_debug(&mut self, field: &Field, value: &dyn fmt::Debug) {
        self.field(field, |json| json.collect_str(&format_args!("{value:?}")));
    }
}

/// Lets serde_json write where only text can be written. It writes whole characters.
struct Utf8<'a, 'b>(&'a mut Writer<'b>);

impl io::Write for Utf8<'_, '_> {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        let text = std::str::from_utf8(bytes).map_err(io::Error::other)?;
        self.0.write_str(text).map_err(io::Error::other)?;
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

/// Time, level, service, message, fields, request id.
struct Text;

impl<S, N> FormatEvent<S, N> for Text
where
    S: Subscriber + for<'a> LookupSpan<'a>,
    N: for<'a> FormatFields<'a> + 'static,
{
    fn format_event(
        &self,
        context: &FmtContext<'_, S, N>,
        mut writer: Writer<'_>,
        event: &Event<'_>,
    ) -> fmt::Result {
        SystemTime.format_time(&mut writer)?;
        write!(writer, " {:5} ", event.metadata().level())?;
        let call = CallContext::current();
        let service = call.as_ref().and_then(CallContext::service);
        write!(writer, "{}: ", service.unwrap_or(event.metadata().target()))?;
        context.format_fields(writer.by_ref(), event)?;
        if let Some(call) = &call {
            write!(writer, " request_id={}", call.request_id())?;
        }
        writeln!(writer)
    }
}
