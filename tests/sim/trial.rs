//! Services that do as their requests say: ways of calls that the example services do not go.

use std::cell::Cell;
use std::pin::pin;
use std::rc::Rc;
use std::time::Duration;

use actix::{Actor, Context, Handler};
use futures_util::{Stream, StreamExt as _, stream};
use node::App;
use probe_contract::back::{self, Back};
use probe_contract::front::{self, Front};
use probe_contract::middle::{self, Middle};
use probe_contract::{Played, Script};
use rehearse::CallFault;
use rehearse::facts::HandlerDisturbed;
use tokio::time::sleep;
use tonic::metadata::MetadataMap;
use tracing::info;
use transport::{
    Call, CallContext, Code, Contract as _, Method as _, Reply, Result, Serve, State, Status, Streaming,
};

use crate::further::further;
use crate::ledger;
use crate::terms::{AGAIN, DETAILS, ECHOED, answer_to, one_hop_on};

/// What a stream says that ends since its node drains.
pub(crate) const TOLD_OF_A_DRAIN: &str = "what is shown ends, for the node drains";

/// Who makes a message of so many bytes says so.
const LARGE: u32 = 100_000;

/// Adds the services to an app. The ledger's actor of a key goes when nobody has asked it for `ledger_idle`.
pub(crate) fn add_to(app: App, ledger_idle: Duration) -> App {
    ledger::add_to(app, ledger_idle)
        .service(|(middle, back)| FrontActor { middle, back })
        .service(|back| MiddleActor { back })
        .service(|()| BackActor)
}

struct FrontActor {
    middle: middle::Client,
    back: back::Client,
}

struct MiddleActor {
    back: back::Client,
}

struct BackActor;

impl Actor for FrontActor {
    type Context = Context<Self>;
}

impl Actor for MiddleActor {
    type Context = Context<Self>;
}

impl Actor for BackActor {
    type Context = Context<Self>;
}

impl Serve for FrontActor {
    type Contract = Front;
}

impl Serve for MiddleActor {
    type Contract = Middle;
}

impl Serve for BackActor {
    type Contract = Back;
}

impl Handler<Call<front::Play>> for FrontActor {
    type Result = Reply<front::Play>;

    fn handle(&mut self, call: Call<front::Play>, _: &mut Context<Self>) -> Self::Result {
        let (middle, back) = (self.middle.clone(), self.back.clone());
        call.answer(async move |script| {
            arrived(&script)?;
            match script.hops {
                0 => played(script).await,
                1 => further(back, script).await,
                _ => middle.play(one_hop_on(script)).await,
            }
        })
    }
}

impl Handler<Call<front::Show>> for FrontActor {
    type Result = Reply<front::Show>;

    fn handle(&mut self, call: Call<front::Show>, _: &mut Context<Self>) -> Self::Result {
        let back = self.back.clone();
        call.answer(async move |script| {
            arrived(&script)?;
            back.show(one_hop_on(script)).await
        })
    }
}

impl Handler<Call<middle::Play>> for MiddleActor {
    type Result = Reply<middle::Play>;

    fn handle(&mut self, call: Call<middle::Play>, _: &mut Context<Self>) -> Self::Result {
        let back = self.back.clone();
        call.answer(async move |script| {
            arrived(&script)?;
            if script.hops == 0 { played(script).await } else { further(back, script).await }
        })
    }
}

impl Handler<Call<back::Play>> for BackActor {
    type Result = Reply<back::Play>;

    fn handle(&mut self, call: Call<back::Play>, actor: &mut Context<Self>) -> Self::Result {
        if call.request.panics {
            return call.answer_with_state(actor, async |state, script| {
                arrived(&script)?;
                killed(state).await
            });
        }
        call.answer(async |script| {
            arrived(&script)?;
            played(script).await
        })
    }
}

/// A panic in a moment with the actor, over which it dies: that others may fail of it is to be known.
async fn killed(actor: State<BackActor>) -> Result<Played> {
    let panics = HandlerDisturbed { service: Back::NAME, path: back::Play::PATH, by: CallFault::Panic };
    sim::tell(panics, CallContext::current().as_ref().map(|context| context.request_id().as_str()));
    actor.with(|_| sim::planned_panic()).await
}

impl Handler<Call<back::Glance>> for BackActor {
    type Result = Reply<back::Glance>;

    fn handle(&mut self, call: Call<back::Glance>, _: &mut Context<Self>) -> Self::Result {
        call.answer_now(|script| {
            arrived(&script)?;
            played_now(script)
        })
    }
}

impl Handler<Call<back::Show>> for BackActor {
    type Result = Reply<back::Show>;

    fn handle(&mut self, call: Call<back::Show>, _: &mut Context<Self>) -> Self::Result {
        let context = call.context.clone();
        call.answer(async move |script| {
            arrived(&script)?;
            let ended = async move {
                context.drain_started().await;
                info!("{}", TOLD_OF_A_DRAIN);
            };
            Ok(Streaming::local(with_end(scenes(script).take_until(Box::pin(ended)))))
        })
    }
}

impl Handler<Call<back::Gather>> for BackActor {
    type Result = Reply<back::Gather>;

    fn handle(&mut self, call: Call<back::Gather>, _: &mut Context<Self>) -> Self::Result {
        call.answer(async |scripts| {
            let (mut last, mut count) = (Script::default(), 0);
            let mut scripts = pin!(told_of_their_end(scripts));
            while let Some(script) = scripts.next().await {
                last = script?;
                count += 1;
                arrived(&last)?;
            }
            Ok(Played { scenes: count, ..played(last).await? })
        })
    }
}

impl Handler<Call<back::Mirror>> for BackActor {
    type Result = Reply<back::Mirror>;

    fn handle(&mut self, call: Call<back::Mirror>, _: &mut Context<Self>) -> Self::Result {
        call.answer(async |scripts| {
            Ok(Streaming::new(told_of_their_end(scripts).then(async |script| {
                let script = script?;
                arrived(&script)?;
                played(script).await
            })))
        })
    }
}

/// The same, and a line when they end well: how many have come, and how many were to come.
fn told_of_their_end(scripts: Streaming<Script>) -> impl Stream<Item = Result<Script>> {
    stream::unfold((scripts, 0, Script::default()), async |(mut scripts, count, last)| {
        if let Some(item) = scripts.next().await {
            // Whatever comes of one that fails, it does not end well.
            let last = item.clone().unwrap_or(Script { scenes: count + 1, ..Script::default() });
            return Some((item, (scripts, count + 1, last)));
        }
        let all = if last.stumbles { count + 1 } else { last.scenes.max(1) };
        info!(came = count, all, "a stream of requests has ended well");
        None
    })
}

/// What was sent is what has come, and nothing that is the node's own.
fn arrived(script: &Script) -> Result<()> {
    // What a client sends along is for the service that it calls.
    let of_it = |name: &str| ["x-other", "idempotency-key"].contains(&name);
    let is_sent = |name: &str| name.starts_with("x-trial") || of_it(name) && !script.further;
    let has_more = CallContext::with_current(|context| {
        context.is_some_and(|context| context.metadata().as_ref().keys().any(|name| !is_sent(name.as_str())))
    });
    if has_more {
        return Err(Status::data_loss("metadata have come that nobody sent"));
    }
    let (came, sent) = (script.padding.len(), script.request_bytes as usize);
    if came == sent {
        return Ok(());
    }
    Err(Status::data_loss(format!("{came} of {sent} bytes have come")))
}

/// What the last service on the way does.
async fn played(script: Script) -> Result<Played> {
    // Without a wait, all is there at once: the end of a stream together with what comes before.
    if script.wait_ms > 0 {
        sleep(Duration::from_millis(script.wait_ms.into())).await;
    }
    if script.panics {
        sim::planned_panic();
    }
    played_now(script)
}

fn played_now(script: Script) -> Result<Played> {
    if script.code != 0 {
        let code = Code::from_i32(i32::try_from(script.code).unwrap_or_default());
        let mut failed = Status::with_details(code, script.message, DETAILS.into());
        if script.again_ms > 0 {
            failed.metadata_mut().insert(AGAIN, script.again_ms.into());
        }
        echo_metadata(Some(failed.metadata_mut()));
        return Err(failed);
    }
    echo_metadata(None);
    let matters =
        CallContext::with_current(|context| context.map_or("", |context| context.criticality().name()));
    info!(text = script.text, matters, "played");
    Ok(answer_to(&script))
}

/// Adds what is to come back to the answer. Of several values that come back with a failure, all but the first are a part of it.
fn echo_metadata(failure: Option<&mut MetadataMap>) {
    let Some(context) = CallContext::current() else { return };
    let mut texts: Vec<_> = context.metadata().get_all(ECHOED).iter().cloned().collect();
    let bytes = context.metadata().get_bin("x-trial-bin").cloned();
    if let Some(failure) = failure {
        texts.drain(texts.len().min(1)..).for_each(|text| {
            failure.append(ECHOED, text);
        });
    }
    context.answer_metadata(|metadata| {
        texts.into_iter().for_each(|text| {
            metadata.append(ECHOED, text);
        });
        bytes.into_iter().for_each(|bytes| drop(metadata.insert_bin("x-trial-bin", bytes)));
    });
}

/// The messages of a stream, and one more which says how many they were: who gets it knows that none is missing.
fn with_end(scenes: impl Stream<Item = Result<Played>>) -> impl Stream<Item = Result<Played>> {
    let count = Rc::new(Cell::new(0));
    let counted = Rc::clone(&count);
    let scenes = scenes.inspect(move |_| counted.set(counted.get() + 1));
    scenes.chain(stream::once(async move {
        Ok(Played { is_last: true, scenes: count.get(), ..Played::default() })
    }))
}

/// The messages of a stream; if the script fails, it does at the end.
fn scenes(script: Script) -> impl Stream<Item = Result<Played>> {
    let pause = Duration::from_millis(script.pause_ms.into());
    stream::iter(0..=script.scenes).filter_map(move |number| {
        let script = script.clone();
        async move {
            if number == script.scenes {
                return if script.code == 0 { None } else { Some(played(script).await) };
            }
            // Without a pause, there always is a message.
            if number > 0 && !pause.is_zero() {
                sleep(pause).await;
            }
            if script.answer_bytes >= LARGE {
                info!(made = number + 1, "made");
            }
            let padding = "y".repeat(script.answer_bytes as usize);
            Some(Ok(Played { text: script.text.to_uppercase(), padding, scenes: number + 1, is_last: false }))
        }
    })
}
