//! The log of a test, line by line.

use std::io;
use std::sync::{Arc, Mutex};

use serde_json::Value;
use tracing::Dispatch;
use tracing::dispatcher::{DefaultGuard, set_default};
use tracing::subscriber::NoSubscriber;

/// What is logged on this thread for as long as this lives.
pub(crate) struct Log {
    written: Written,
    _guard: DefaultGuard,
    /// Where there is a single dispatcher, tracing asks whichever thread comes to a line first whether anybody listens there,
    /// and takes a no for all threads.
    _other: Dispatch,
}

#[derive(Clone, Default)]
struct Written(Arc<Mutex<Vec<u8>>>);

impl Log {
    pub(crate) fn start() -> Self {
        let written = Written::default();
        let writer = written.clone();
        let subscriber = tracing_subscriber::fmt().json().with_writer(move || writer.clone()).finish();
        let (dispatch, other) = (Dispatch::new(subscriber), Dispatch::new(NoSubscriber::new()));
        Self { written, _guard: set_default(&dispatch), _other: other }
    }

    /// The fields of each line that was logged since this was asked last; its text is the field `message`.
    pub(crate) fn lines(&self) -> Vec<Value> {
        let written = std::mem::take(&mut *self.written.0.lock().expect("nobody panicked with it"));
        let lines = serde_json::Deserializer::from_slice(&written).into_iter::<Value>();
        lines.map(|line| line.expect("a line is JSON")["fields"].take()).collect()
    }
}

impl io::Write for Written {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.0.lock().expect("nobody panicked with it").extend_from_slice(bytes);
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}
