//! Calls that go by a key: those with the same go to the same endpoint, for as long as it is there.

mod common;
mod town;

use std::io;
use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use common::{LIMITS, SOON, run_in_no_time};
use futures_util::future::{BoxFuture, pending, ready};
use probe_contract::ActRequest;
use probe_contract::probe::{Act, Probe};
use tokio::time::Instant;
use town::{Manner, Town};
use transport::grpc::{Grpc, Keepalive};
use transport::policy::{Policies, Policy};
use transport::{Address, Client, Contract as _, Io, Method as _, Net, Status};

const MS: Duration = Duration::from_millis(1);

const SOUND: Manner = Manner { takes: MS, fails: false, is_away: false };
const AWAY: Manner = Manner { is_away: true, ..SOUND };

/// The longest that a call waits for the home of its key to be connected to.
const HOME_MAX: Duration = Duration::from_millis(250);

/// Calls go by the field `text`.
fn by_text(deadline: Duration) -> Policies {
    let act = Probe::METHODS.iter().find(|rpc| rpc.path == Act::PATH).expect("the contract has it");
    let mut policies = Policies::new(deadline);
    let policy = Policy { key: act.field("text"), attempts: 1, ..Policy::new(deadline) };
    policies.methods.push((Act::PATH, Arc::new(policy)));
    policies
}

fn client(town: &Town, addresses: &[Address]) -> Client {
    Client::with_policies("probe", town.carrier(addresses).0, by_text(SOON), LIMITS)
}

async fn act(client: &Client, key: &str) -> Result<(), Status> {
    client.call::<Act>(ActRequest { text: key.to_owned(), ..ActRequest::default() }).await.map(drop)
}

/// To which house a call with each of so many keys goes.
async fn homes(town: &Town, client: &Client, keys: usize) -> Vec<usize> {
    let mut homes = Vec::new();
    for key in 0..keys {
        town.calls();
        act(client, &format!("key {key}")).await.expect("an answer");
        homes.push(town.calls().iter().position(|calls| *calls == 1).expect("one house had the call"));
    }
    homes
}

#[test]
fn calls_with_the_same_key_go_to_the_same_endpoint_whoever_makes_them_and_keys_are_spread() {
    run_in_no_time(async {
        let town = Town::of(&[SOUND; 3]);
        let (one, mut addresses) = (client(&town, &town.addresses()), town.addresses());
        addresses.reverse();
        let other = client(&town, &addresses);
        let first = homes(&town, &one, 60).await;
        assert_eq!(first, homes(&town, &one, 60).await);
        assert_eq!(first, homes(&town, &other, 60).await, "another client, told of them in another order");
        let shares = [0, 1, 2].map(|house| first.iter().filter(|home| **home == house).count());
        assert!(shares.iter().all(|share| (10..=30).contains(share)), "{shares:?}");
    });
}

#[test]
fn when_an_endpoint_goes_its_keys_move_and_no_others_and_come_back_with_it() {
    run_in_no_time(async {
        let town = Town::of(&[SOUND; 3]);
        let client = client(&town, &town.addresses());
        let before = homes(&town, &client, 60).await;
        town.0[1].goes();
        let without = homes(&town, &client, 60).await;
        for (before, without) in before.iter().zip(&without) {
            assert!(*without != 1 && (*before == 1 || without == before), "{before} -> {without}");
        }
        town.0[1].is(SOUND);
        tokio::time::sleep(Duration::from_secs(2)).await;
        // The first call that finds it rested connects to it, and waits no longer than for the next in the ranking.
        homes(&town, &client, 60).await;
        assert_eq!(homes(&town, &client, 60).await, before);
    });
}

#[test]
fn an_endpoint_that_fails_call_after_call_keeps_its_keys_for_five_calls() {
    run_in_no_time(async {
        let town = Town::of(&[SOUND; 3]);
        let client = client(&town, &town.addresses());
        homes(&town, &client, 20).await;
        let home = homes(&town, &client, 1).await[0];
        town.0[home].is(Manner { fails: true, ..SOUND });
        for _ in 0..5 {
            act(&client, "key 0").await.expect_err("told so");
        }
        town.calls();
        for _ in 0..20 {
            act(&client, "key 0").await.expect("it is ejected, and the next has its keys");
        }
        assert_eq!(town.0[home].calls(), 0);
        town.0[home].is(SOUND);
        tokio::time::sleep(MS * 1300).await;
        assert_eq!(
            homes(&town, &client, 1).await,
            [home],
            "it is tried when it was left out for long enough"
        );
    });
}

/// The town's net, on which connecting to one house comes to no end, but for the first times, when it is refused.
#[derive(Debug)]
struct Hanging {
    town: Town,
    house: Address,
    refused: AtomicUsize,
}

impl Hanging {
    /// A client of all houses over this net, whose calls go by a key.
    fn client(town: &Town, house: usize, refused: usize) -> Client {
        let (refused, house) = (AtomicUsize::new(refused), town.0[house].address().clone());
        let net = Arc::new(Self { town: town.clone(), house, refused }) as Arc<dyn Net>;
        let carrier = Grpc::new("probe", &town.addresses(), &net, Keepalive::default(), LIMITS.message_size);
        Client::with_policies("probe", carrier, by_text(SOON), LIMITS)
    }
}

impl Net for Hanging {
    fn connect<'a>(&'a self, address: &'a Address) -> BoxFuture<'a, io::Result<Io>> {
        if *address != self.house {
            return self.town.connect(address);
        }
        let left = self.refused.load(Ordering::Relaxed);
        self.refused.store(left.saturating_sub(1), Ordering::Relaxed);
        if left > 0 {
            Box::pin(ready(Err(io::ErrorKind::ConnectionRefused.into())))
        } else {
            Box::pin(pending())
        }
    }

    fn resolve<'a>(&'a self, name: &'a str, port: u16) -> BoxFuture<'a, io::Result<Vec<SocketAddr>>> {
        self.town.resolve(name, port)
    }
}

#[test]
fn a_home_that_cannot_be_connected_to_costs_its_keys_a_quarter_of_a_second_and_that_once() {
    run_in_no_time(async {
        let town = Town::of(&[SOUND; 3]);
        let home = homes(&town, &client(&town, &town.addresses()), 1).await[0];
        let client = Hanging::client(&town, home, 0);
        let begun = Instant::now();
        act(&client, "key 0").await.expect("the next in the ranking answers");
        let first = begun.elapsed();
        assert!(first >= HOME_MAX && first < HOME_MAX + MS * 50, "{first:?}");
        for _ in 0..10 {
            act(&client, "key 0").await.expect("an answer");
        }
        assert!(begun.elapsed() < first + MS * 100, "{:?}", begun.elapsed());
    });
}

#[test]
fn a_home_that_could_not_be_connected_to_is_not_waited_for_when_that_is_tried_again() {
    run_in_no_time(async {
        let town = Town::of(&[SOUND; 3]);
        let home = homes(&town, &client(&town, &town.addresses()), 1).await[0];
        let client = Hanging::client(&town, home, 1);
        for _ in 0..2 {
            let begun = Instant::now();
            act(&client, "key 0").await.expect("the next in the ranking answers");
            assert!(begun.elapsed() < MS * 50, "{:?}", begun.elapsed());
            // Longer than it is left alone after the first failure.
            tokio::time::sleep(Duration::from_secs(2)).await;
        }
    });
}

#[test]
fn where_only_the_home_is_left_it_is_waited_for_until_the_deadline() {
    run_in_no_time(async {
        let town = Town::of(&[AWAY; 3]);
        let client = Hanging::client(&town, 0, 0);
        let begun = Instant::now();
        let status = act(&client, "key 0").await.expect_err("nobody is there");
        assert_eq!((status.code(), begun.elapsed() >= SOON), (transport::Code::DeadlineExceeded, true));
    });
}
