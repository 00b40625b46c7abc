//! The endpoints of one service: which there are, which of them a call goes to, and how many may be left out.

use std::fmt;
use std::mem;
use std::net::SocketAddr;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use futures_util::FutureExt as _;
use futures_util::future::{BoxFuture, select_all, select_ok};
use http::uri::Authority;
use tokio::sync::oneshot;
use tokio::time::{Instant, timeout, timeout_at};

use super::Keepalive;
use super::balance::{Choice, Seen, order, seen};
use super::chosen::Chosen;
use super::endpoint::Endpoint;
use super::line::Pick;
use super::lines::Lines;
use super::name::Name;
use super::rendezvous::ranked;
use super::subchannel::{Connections, Subchannel};
use crate::deadline;
use crate::gauges::{Count, Gauge, Reading};
use crate::net::{Address, Net};
use crate::status::{self, NotSent, Result, Status};
use crate::trail::Trail;

/// How long a call waits for the home of its key to be connected to, before the next one has its keys: as long as who has
/// several addresses waits for one before it tries another (RFC 8305, section 5).
const HOME_MAX: Duration = Duration::from_millis(250);

/// The longest that the answer of a name is waited for.
const RESOLVE_MAX: Duration = Duration::from_secs(5);

/// The longest that a call waits for that answer where addresses are known and nobody can be reached there. Who answers at all
/// mostly does so in milliseconds, and a call that will fail is not to be held up.
const ELSEWHERE_MAX: Duration = Duration::from_millis(200);

/// The endpoints of a service.
pub(super) struct Endpoints {
    service: &'static str,
    net: Arc<dyn Net>,
    keepalive: Keepalive,
    /// Where it is said to be.
    fixed: Vec<Address>,
    names: Vec<Arc<Name>>,
    /// All that there are now. Held for moments only, as the state of a subchannel.
    all: Mutex<Vec<Arc<Endpoint>>>,
    /// How many calls have chosen an endpoint.
    next: AtomicUsize,
    /// Calls that wait for a connection.
    waiting: Count,
    connections: Arc<Connections>,
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
    /// The hash of its key, if calls with the same go to the same endpoint.
    pub(super) key: Option<u64>,
}

type Waiting = BoxFuture<'static, Result<Chosen>>;

impl Endpoints {
    pub(super) fn new(
        service: &'static str,
        addresses: &[Address],
        net: &Arc<dyn Net>,
        keepalive: Keepalive,
        health: Option<&'static str>,
    ) -> Arc<Self> {
        let (mut fixed, mut names) = (Vec::new(), Vec::new());
        for address in addresses {
            match address {
                Address::Dns { name, port } => names.push(Name::new(service, name, *port)),
                Address::Tcp { .. } | Address::Unix(_) => fixed.push(address.clone()),
            }
        }
        let connections = Connections::new(health);
        let (net, (all, next, waiting)) = (net.clone(), Default::default());
        let endpoints = Self { service, net, keepalive, fixed, names, all, next, waiting, connections };
        endpoints.renew();
        Arc::new(endpoints)
    }

    pub(super) fn count(&self) -> usize {
        self.all().len()
    }

    /// A connected endpoint: the better of two, or the first that gets connected.
    pub(super) async fn connected(self: &Arc<Self>, wanted: &Wanted) -> Result<Chosen> {
        let mut has_asked = false;
        let chosen = loop {
            self.ask_names();
            match self.look_for(wanted).await {
                Ok(chosen) => break chosen,
                Err(_) if !mem::replace(&mut has_asked, true) && self.may_be_elsewhere().await => {}
                Err(_) if wanted.wait_for_ready => self.rest().await,
                Err(status) => return Err(status),
            }
        };
        wanted.trail.goes_to(wanted.attempt, chosen.endpoint.address(), self.count() < 2, chosen.at);
        Ok(chosen)
    }

    async fn look_for(&self, wanted: &Wanted) -> Result<Chosen> {
        if self.count() == 0 {
            self.found().await;
        }
        loop {
            let choice = match wanted.key {
                Some(key) => self.choose_by_key(key, wanted)?,
                None => self.choose(wanted)?,
            };
            let waiting = match choice {
                Ok(chosen) => return Ok(chosen),
                Err(waiting) => waiting,
            };
            let _one = self.waiting.one();
            match select_ok(waiting).await {
                Ok((chosen, _)) => return Ok(chosen),
                // It is down now, or waited for no longer.
                Err(_) if wanted.key.is_some() => {}
                Err(status) => {
                    self.hurry();
                    return Err(status);
                }
            }
        }
    }

    /// The endpoint that is best now, or those that are being connected to.
    fn choose(&self, wanted: &Wanted) -> Result<Result<Chosen, Vec<Waiting>>> {
        let all = self.all();
        let mut choice = Choice::new(wanted.attempt, &wanted.trail);
        let mut waiting: Vec<Waiting> = Vec::new();
        let mut last = None;
        for endpoint in order(all.len()).map(|index| &all[index]) {
            match endpoint.pick() {
                Pick::Ready(line, sender) => {
                    if choice.offer(endpoint, line, sender) {
                        break;
                    }
                }
                Pick::Wait(..) => waiting.push(waited_for(endpoint)),
                Pick::Full { .. } => {
                    choice.full(endpoint);
                    waiting.push(waited_for(endpoint));
                }
                Pick::Down(status) => last = Some(status),
            }
        }
        self.chosen(choice.made(), &all, waiting, last)
    }

    /// What was chosen, or what is waited for in its place, where `last` is why the last of those that are down is.
    fn chosen(
        &self,
        choice: Option<Chosen>,
        all: &[Arc<Endpoint>],
        mut waiting: Vec<Waiting>,
        last: Option<Status>,
    ) -> Result<Result<Chosen, Vec<Waiting>>> {
        if last.is_some() {
            self.hurry();
        }
        if let Some(chosen) = choice {
            return Ok(Ok(chosen));
        }
        waiting.extend(Self::tried_early(all));
        if waiting.is_empty() { Err(last.unwrap_or_else(|| self.nowhere())) } else { Ok(Err(waiting)) }
    }

    /// Where no connection takes a call, endpoints that could not be reached a while ago are tried before their time: in a rolling
    /// restart the one that went first is back when the other goes.
    fn tried_early(all: &[Arc<Endpoint>]) -> impl Iterator<Item = Waiting> {
        let tried = all.iter().filter(|endpoint| endpoint.subchannel().ends_rest());
        tried.filter_map(|endpoint| match endpoint.pick() {
            Pick::Wait(..) => Some(waited_for(endpoint)),
            Pick::Ready(..) | Pick::Full { .. } | Pick::Down(_) => None,
        })
    }

    /// The home of a key: the first in its ranking that is there. One that is being connected to is waited for, unless that
    /// failed or takes long; then it counts as down, and the next has its keys (as with gRFC A42's ring).
    fn choose_by_key(&self, key: u64, wanted: &Wanted) -> Result<Result<Chosen, Vec<Waiting>>> {
        let all = self.all();
        let hashes: Vec<_> = all.iter().map(|endpoint| endpoint.hash()).collect();
        let (mut late, mut ejected, mut last) = (Vec::new(), None, None);
        for endpoint in ranked(key, &hashes).into_iter().map(|index| &all[index]) {
            match endpoint.pick() {
                Pick::Ready(line, sender) => match seen(endpoint, line, sender, wanted.attempt) {
                    Seen::Sound(chosen) => return Ok(Ok(chosen)),
                    Seen::Ejected(chosen) => ejected = ejected.or(Some(chosen)),
                },
                Pick::Wait(..) => {
                    let connected = waited_for(endpoint);
                    let until = endpoint.subchannel().is_new_since().map(|since| since + HOME_MAX);
                    match until.filter(|until| *until > Instant::now()) {
                        Some(until) => {
                            return Ok(Err(vec![Box::pin(deadline::within(Some(until), connected))]));
                        }
                        None => late.push(connected),
                    }
                }
                // Its keys stay where they are.
                Pick::Full { .. } if !endpoint.is_ejected() => return Ok(Err(vec![waited_for(endpoint)])),
                Pick::Full { .. } => late.push(waited_for(endpoint)),
                Pick::Down(status) => last = Some(status),
            }
        }
        self.chosen(ejected, &all, late, last)
    }

    fn nowhere(&self) -> Status {
        status::not_sent(NotSent::Unreachable, format!("no address of {} is known", self.service))
    }

    /// Waits until something may have changed where all are down: an endpoint may be connected to again, or says that it
    /// serves, or a name may be asked.
    async fn rest(&self) {
        // Listening comes before looking, so that a change in between is not missed.
        let changed = self.connections.changed.notified();
        if !self.all().iter().all(|endpoint| endpoint.subchannel().is_down()) {
            return;
        }
        let rests = |endpoint: &Arc<Endpoint>| endpoint.subchannel().rests_until();
        let endpoints = self.all().iter().filter_map(rests).min();
        let names = self.names.iter().filter_map(|name| name.is_asked_again()).min();
        let _one = self.waiting.one();
        match endpoints.into_iter().chain(names).min() {
            // Whichever comes first, all are looked at again.
            Some(until) => drop(timeout_at(until, changed).await),
            None => changed.await,
        }
    }

    /// Waits for the first name that has an answer, if any is asked.
    async fn found(&self) {
        let asking: Vec<_> = self.names.iter().filter_map(|name| name.asking()).collect();
        if !asking.is_empty() {
            let _one = self.waiting.one();
            select_all(asking).await;
        }
    }

    /// Asks the names, if it is time, since nobody can be reached where they led; whether an answer comes in a moment.
    async fn may_be_elsewhere(self: &Arc<Self>) -> bool {
        self.ask_names();
        let is_asked = self.names.iter().any(|name| name.asking().is_some());
        is_asked && timeout(ELSEWHERE_MAX, self.found()).await.is_ok()
    }

    /// Asks the names where it is time, and waits for none.
    fn ask_names(self: &Arc<Self>) {
        let now = Instant::now;
        for name in self.names.iter().filter(|name| name.is_due(now())) {
            let (tell, told) = oneshot::channel::<()>();
            name.begin(now(), told.map(drop).boxed().shared());
            let (endpoints, name) = (self.clone(), name.clone());
            self.connections.resolving.spawn(async move {
                let answer = timeout(RESOLVE_MAX, endpoints.net.resolve(&name.name, name.port)).await;
                name.answered(answer.unwrap_or_else(|_| Err(std::io::ErrorKind::TimedOut.into())));
                endpoints.renew();
                endpoints.connections.changed.notify_waiters();
                // Dropped, it tells all who wait.
                drop(tell);
            });
        }
    }

    fn hurry(&self) {
        self.names.iter().for_each(|name| name.hurry());
    }

    /// Brings the endpoints in line with the addresses. One that is still there stays as it is; one that has gone takes no
    /// new call, and its connection ends when nobody has it any more: after its last call.
    fn renew(&self) {
        let mut all = self.all();
        let mut now: Vec<Arc<Endpoint>> = Vec::new();
        let mut add = |address: Address, authority: Authority| {
            if now.iter().any(|known| **known.address() == address) {
                return;
            }
            let known = all.iter().find(|known| **known.address() == address).cloned();
            now.push(known.unwrap_or_else(|| self.endpoint(address, authority)));
        };
        for address in &self.fixed {
            add(address.clone(), authority_of(address));
        }
        for name in &self.names {
            let authority = format!("{}:{}", name.name, name.port).parse();
            let authority: Authority = authority.expect("a name and a port fit a URI");
            for found in name.found() {
                add(address_of(found), authority.clone());
            }
        }
        *all = now;
    }

    fn endpoint(&self, address: Address, authority: Authority) -> Arc<Endpoint> {
        let (service, net, connections) = (self.service, self.net.clone(), self.connections.clone());
        let (at, keepalive) = ((address.clone(), authority), self.keepalive);
        let lines = Lines::new(move || {
            Subchannel::new(service, at.clone(), net.clone(), keepalive, connections.clone())
        });
        Endpoint::new(service, address, lines)
    }

    /// The number of a call that has chosen an endpoint.
    pub(super) fn next_number(&self) -> usize {
        self.next.fetch_add(1, Ordering::Relaxed).wrapping_add(1)
    }

    /// Leaves `endpoint` out for a while: it has failed once too often. No more than half of those that are connected,
    /// rounded up, and never the last: were all to fail, none would be better than the others.
    pub(super) fn leave_out(&self, endpoint: &Arc<Endpoint>) {
        let all = self.all();
        let others = || all.iter().filter(|other| !Arc::ptr_eq(other, endpoint));
        let ejected = others().filter(|other| other.is_ejected()).count();
        let sound = others().filter(|other| !other.is_ejected() && other.is_connected()).count();
        if endpoint.is_ejected() || sound > 0 && ejected < (sound + ejected + 1).div_ceil(2) {
            endpoint.eject();
        }
    }

    pub(super) fn tell(&self, reading: &mut Reading) {
        reading.add(Gauge::CalleeCallsWaiting, self.service, "", self.waiting.get());
        self.connections.tell(self.service, reading);
        self.all().iter().for_each(|endpoint| endpoint.tell(reading));
    }

    fn all(&self) -> MutexGuard<'_, Vec<Arc<Endpoint>>> {
        self.all.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl fmt::Debug for Endpoints {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_list().entries(self.all().iter()).finish()
    }
}

fn waited_for(endpoint: &Arc<Endpoint>) -> Waiting {
    Box::pin(Chosen::in_time(endpoint.clone()))
}

/// What a fixed address is spoken to as.
fn authority_of(address: &Address) -> Authority {
    let authority = match address {
        Address::Tcp { .. } => address.to_string()["http://".len()..].parse(),
        Address::Dns { .. } | Address::Unix(_) => "localhost".parse(),
    };
    authority.expect("an address has a host and a port that fit a URI")
}

fn address_of(found: SocketAddr) -> Address {
    Address::Tcp { host: found.ip().to_string(), port: found.port() }
}
