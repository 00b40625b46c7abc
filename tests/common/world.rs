//! A probe, and a client that reaches it.

use std::sync::Arc;

use probe_contract::probe;
use tokio::sync::{Notify, mpsc};
use transport::{Client, Router, ServiceClient as _};

use super::limits::SOON;
use super::probe::Event;

/// One probe, and a client that reaches it over one carrier.
pub(crate) struct World {
    pub(crate) probe: probe::Client,
    pub(crate) events: mpsc::UnboundedReceiver<Event>,
    /// Frees the actor when it is occupied.
    pub(crate) free: Arc<Notify>,
    /// Holds the actors, where they are in the same world.
    pub(super) _router: Option<Router>,
    /// Kept for as long as its Unix socket is needed.
    pub(super) _folder: Option<tempfile::TempDir>,
}

impl World {
    /// The untyped client.
    pub(crate) fn client(&self) -> &Client {
        self.probe.inner()
    }

    /// What the probe tells next.
    pub(crate) async fn event(&mut self) -> Event {
        let event = tokio::time::timeout(SOON, self.events.recv()).await;
        event.expect("an event comes soon").expect("the probe lives")
    }
}
