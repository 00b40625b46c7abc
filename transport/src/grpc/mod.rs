//! gRPC over HTTP/2, over any [`Net`](crate::Net): the carrier of outgoing calls and the edge for incoming ones.
//!
//! tonic does the framing, the metadata and the statuses; hyper does HTTP/2. Connections, deadlines,
//! reconnecting, draining and the repair of statuses are done here.

mod answer;
mod backoff;
mod balance;
mod carrier;
mod chosen;
mod codec;
mod details;
mod endpoint;
mod endpoints;
mod framing;
mod greeting;
mod incoming;
mod line;
mod lines;
mod metered;
mod name;
mod outgoing;
mod preface;
mod record;
mod rendezvous;
mod request;
mod scan;
mod sent;
mod server;
mod subchannel;
mod watch;

use std::time::Duration;

pub use carrier::Grpc;
pub use server::Server;

/// When an HTTP/2 connection counts as dead.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Keepalive {
    /// Send a PING when nothing was read for this long.
    pub interval: Duration,
    /// The connection is dead if the answer takes longer.
    pub timeout: Duration,
    /// A new connection is given up if the callee takes longer to greet, by its SETTINGS, once it has accepted. Connecting
    /// as a whole is given up after 20 s in any case.
    pub greeting: Duration,
}

impl Default for Keepalive {
    /// 20 s, 10 s and 10 s. Clients ping only while a call is open, as servers of gRPC's own stacks demand; a
    /// half-open connection is found with the first call that uses it.
    fn default() -> Self {
        let half = Duration::from_secs(10);
        Self { interval: half * 2, timeout: half, greeting: half }
    }
}
