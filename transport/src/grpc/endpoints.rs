//! The endpoints of one service: which of them a call goes to, and how many may be left out.

use std::fmt;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use futures_util::future::select_ok;
use tokio::time::sleep_until;

use super::Keepalive;
use super::balance::{Choice, Chosen, order};
use super::endpoint::Endpoint;
use super::subchannel::{Pick, Subchannel};
use crate::gauges::{Count, Gauge, Reading};
use crate::net::{Address, Net};
use crate::status::Result;
use crate::trail::{Step, Trail};

/// The endpoints of a service.
pub(super) struct Endpoints {
    service: &'static str,
    all: Vec<Arc<Endpoint>>,
    /// How many calls have chosen an endpoint.
    next: AtomicUsize,
    /// Calls that wait for a connection.
    waiting: Count,
}

/// What a call wants of an endpoint.
#[derive(Debug, Clone)]
pub(super) struct Wanted {
    /// Which attempt of its call it is.
    pub(super) attempt: u32,
    /// Where the others went: it goes elsewhere, if it can.
    pub(super) trail: Trail,
    /// Whether it waits where all are down.
    pub(super) wait_for_ready: bool,
}

impl Endpoints {
    pub(super) fn new(
        service: &'static str,
        addresses: &[Address],
        net: &Arc<dyn Net>,
        keepalive: Keepalive,
    ) -> Arc<Self> {
        let endpoint = |address: &Address| {
            let subchannel = Subchannel::new(service, address.clone(), net.clone(), keepalive);
            Endpoint::new(service, address.clone(), subchannel)
        };
        let all = addresses.iter().map(endpoint).collect();
        Arc::new(Self { service, all, next: AtomicUsize::new(0), waiting: Count::default() })
    }

    pub(super) fn count(&self) -> usize {
        self.all.len()
    }

    /// A connected endpoint: the better of two, or the first that gets connected.
    pub(super) async fn connected(&self, wanted: &Wanted) -> Result<Chosen> {
        let chosen = loop {
            match self.look_for(wanted).await {
                Err(_) if wanted.wait_for_ready => self.rest().await,
                outcome => break outcome?,
            }
        };
        wanted.trail.goes_to(wanted.attempt, chosen.endpoint.address());
        wanted.trail.came(wanted.attempt, Step::Connected);
        Ok(chosen)
    }

    async fn look_for(&self, wanted: &Wanted) -> Result<Chosen> {
        let mut choice = Choice::new(wanted.attempt, &wanted.trail);
        let mut waiting = Vec::new();
        let mut last = None;
        for endpoint in order(self.all.len()).map(|index| &self.all[index]) {
            match endpoint.pick() {
                Pick::Ready(sender) => {
                    if choice.offer(endpoint, sender) {
                        break;
                    }
                }
                Pick::Wait(connecting) => {
                    let endpoint = endpoint.clone();
                    waiting.push(Box::pin(async move {
                        Ok(Chosen { endpoint, sender: connecting.await?, is_trial: false })
                    }));
                }
                Pick::Down(status) => last = Some(status),
            }
        }
        if let Some(chosen) = choice.made() {
            return Ok(chosen);
        }
        if waiting.is_empty() {
            return Err(last.expect("a carrier has at least one address"));
        }
        let _one = self.waiting.one();
        select_ok(waiting).await.map(|(connected, _)| connected)
    }

    /// Waits until an endpoint may be connected to again.
    async fn rest(&self) {
        let until = self.all.iter().filter_map(|endpoint| endpoint.subchannel().rests_until()).min();
        if let Some(until) = until {
            let _one = self.waiting.one();
            sleep_until(until).await;
        }
    }

    /// The number of a call that has chosen an endpoint.
    pub(super) fn turn(&self) -> usize {
        self.next.fetch_add(1, Ordering::Relaxed).wrapping_add(1)
    }

    /// Leaves `endpoint` out for a while: it has failed once too often. No more than half of those that are connected,
    /// rounded up, and never the last: were all to fail, none would be better than the others.
    pub(super) fn leave_out(&self, endpoint: &Arc<Endpoint>) {
        let others = || self.all.iter().filter(|other| !Arc::ptr_eq(other, endpoint));
        let ejected = others().filter(|other| other.is_ejected()).count();
        let sound = others().filter(|other| !other.is_ejected() && other.is_connected()).count();
        if endpoint.is_ejected() || sound > 0 && ejected < (sound + ejected + 1).div_ceil(2) {
            endpoint.eject();
        }
    }

    pub(super) fn tell(&self, reading: &mut Reading) {
        reading.add(Gauge::CalleeCallsWaiting, self.service, "", self.waiting.get());
        self.all.iter().for_each(|endpoint| endpoint.tell(reading));
    }
}

impl fmt::Debug for Endpoints {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_list().entries(&self.all).finish()
    }
}
