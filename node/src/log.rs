//! Log lines: one JSON object each, or text for people. Written off the hot path.
//!
//! A line that belongs to a call carries its request id and service, taken from the call's context. The
//! writer has a thread and a bounded queue of its own; what does not fit is dropped and counted.

use std::cell::RefCell;
use std::fmt::{self, Write as _};
use std::io::{self, BufWriter, IsTerminal as _, Write as _};
use std::time::{Duration, SystemTime};

use serde::Serialize;
use tracing::field::{Field, Visit};
use tracing::{Event, Subscriber, error, warn};
use tracing_appender::non_blocking::{ErrorCounter, NonBlocking, NonBlockingBuilder, WorkerGuard};
use tracing_subscriber::filter::Targets;
use tracing_subscriber::fmt::format::Writer;
use tracing_subscriber::fmt::time::FormatTime;
use tracing_subscriber::fmt::{FmtContext, FormatEvent, FormatFields};
use tracing_subscriber::layer::{Context, Layer, SubscriberExt as _};
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
    if json {
        registry.with(Json { writer }).init();
    } else {
        let text = tracing_subscriber::fmt::layer().with_writer(writer).event_format(Text);
        registry.with(text).init();
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

/// One JSON object a line, written by hand rather than by the layer below it: it is on the way of every call.
struct Json {
    writer: NonBlocking,
}

/// The buffers of a thread, kept from line to line.
#[derive(Default)]
struct Buffers {
    line: Vec<u8>,
    /// The message, as JSON.
    message: Vec<u8>,
    /// The event's own fields, which come last but are met in the order of the code.
    fields: Vec<u8>,
    /// What only knows how to display itself.
    text: String,
    /// This thread's own end of the queue.
    writer: Option<NonBlocking>,
}

thread_local! {
    static BUFFERS: RefCell<Buffers> = RefCell::default();
}

impl<S: Subscriber> Layer<S> for Json {
    fn on_event(&self, event: &Event<'_>, _: Context<'_, S>) {
        BUFFERS.with(|buffers| match buffers.try_borrow_mut() {
            Ok(mut buffers) => self.write(event, &mut buffers),
            // A value logged a line of its own while it was displayed for this one.
            Err(_) => self.write(event, &mut Buffers::default()),
        });
    }
}

impl Json {
    fn write(&self, event: &Event<'_>, buffers: &mut Buffers) {
        let Buffers { line, message, fields, text, writer } = buffers;
        message.clear();
        fields.clear();
        event.record(&mut JsonFields { message, fields, text });
        line.clear();
        line.extend_from_slice(b"{\"timestamp\":\"");
        append(line, format_args!("{}", humantime::format_rfc3339_micros(wall_clock())));
        line.extend_from_slice(b"\",\"level\":\"");
        line.extend_from_slice(event.metadata().level().as_str().as_bytes());
        line.push(b'"');
        pair(line, "target", &event.metadata().target());
        if !message.is_empty() {
            line.extend_from_slice(b",\"message\":");
            line.extend_from_slice(message);
        }
        CallContext::with_current(|context| {
            let Some(context) = context else { return };
            pair(line, "request_id", &context.request_id().as_str());
            if let Some(service) = context.service() {
                pair(line, "service", &service);
            }
        });
        line.extend_from_slice(fields);
        line.extend_from_slice(b"}\n");
        // It is queued or, where the queue is full, dropped and counted.
        writer.get_or_insert_with(|| self.writer.clone()).write_all(line).ok();
    }
}

#[allow(clippy::disallowed_methods, reason = "log lines carry the wall clock, and this is where it enters")]
fn wall_clock() -> SystemTime {
    SystemTime::now()
}

/// Writes `,"name":value`.
fn pair(to: &mut Vec<u8>, name: &str, value: &impl Serialize) {
    key(to, name);
    json(to, value);
}

fn key(to: &mut Vec<u8>, name: &str) {
    to.push(b',');
    json(to, &name);
    to.push(b':');
}

fn json(to: &mut Vec<u8>, value: &impl Serialize) {
    serde_json::to_writer(to, value).expect("strings and numbers have a JSON form");
}

fn append(to: &mut Vec<u8>, text: fmt::Arguments<'_>) {
    to.write_fmt(text).expect("a vector takes all");
}

struct JsonFields<'a> {
    message: &'a mut Vec<u8>,
    fields: &'a mut Vec<u8>,
    text: &'a mut String,
}

impl JsonFields<'_> {
    fn put(&mut self, field: &Field, value: &impl Serialize) {
        match field.name() {
            "message" => json(self.message, value),
            // An event's own field must not pass for one of the line's.
            name @ ("timestamp" | "level" | "target" | "request_id" | "service") => {
                pair(self.fields, &format!("event.{name}"), value);
            }
            name => pair(self.fields, name, value),
        }
    }
}

impl Visit for JsonFields<'_> {
    fn record_str(&mut self, field: &Field, value: &str) {
        self.put(field, &value);
    }

    fn record_u64(&mut self, field: &Field, value: u64) {
        self.put(field, &value);
    }

    fn record_i64(&mut self, field: &Field, value: i64) {
        self.put(field, &value);
    }

    fn record_f64(&mut self, field: &Field, value: f64) {
        self.put(field, &value);
    }

    fn record_bool(&mut self, field: &Field, value: bool) {
        self.put(field, &value);
    }

    fn record_debug(&mut self, field: &Field, value: &dyn fmt::Debug) {
        let mut text = std::mem::take(self.text);
        text.clear();
        // A value that cannot be displayed is cut short; the line is written all the same.
        write!(text, "{value:?}").ok();
        self.put(field, &text.as_str());
        *self.text = text;
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
        tracing_subscriber::fmt::time::SystemTime.format_time(&mut writer)?;
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
