//! One line in the log for every call and every request, when it has ended, however it ended.

use std::borrow::Cow;

use tokio::time::Instant;
use tracing::info;

use crate::context::CallContext;

/// What the access line will say, for as long as there is the call. Dropped before it was written, it says that the client
/// went away.
pub(crate) struct AccessLine {
    context: CallContext,
    method: &'static str,
    path: Cow<'static, str>,
    started: Instant,
    /// Bytes of the answer, without headers.
    pub(crate) bytes: u64,
    cancelled: Outcome,
    written: bool,
}

/// How it ended.
#[derive(Debug, Clone, Copy)]
pub(crate) enum Outcome {
    /// The HTTP status of a REST request.
    Http(u16),
    /// The name of a gRPC call's status.
    Grpc(&'static str),
}

impl AccessLine {
    /// `cancelled` is what stands there if the client goes away.
    pub(crate) fn new(
        context: CallContext,
        method: &'static str,
        path: Cow<'static, str>,
        cancelled: Outcome,
    ) -> Self {
        let started = Instant::now();
        Self { context, method, path, started, bytes: 0, cancelled, written: false }
    }

    pub(crate) fn write(&mut self, outcome: Outcome) {
        if std::mem::replace(&mut self.written, true) {
            return;
        }
        let Self { context, method, path, bytes, .. } = self;
        let (method, path, bytes, peer) = (*method, &**path, *bytes, context.caller());
        let duration_ms = self.started.elapsed().as_micros() as f64 / 1000.0;
        context.sync_scope(|| match outcome {
            Outcome::Http(status) => {
                info!(target: "access", method, path, status, duration_ms, bytes, %peer, "request");
            }
            Outcome::Grpc(status) => {
                info!(target: "access", method, path, status, duration_ms, bytes, %peer, "call");
            }
        });
    }
}

/// The name of a method, where it is one that is known: whatever else a client invents is no matter for a log.
pub(crate) fn method_name(method: &str) -> &'static str {
    const KNOWN: [&str; 8] = ["GET", "POST", "PUT", "DELETE", "PATCH", "HEAD", "OPTIONS", "TRACE"];
    KNOWN.into_iter().find(|known| *known == method).unwrap_or("OTHER")
}

impl Drop for AccessLine {
    fn drop(&mut self) {
        self.context.buffered().inspect(|buffered| buffered.over());
        if self.written {
            return;
        }
        let is_late = self.context.remaining().is_some_and(|left| left.is_zero());
        self.write(match self.cancelled {
            Outcome::Grpc(_) if is_late => Outcome::Grpc("DEADLINE_EXCEEDED"),
            cancelled => cancelled,
        });
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::budget::{Budget, Buffered, Share};
    use crate::gauges::{Gauge, Gauges};

    #[test]
    fn a_call_counts_as_long_as_its_line_though_somebody_keeps_its_context() {
        let gauges = Gauges::new();
        let share = Share::of(&Budget::new(1 << 20, &gauges));
        let kept = CallContext::of_nobody().counting(Buffered::of(&share));
        let line = AccessLine::new(kept.clone(), "POST", "/a.B/C".into(), Outcome::Grpc("CANCELLED"));
        assert_ne!(gauges.read().sum(Gauge::BufferedBytes), 0);
        drop(line);
        assert_eq!(gauges.read().sum(Gauge::BufferedBytes), 0);
        drop(kept);
    }
}
