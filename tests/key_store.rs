//! What a store of idempotency keys is told, and when; and what is remembered of what it has kept.

mod common;

use std::io;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use actix::{Actor, Context, Handler};
use common::counter::{self, worker_with};
use common::{LIMITS, SOON, run_in_no_time};
use futures_util::future::BoxFuture;
use probe_contract::counter::{self as probe, Add, AddLater};
use probe_contract::middle::{self, Middle};
use probe_contract::{AddRequest, Played, Script, Total};
use tokio::sync::{Notify, Semaphore};
use tokio::task::{LocalSet, spawn_local, yield_now};
use tokio::time::{sleep, timeout};
use transport::gauges::Gauge;
use transport::memory::Memory;
use transport::store::{KeyStore, Note, Recalled, What};
use transport::{
    Answers, Call, Client, Code, Drain, Gauges, KeyBounds, Method, Reply, Result, Router, Serve, Service,
    ServiceClient as _, Status, status,
};

/// A store that keeps what it is told when it may.
#[derive(Clone, Default)]
struct Store(Arc<Inner>);

struct Inner {
    told: Mutex<Vec<Note>>,
    /// How many notes may be kept.
    may: Semaphore,
    /// Whether it fails to.
    fails: Mutex<bool>,
}

impl Default for Inner {
    fn default() -> Self {
        Self { told: Mutex::default(), may: Semaphore::new(1000), fails: Mutex::default() }
    }
}

impl KeyStore for Store {
    fn keep(&self, note: Note) -> BoxFuture<'static, io::Result<()>> {
        self.0.told.lock().expect("no panic").push(note);
        let store = self.clone();
        Box::pin(async move {
            store.0.may.acquire().await.expect("it is never closed").forget();
            match *store.0.fails.lock().expect("no panic") {
                true => Err(io::Error::other("the disk is full")),
                false => Ok(()),
            }
        })
    }
}

impl Store {
    /// Keeps nothing until it may.
    fn hold(&self) {
        self.0.may.forget_permits(1000);
    }

    fn fail(&self, fails: bool) {
        *self.0.fails.lock().expect("no panic") = fails;
    }

    /// What it was told, in short.
    fn told(&self) -> Vec<&'static str> {
        let told = self.0.told.lock().expect("no panic");
        let word = |note: &Note| match note.what.as_ref().expect("a note says something") {
            What::Begun(_) => "begun",
            What::Ended(_) => "ended",
            What::Forgotten(_) => "forgotten",
            What::Unknown(_) => "unknown",
        };
        told.iter().map(word).collect()
    }

    /// What the next process recalls of the one key that this one was told of.
    fn recalled(&self, is_ended: bool) -> Recalled {
        let told = self.0.told.lock().expect("no panic").clone();
        let (mut begun, mut ended) = (None, None);
        let Note { service, key, .. } = told[0].clone();
        for note in told {
            match note.what {
                Some(What::Begun(note)) => begun = Some(note),
                Some(What::Ended(note)) => ended = Some(note).filter(|_| is_ended),
                _ => {}
            }
        }
        let begun = begun.expect("a handler has begun");
        Recalled { service, key, begun, ended, left: Duration::from_secs(60) }
    }
}

/// A counter whose keys are kept.
struct World {
    client: probe::Client,
    _router: Router,
    go_on: Arc<Notify>,
    gauges: Gauges,
    store: Store,
}

impl World {
    fn new(bounds: KeyBounds, recalled: Vec<Recalled>) -> Self {
        let (store, go_on, gauges) = (Store::default(), Arc::new(Notify::new()), Gauges::new());
        let answers = Answers::stored(bounds, Arc::new(store.clone()), recalled);
        answers.watch(&gauges);
        let (router, client) = worker_with(&counter::in_the_node(&go_on), LIMITS, &Drain::new(), |router| {
            router.watch(&gauges);
            router.remember(&answers);
        });
        Self { client, _router: router, go_on, gauges, store }
    }

    async fn add(&self, key: &str, amount: i64) -> Result<Total> {
        add::<Add>(self.client.clone(), key, amount).await
    }

    /// The total, by a call without a key.
    async fn total(&self) -> i64 {
        let nothing = AddRequest { key: String::new(), amount: 0 };
        self.client.add(nothing).await.expect("the counter answers").total
    }

    async fn until(&self, holds: impl Fn(&Self) -> bool) {
        let held = async {
            while !holds(self) {
                yield_now().await;
            }
        };
        timeout(SOON, held).await.expect("it comes about");
    }

    fn keys(&self, state: &str) -> usize {
        self.gauges.read().count(Gauge::IdempotencyKeys, state, "")
    }
}

async fn add<M>(client: probe::Client, key: &str, amount: i64) -> Result<Total>
where
    M: Method<Request = AddRequest, Response = Total>,
{
    let message = AddRequest { key: "a".to_owned(), amount };
    client.inner().exchange::<M>(keyed(key, message)).await.map(tonic::Response::into_inner)
}

fn keyed<T>(key: &str, message: T) -> tonic::Request<T> {
    let mut request = tonic::Request::new(message);
    request.metadata_mut().insert("idempotency-key", key.parse().expect("a value"));
    request
}

/// Runs `claim` in a time of its own, with a counter whose store is empty.
fn in_no_time(claim: impl AsyncFn(&World)) {
    run_in_no_time(async { claim(&World::new(KeyBounds::default(), Vec::new())).await });
}

fn code<T>(answer: Result<T, Status>) -> Code {
    answer.err().expect("it is refused").code()
}

#[test]
fn no_handler_begins_before_its_key_is_kept() {
    in_no_time(async |world| {
        world.store.hold();
        let call = spawn_local(add::<Add>(world.client.clone(), "k", 3));
        world.until(|world| world.store.told() == ["begun"]).await;
        assert_eq!(world.total().await, 0);
        world.store.0.may.add_permits(2);
        assert_eq!(call.await.expect("no panic").expect("an answer").total, 3);
        assert_eq!(world.store.told(), ["begun", "ended"]);
    });
}

#[test]
fn nobody_is_told_an_answer_before_it_is_kept() {
    in_no_time(async |world| {
        world.store.hold();
        world.store.0.may.add_permits(1);
        let first = spawn_local(add::<Add>(world.client.clone(), "k", 3));
        world.until(|world| world.store.told() == ["begun", "ended"]).await;
        let second = spawn_local(add::<Add>(world.client.clone(), "k", 3));
        sleep(SOON / 4).await;
        assert_eq!(world.total().await, 3, "it was handled");
        assert!(!first.is_finished() && !second.is_finished(), "they wait for the store");
        world.store.0.may.add_permits(1);
        for call in [first, second] {
            assert_eq!(call.await.expect("no panic").expect("an answer").total, 3);
        }
    });
}

#[test]
fn a_call_waits_for_the_store_no_longer_than_its_deadline_and_counts_for_as_long_as_that_takes() {
    run_in_no_time(async {
        let world = World::new(KeyBounds { keys: 1, ..KeyBounds::default() }, Vec::new());
        world.store.hold();
        let mut late = keyed("k", AddRequest { key: "a".to_owned(), amount: 3 });
        late.set_timeout(Duration::from_millis(50));
        assert_eq!(code(world.client.inner().exchange::<Add>(late).await), Code::DeadlineExceeded);
        assert_eq!(code(world.add("other", 3).await), Code::ResourceExhausted);
        world.store.0.may.add_permits(1000);
        world.until(|world| world.store.told() == ["begun", "forgotten"] && world.keys("running") == 0).await;
        assert_eq!(world.total().await, 0, "it was not handled");
        assert_eq!(world.add("other", 3).await.expect("there is room").total, 3);
    });
}

#[test]
fn a_call_whose_caller_goes_while_the_store_is_waited_for_is_not_handled() {
    in_no_time(async |world| {
        world.store.hold();
        let call = spawn_local(add::<Add>(world.client.clone(), "k", 3));
        world.until(|world| world.store.told() == ["begun"]).await;
        call.abort();
        call.await.expect_err("it was given up");
        world.store.0.may.add_permits(1000);
        world.until(|world| world.store.told() == ["begun", "forgotten"]).await;
        assert_eq!(world.add("k", 4).await.expect("it is the first").total, 4);
    });
}

#[test]
fn a_key_that_cannot_be_kept_is_refused_with_the_proof_that_nobody_has_handled_the_call() {
    in_no_time(async |world| {
        world.store.fail(true);
        let refused = world.add("k", 3).await.expect_err("the disk is full");
        assert_eq!(refused.code(), Code::Unavailable);
        assert!(status::proof_not_sent(&refused).is_some(), "{refused:?}");
        assert_eq!(world.total().await, 0);
        world.store.fail(false);
        assert_eq!(world.add("k", 3).await.expect("there is room again").total, 3);
    });
}

#[test]
fn an_answer_that_cannot_be_kept_is_told_all_the_same_and_the_call_is_not_handled_again() {
    in_no_time(async |world| {
        let call = spawn_local(add::<AddLater>(world.client.clone(), "k", 3));
        world.until(|world| world.gauges.read().count(Gauge::HandlersRunning, "counter", "") == 1).await;
        world.store.fail(true);
        world.go_on.notify_one();
        assert_eq!(call.await.expect("no panic").expect("an answer").total, 3);
        assert_eq!(add::<AddLater>(world.client.clone(), "k", 3).await.expect("an answer").total, 3);
        assert_eq!(world.total().await, 3);
    });
}

#[test]
fn what_was_kept_is_answered_by_the_next_process_and_compared_with_what_is_asked() {
    run_in_no_time(async {
        let first = World::new(KeyBounds::default(), Vec::new());
        assert_eq!(first.add("k", 3).await.expect("an answer").total, 3);
        let next = World::new(KeyBounds::default(), vec![first.store.recalled(true)]);
        assert_eq!(next.keys("answered"), 1);
        assert_eq!(next.add("k", 3).await.expect("an answer").total, 3);
        assert_eq!(code(next.add("k", 4).await), Code::FailedPrecondition);
        assert_eq!((next.total().await, next.store.told()), (0, Vec::new()));
        sleep(Duration::from_secs(61)).await;
        assert_eq!(next.add("k", 4).await.expect("its time is over").total, 4);
    });
}

#[test]
fn what_had_begun_and_not_ended_is_unknown_to_the_next_process_for_as_long_as_it_is_kept() {
    run_in_no_time(async {
        let first = World::new(KeyBounds::default(), Vec::new());
        first.add("k", 3).await.expect("an answer");
        let next = World::new(KeyBounds::default(), vec![first.store.recalled(false)]);
        assert_eq!((next.keys("unknown"), next.keys("answered")), (1, 0));
        for _ in 0..2 {
            assert_eq!(code(next.add("k", 3).await), Code::Aborted);
        }
        assert_eq!(code(next.add("k", 4).await), Code::FailedPrecondition, "another call is another call");
        assert_eq!(next.total().await, 0);
        sleep(Duration::from_secs(61)).await;
        assert_eq!(next.keys("unknown"), 0);
        assert_eq!(next.add("k", 3).await.expect("its time is over").total, 3);
    });
}

#[test]
fn what_an_earlier_process_kept_counts_among_the_keys_that_there_may_be() {
    run_in_no_time(async {
        let first = World::new(KeyBounds::default(), Vec::new());
        first.add("k", 3).await.expect("an answer");
        let bounds = KeyBounds { keys: 1, ..KeyBounds::default() };
        let next = World::new(bounds, vec![first.store.recalled(true)]);
        assert_eq!(code(next.add("other", 3).await), Code::ResourceExhausted);
        assert_eq!(next.add("k", 3).await.expect("it is remembered").total, 3);
    });
}

#[test]
fn a_key_whose_worker_ended_under_its_call_is_not_handled_by_another() {
    run_in_no_time(async {
        let (answers, go_on) = (Answers::new(KeyBounds::default()), Arc::new(Notify::new()));
        let worker = || {
            worker_with(&counter::in_the_node(&go_on), LIMITS, &Drain::new(), |router| {
                router.remember(&answers)
            })
        };
        let ending = LocalSet::new();
        let begin = async {
            let (router, client) = worker();
            let call = spawn_local(add::<AddLater>(client, "k", 3));
            yield_now().await;
            (router, call)
        };
        let (_router, call) = ending.run_until(begin).await;
        drop(ending);
        call.await.expect_err("its worker has ended");
        let (_router, client) = worker();
        assert_eq!(code(add::<AddLater>(client, "k", 3).await), Code::Aborted);
    });
}

/// Counts how often it has played.
#[derive(Default)]
struct Player(u32);

impl Actor for Player {
    type Context = Context<Self>;
}

impl Serve for Player {
    type Contract = Middle;
}

impl Handler<Call<middle::Play>> for Player {
    type Result = Reply<middle::Play>;

    fn handle(&mut self, call: Call<middle::Play>, _: &mut Context<Self>) -> Self::Result {
        self.0 += 1;
        let times = self.0;
        call.answer_now(|_| Ok(Played { text: times.to_string(), ..Played::default() }))
    }
}

#[test]
fn a_method_that_is_said_to_be_idempotent_is_handled_again_where_nobody_knows() {
    run_in_no_time(async {
        let play = async |recalled: Vec<Recalled>| {
            let store = Store::default();
            let answers = Answers::stored(KeyBounds::default(), Arc::new(store.clone()), recalled);
            let (memory, mut router) = (Memory::new(), Router::builder(LIMITS, Drain::new()));
            router.remember(&answers);
            router.add(&Service::in_node(|()| Player::default()), &|name| unreachable!("it calls no {name}"));
            let router = router.build();
            memory.lead_to(&router);
            let client = middle::Client::new(Client::new(memory, SOON, LIMITS));
            // Also when that is due which an earlier process has kept: the answer is remembered from when it was made.
            for later in [0, 0, 61] {
                sleep(Duration::from_secs(later)).await;
                let played = client.inner().exchange::<middle::Play>(keyed("k", Script::default())).await;
                assert_eq!(played.expect("it is handled").into_inner().text, "1");
            }
            assert_eq!(store.told(), ["begun", "ended"]);
            store
        };
        let first = play(Vec::new()).await;
        play(vec![first.recalled(false)]).await;
    });
}
