//! A town of probes over a network in memory, in virtual time: each is slow or fails as it is told, and names may lead to
//! other probes from one moment to the next.

#![allow(dead_code, reason = "each file of tests uses its part")]

use std::io;
use std::net::SocketAddr;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use futures_util::future::BoxFuture;
use probe_contract::probe;
use tokio::io::duplex;
use tokio::sync::{Notify, mpsc};
use tokio::time::sleep;
use transport::call::{Held, Interceptor};
use transport::grpc::{Grpc, Keepalive, Server};
use transport::{
    Address, CallContext, CallerAddress, Client, Drain, Gauges, Io, Limits, Net, Result, Router,
    ServiceClient as _, Status,
};

use crate::common::{SOON, grpc_client, host_of};

pub(crate) const LIMITS: Limits = Limits { message_size: 64 * 1024, calls: 1024, streams: 1024 };

/// The most that one side of a connection may have sent and the other not read.
const BUFFER: usize = 64 * 1024;

/// One probe, as a test changes it and reads it.
pub(crate) struct House {
    address: Address,
    manner: Mutex<Manner>,
    calls: AtomicUsize,
    door: mpsc::UnboundedSender<Io>,
    /// How often somebody tried to connect to it.
    pub(crate) attempts: AtomicUsize,
    /// Connections that were made, and those that are open.
    pub(crate) made: AtomicUsize,
    pub(crate) open: AtomicUsize,
    closed: Notify,
}

/// How a probe meets its calls.
#[derive(Debug, Clone, Copy, Default)]
pub(crate) struct Manner {
    pub(crate) takes: Duration,
    pub(crate) fails: bool,
    pub(crate) is_away: bool,
}

impl House {
    pub(crate) fn is(&self, manner: Manner) {
        *self.manner.lock().expect("nobody panicked with it") = manner;
    }

    /// How many calls came to it since this was asked last.
    pub(crate) fn calls(&self) -> usize {
        self.calls.swap(0, Ordering::Relaxed)
    }

    /// Goes: nobody can connect to it, and all its connections break.
    pub(crate) fn goes(&self) {
        self.is(Manner { is_away: true, ..self.manner() });
        self.closed.notify_waiters();
    }

    pub(crate) fn address(&self) -> &Address {
        &self.address
    }

    fn manner(&self) -> Manner {
        *self.manner.lock().expect("nobody panicked with it")
    }
}

/// All houses, and where names lead.
#[derive(Clone)]
pub(crate) struct Town(pub(crate) Arc<Vec<Arc<House>>>, Arc<Mutex<Found>>);

/// What the town's only name leads to, and how often it was asked.
#[derive(Debug, Default)]
struct Found {
    houses: Option<Vec<usize>>,
    asked: usize,
    /// How long an answer takes, beyond a millisecond.
    after: Duration,
}

impl Town {
    /// Houses with these manners.
    pub(crate) fn of(manners: &[Manner]) -> Self {
        let houses = manners.iter().enumerate().map(|(number, manner)| house(number, *manner));
        Self(Arc::new(houses.collect()), Arc::default())
    }

    /// Lets the name lead to these houses; to an error if there is none.
    pub(crate) fn name_leads_to(&self, houses: Option<&[usize]>) {
        self.1.lock().expect("nobody panicked with it").houses = houses.map(<[usize]>::to_vec);
    }

    /// Lets the name be answered so long after it was asked.
    pub(crate) fn answers_after(&self, time: Duration) {
        self.1.lock().expect("nobody panicked with it").after = time;
    }

    /// How often the name was asked since this was.
    pub(crate) fn asked(&self) -> usize {
        std::mem::take(&mut self.1.lock().expect("nobody panicked with it").asked)
    }

    /// A client of the houses that the name leads to, and what it holds.
    pub(crate) fn client_by_name(&self) -> (Client, Gauges) {
        let (carrier, gauges) = self.carrier(&["dns:///probe.town:50051".parse().expect("a valid address")]);
        (Client::new(carrier, SOON * 12, LIMITS), gauges)
    }

    pub(crate) fn addresses(&self) -> Vec<Address> {
        self.0.iter().map(|house| house.address.clone()).collect()
    }

    /// A carrier to these addresses, and what it holds.
    pub(crate) fn carrier(&self, addresses: &[Address]) -> (Grpc, Gauges) {
        let (net, gauges) = (Arc::new(self.clone()) as Arc<dyn Net>, Gauges::new());
        let carrier = Grpc::new("probe", addresses, &net, Keepalive::default(), LIMITS.message_size);
        carrier.watch(&gauges);
        (carrier, gauges)
    }

    /// A client of all houses.
    pub(crate) fn client(&self) -> Client {
        Client::new(self.carrier(&self.addresses()).0, SOON, LIMITS)
    }

    /// How many calls came to each house since this was asked last.
    pub(crate) fn calls(&self) -> Vec<usize> {
        self.0.iter().map(|house| house.calls()).collect()
    }
}

impl std::fmt::Debug for Town {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_list().entries(self.0.iter().map(|house| house.address())).finish()
    }
}

impl Net for Town {
    fn connect<'a>(&'a self, address: &'a Address) -> BoxFuture<'a, io::Result<Io>> {
        Box::pin(async move {
            sleep(Duration::from_millis(1)).await;
            let house = self.0.iter().find(|house| house.address == *address);
            let house = house.ok_or(io::ErrorKind::ConnectionRefused)?;
            house.attempts.fetch_add(1, Ordering::Relaxed);
            if house.manner().is_away {
                return Err(io::ErrorKind::ConnectionRefused.into());
            }
            let (near, far) = duplex(BUFFER);
            house.door.send(Box::new(far)).map_err(|_| io::ErrorKind::ConnectionRefused)?;
            Ok(Box::new(near) as Io)
        })
    }

    fn resolve<'a>(&'a self, _: &'a str, _: u16) -> BoxFuture<'a, io::Result<Vec<SocketAddr>>> {
        Box::pin(async move {
            let after = self.1.lock().expect("nobody panicked with it").after;
            sleep(Duration::from_millis(1) + after).await;
            let mut found = self.1.lock().expect("nobody panicked with it");
            found.asked += 1;
            let houses = found.houses.clone().ok_or(io::ErrorKind::NotFound)?;
            Ok(houses.into_iter().map(socket_address).collect())
        })
    }
}

fn socket_address(number: usize) -> SocketAddr {
    format!("10.0.0.{}:50051", number + 1).parse().expect("a valid address")
}

fn house(number: usize, manner: Manner) -> Arc<House> {
    let (door, mut guests) = mpsc::unbounded_channel();
    let address = format!("http://{}", socket_address(number)).parse().expect("a valid address");
    let (calls, attempts, made, open, closed) = Default::default();
    let manner = Mutex::new(manner);
    let house = Arc::new(House { address, manner, calls, door, attempts, made, open, closed });
    let mut router = Router::builder(LIMITS, Drain::new());
    router.intercept(Arc::new(Keeper(house.clone())));
    // The probe calls nobody here.
    let (router, ..) = host_of(&probe::Client::new(grpc_client("http://127.0.0.1:1")), router);
    let (server, keeper) = (Server::new(router, SOON, Keepalive::default()), house.clone());
    tokio::task::spawn_local(async move {
        while let Some(io) = guests.recv().await {
            keeper.made.fetch_add(1, Ordering::Relaxed);
            keeper.open.fetch_add(1, Ordering::Relaxed);
            let (server, keeper) = (server.clone(), keeper.clone());
            tokio::task::spawn_local(async move {
                tokio::select! {
                    biased;
                    () = keeper.closed.notified() => {}
                    () = server.serve_connection(io, CallerAddress::Memory, Drain::new().work()) => {}
                }
                keeper.open.fetch_sub(1, Ordering::Relaxed);
            });
        }
    });
    house
}

/// Meets calls as its house is told to.
struct Keeper(Arc<House>);

struct Nothing;

impl Held for Nothing {}

impl Interceptor for Keeper {
    fn admit<'a>(
        &'a self,
        _: &'a CallContext,
        _: &'static str,
        _: bool,
    ) -> BoxFuture<'a, Result<Box<dyn Held>>> {
        self.0.calls.fetch_add(1, Ordering::Relaxed);
        let Manner { takes, fails, .. } = self.0.manner();
        Box::pin(async move {
            sleep(takes).await;
            if fails { Err(Status::unavailable("told so")) } else { Ok(Box::new(Nothing) as Box<dyn Held>) }
        })
    }
}
