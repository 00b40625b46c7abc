//! Services that hold state: a ledger with an actor for each key, and a tally with one for all keys.

use std::collections::BTreeMap;
use std::time::Duration;

use actix::fut::wrap_future;
use actix::{Actor, AsyncContext as _, Context, Handler};
use bytes::Bytes;
use node::App;
use probe_contract::ledger::{Enter, EnterAfterwards, EnterLater, Ledger, Look};
use probe_contract::tally::{self, Tally};
use probe_contract::{Balance, Entry};
use rehearse::facts::GaugesRead;
use rehearse::proptest::strategy::Strategy;
use rehearse::{CallRecord, Event, Invariant, Wants, matching, request};
use tokio::time::sleep;
use tonic::metadata::{MetadataMap, MetadataValue};
use tracing::info;
use transport::gauges::Gauge;
use transport::{Call, Code, Contract as _, Keys, Reply, Serve, State, Status};

use crate::afterwards::{AFTERWARDS, BEGUN, DONE};

/// How many keys of the ledger have actors at once.
pub(crate) const ACTORS_MAX: usize = 3;

/// Adds the services to an app. The ledger's actor of a key goes when nobody has asked it for `idle`.
pub(crate) fn add_to(app: App, idle: Duration) -> App {
    let key = |entry: &Entry| entry.key.clone();
    let keys = Keys::new().of::<Enter>(key).of::<EnterLater>(key).of::<EnterAfterwards>(key).of::<Look>(key);
    let keys = keys.idle_after(idle).at_most(ACTORS_MAX);
    app.service_by_key(keys, |_: &str, ()| LedgerActor::default()).service_in_node(|()| TallyActor::default())
}

/// Keys of this form. One of them has letters that must be escaped in a path, and one such as are something else in a query.
pub(crate) fn keys(form: &str) -> impl Strategy<Value = String> + use<> {
    matching(form).prop_map(|key| match key.as_str() {
        "a" => "a+b&c=d".to_owned(),
        "b" => "b +/ü%&?".to_owned(),
        _ => key,
    })
}

/// The key that a call asks for.
pub(crate) fn key_of(call: &CallRecord) -> Option<String> {
    let entry = request::<Enter>(call)
        .or_else(|| request::<EnterLater>(call))
        .or_else(|| request::<EnterAfterwards>(call))
        .or_else(|| request::<Look>(call))
        .or_else(|| request::<tally::Enter>(call));
    entry.map(|entry| entry.key)
}

/// The total of one key.
#[derive(Default)]
struct LedgerActor {
    total: i64,
}

/// The totals of all keys.
#[derive(Default)]
struct TallyActor {
    totals: BTreeMap<String, i64>,
}

impl Actor for LedgerActor {
    type Context = Context<Self>;
}

impl Serve for LedgerActor {
    type Contract = Ledger;
}

impl Handler<Call<Enter>> for LedgerActor {
    type Result = Reply<Enter>;

    fn handle(&mut self, call: Call<Enter>, context: &mut Context<Self>) -> Self::Result {
        call.answer_now(|entry| {
            is_busy_for(context, entry.busy_ms);
            Ok(entered(&mut self.total, &entry.key, entry.amount))
        })
    }
}

impl Handler<Call<EnterLater>> for LedgerActor {
    type Result = Reply<EnterLater>;

    fn handle(&mut self, call: Call<EnterLater>, context: &mut Context<Self>) -> Self::Result {
        call.answer_with_state(context, async |state: State<Self>, entry| {
            sleep(Duration::from_millis(entry.later_ms.into())).await;
            state.with(move |actor| entered(&mut actor.total, &entry.key, entry.amount)).await
        })
    }
}

impl Handler<Call<EnterAfterwards>> for LedgerActor {
    type Result = Reply<EnterAfterwards>;

    fn handle(&mut self, call: Call<EnterAfterwards>, context: &mut Context<Self>) -> Self::Result {
        let (state, of_call) = (State::of(context), call.context.clone());
        call.answer_now(|entry| {
            let balance = Balance { before: self.total, total: self.total };
            let slips = entry.amount == SLIPS;
            of_call.spawn(AFTERWARDS, async move {
                sleep(Duration::from_millis(entry.later_ms.into())).await;
                let enters =
                    state.with(move |actor| entered(&mut actor.total, &entry.key, entry.amount)).await;
                info!(afterwards = DONE, ok = enters.is_ok(), "entered afterwards");
                if slips {
                    sim::planned_panic();
                }
            })?;
            info!(afterwards = BEGUN, "enters afterwards");
            Ok(balance)
        })
    }
}

impl Handler<Call<Look>> for LedgerActor {
    type Result = Reply<Look>;

    fn handle(&mut self, call: Call<Look>, _: &mut Context<Self>) -> Self::Result {
        call.answer_now(|entry| Ok(entered(&mut self.total, &entry.key, 0)))
    }
}

impl Actor for TallyActor {
    type Context = Context<Self>;
}

impl Serve for TallyActor {
    type Contract = Tally;
}

impl Handler<Call<tally::Enter>> for TallyActor {
    type Result = Reply<tally::Enter>;

    fn handle(&mut self, call: Call<tally::Enter>, context: &mut Context<Self>) -> Self::Result {
        if call.request.answer_ms > 0 {
            return call.answer_with_state(context, async |state, entry| {
                let wait = Duration::from_millis(entry.answer_ms.into());
                let balance = state.with(move |actor| actor.enter(&entry)).await?;
                sleep(wait).await;
                balance
            });
        }
        call.answer_now(|entry| {
            is_busy_for(context, entry.busy_ms);
            self.enter(&entry)
        })
    }
}

impl TallyActor {
    fn enter(&mut self, entry: &Entry) -> Result<Balance, Status> {
        let total = self.totals.entry(entry.key.clone()).or_default();
        if entry.amount == 0 {
            info!(total = *total, "nothing entered");
            return Err(nothing_to_enter());
        }
        let balance = entered(total, &format!("{TALLY}{}", entry.key), entry.amount);
        // What it says of itself, and not what a node says of it: it has been asked.
        if entry.amount == UNDONE { Err(Status::unavailable(HALF_DONE)) } else { Ok(balance) }
    }
}

/// An amount over which work panics that has entered it afterwards.
const SLIPS: i64 = 8;

/// What is entered, and fails all the same; and the words of that.
pub(crate) const UNDONE: i64 = 100;
pub(crate) const HALF_DONE: &str = "it is entered, and nobody has signed it";

/// The words of an error that has all that one may have: details and metadata, too.
pub(crate) const NOTHING: &str = "there is nothing to enter";

/// The name in its metadata.
pub(crate) const REFUSED_BY: &str = "x-refused-by";

fn nothing_to_enter() -> Status {
    let mut metadata = MetadataMap::new();
    metadata.insert(REFUSED_BY, MetadataValue::from_static("tally"));
    Status::with_details_and_metadata(Code::OutOfRange, NOTHING, Bytes::from_static(b"0"), metadata)
}

/// What stands before a key of the tally in log lines.
pub(crate) const TALLY: &str = "tally ";

/// Nothing happens to the actor for so long: what others ask of it waits.
fn is_busy_for<A: Actor<Context = Context<A>>>(context: &mut Context<A>, ms: u32) {
    if ms > 0 {
        context.wait(wrap_future(sleep(Duration::from_millis(ms.into()))));
    }
}

fn entered(total: &mut i64, key: &str, amount: i64) -> Balance {
    let before = *total;
    *total += amount;
    info!(key, before, total = *total, "entered");
    Balance { before, total: *total }
}

/// As many keys have actors as may have one, on all workers of a node together, whatever its gauges are asked for.
pub(crate) fn few_have_actors(event: &Event) -> Result<(), String> {
    let Some(GaugesRead(reading)) = event.told() else { return Ok(()) };
    match reading.count(Gauge::KeyedActors, Ledger::NAME, "") {
        actors if actors > ACTORS_MAX => {
            Err(format!("{} tells of {actors} actors of keys; expected {ACTORS_MAX} at most", event.host))
        }
        _ => Ok(()),
    }
}

/// Every line of an entry is about the key that its call asks for: on the way, nothing has become of its letters.
#[derive(Debug, Default)]
pub(crate) struct LinesHaveTheirKeys {
    keys: BTreeMap<u32, String>,
    met: u64,
}

impl Invariant for LinesHaveTheirKeys {
    fn name(&self) -> &str {
        "what is entered is entered under the key that was asked for"
    }

    fn wants(&self) -> Wants {
        Wants::nothing().lines()
    }

    fn call_started(&mut self, call: &CallRecord) -> Result<(), String> {
        self.keys.extend(key_of(call).map(|key| (call.request.id, key)));
        Ok(())
    }

    fn event(&mut self, event: &Event) -> Result<(), String> {
        let Some((number, key)) = event.request.zip(event.field("key")) else { return Ok(()) };
        self.met += 1;
        let asked = self.keys.get(&number).map(String::as_str);
        if asked == key.as_str().map(|key| key.trim_start_matches(TALLY)) {
            return Ok(());
        }
        Err(format!("{event}; its caller asked for {asked:?}"))
    }

    fn met(&self) -> u64 {
        self.met
    }
}
