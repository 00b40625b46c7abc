//! How the services of [`trial`](crate::trial) ask the last one on the way: in the manner of the script.

use std::time::Duration;

use futures_util::{StreamExt as _, stream};
use probe_contract::back;
use probe_contract::{Manner, Played, Script};
use tokio::time::sleep;
use tonic::Request;
use tonic::metadata::MetadataMap;
use tracing::info;
use transport::{CallContext, Client, Code, Result, Status, Streaming};

use crate::afterwards::{AFTERWARDS, BEGUN, DONE};
use crate::terms::{ECHOED, answer_to, one_hop_on};

/// Asks the back in the manner of the script: now, or when the call has ended.
pub(crate) async fn further(back: back::Client, script: Script) -> Result<Played> {
    let script = one_hop_on(script);
    if !script.afterwards {
        return ask(back, script).await;
    }
    let answer = Played { text: script.text.to_uppercase(), ..Played::default() };
    let context = CallContext::current().ok_or_else(|| Status::internal("a handler has a context"))?;
    context.spawn(AFTERWARDS, async move {
        let done = ask(back, script).await;
        info!(afterwards = DONE, ok = done.is_ok(), "done afterwards");
    })?;
    info!(afterwards = BEGUN, "goes on afterwards");
    Ok(answer)
}

async fn ask(back: back::Client, script: Script) -> Result<Played> {
    let (back, within_ms) = (back.inner(), script.within_ms);
    match script.manner() {
        Manner::Ask => ask_with_mark(back, script).await,
        Manner::Gather => {
            let answer = back.exchange::<back::Gather>(within(within_ms, copies(&script))).await;
            if script.stumbles { stumbled(&script, answer) } else { Ok(answer?.into_inner()) }
        }
        Manner::Show => {
            let request = within(within_ms, script.clone());
            shown(&script, back.exchange::<back::Show>(request).await?.into_inner()).await
        }
        Manner::Mirror => {
            let answer = async {
                let request = within(within_ms, copies(&script));
                last_of(&script, back.exchange::<back::Mirror>(request).await?.into_inner()).await
            };
            match answer.await {
                answer if script.stumbles => stumbled(&script, answer),
                Ok(last) if last.scenes != count(&script) => Err(Status::data_loss("messages are missing")),
                answer => answer,
            }
        }
    }
}

fn count(script: &Script) -> u32 {
    script.scenes.max(1)
}

/// The script as often as it says, of which the last fails if any does, and after a while what who sends it stumbles over.
fn copies(script: &Script) -> Streaming<Script> {
    let sound = Script { code: 0, panics: false, ..script.clone() };
    let mut copies = vec![sound; count(script) as usize - 1];
    let last = match script.swells_to {
        0 => script.clone(),
        bytes => Script { request_bytes: bytes, padding: "x".repeat(bytes as usize), ..script.clone() },
    };
    copies.push(last);
    let copies = stream::iter(copies.into_iter().map(Ok));
    if !script.stumbles {
        return Streaming::new(copies);
    }
    Streaming::new(copies.chain(stream::once(async {
        sleep(HESITATES).await;
        Err(Status::aborted(STUMBLED))
    })))
}

/// What is wrong with a stream of requests, by who sends it, and how long that takes to come: answers are on their way by then.
const STUMBLED: &str = "the rest is forgotten";
const HESITATES: Duration = Duration::from_millis(60);

/// Who sends a stream of requests that fails is told of that himself, and not of what came of it.
fn stumbled<T>(script: &Script, answer: Result<T>) -> Result<Played> {
    match answer {
        Err(status) if status.code() == Code::Aborted && status.message() == STUMBLED => {
            Ok(answer_to(script))
        }
        Err(status) => Err(status),
        Ok(_) => Err(Status::data_loss("a stream of requests that failed was answered")),
    }
}

/// A request that is given so long.
fn within<T>(within_ms: u32, message: T) -> Request<T> {
    let mut request = Request::new(message);
    if within_ms > 0 {
        request.set_timeout(Duration::from_millis(within_ms.into()));
    }
    request
}

/// Asks with metadata of its own, which must come back.
async fn ask_with_mark(back: &Client, script: Script) -> Result<Played> {
    let (mark, fails_with, panics) = (script.text.clone(), script.message.clone(), script.panics);
    let mut request = within(script.within_ms, script);
    let value = mark.parse().map_err(|_| Status::internal("a text of a script is ASCII"))?;
    request.metadata_mut().insert(ECHOED, value);
    let is_back = |metadata: &MetadataMap| metadata.get(ECHOED).is_some_and(|back| back == mark.as_str());
    match back.exchange::<back::Play>(request).await {
        Ok(answer) if is_back(answer.metadata()) => Ok(answer.into_inner()),
        Ok(_) => Err(Status::data_loss("what was sent along did not come back with the answer")),
        // What fails on its way, or panics, brings nothing along.
        Err(status)
            if !is_back(status.metadata())
                && status.message() == fails_with
                && fails_with.len() > 9
                && !panics =>
        {
            Err(Status::data_loss("what was sent along did not come back with the failure"))
        }
        Err(mut status) => {
            // It goes no further.
            status.metadata_mut().clear();
            Err(status)
        }
    }
}

/// The failure that a script asks for comes behind all messages that it asks for: so many.
fn behind_all(failed: Status, script: &Script, (came, all): (u32, u32)) -> Status {
    let is_its_own = script.code != 0 && script.message.len() > 9 && failed.message() == script.message;
    if is_its_own && came != all {
        return Status::data_loss(format!("it has failed after {came} messages; expected {all}"));
    }
    failed
}

/// The failure of a stream is the last of it.
async fn the_last(mut answer: Streaming<Played>, failed: Status) -> Status {
    match answer.next().await {
        Some(_) => Status::data_loss("a stream has gone on after its failure"),
        None => failed,
    }
}

/// The last message of an answer, and how many there were.
async fn last_of(script: &Script, mut answer: Streaming<Played>) -> Result<Played> {
    let (mut last, mut count) = (Played::default(), 0);
    while let Some(played) = answer.next().await {
        last = match played {
            Ok(played) => played,
            Err(failed) => {
                let failed = behind_all(failed, script, (count, self::count(script) - 1));
                return Err(the_last(answer, failed).await);
            }
        };
        count += 1;
    }
    Ok(Played { scenes: count, ..last })
}

/// The last message of what is shown, of which nothing is missing.
async fn shown(script: &Script, mut answer: Streaming<Played>) -> Result<Played> {
    let (mut last, mut count, mut is_whole) = (Played::default(), 0, false);
    while let Some(played) = answer.next().await {
        let played = match played {
            Ok(played) => played,
            Err(failed) => {
                return Err(the_last(answer, behind_all(failed, script, (count, script.scenes))).await);
            }
        };
        if played.is_last {
            is_whole = played.scenes == count;
        } else {
            (last, count) = (played, count + 1);
        }
    }
    if is_whole { Ok(Played { scenes: count, ..last }) } else { Err(Status::data_loss("its end is missing")) }
}
