//! Clients that are scripts of bytes ([`Stranger`]): each step is played, and what comes back is judged here, for only the
//! client knows when it came.

mod answers;
mod calls;
mod line;
mod pace;

use std::sync::Arc;
use std::time::Duration;

use futures_util::future::{FutureExt as _, LocalBoxFuture};
use sim::{HostContext, Reply, Request};
use tokio::time::{Instant, sleep, timeout};
use transport::Address;

use self::answers::hear;
use self::calls::Caller;
use self::line::{Line, Trouble};
use self::pace::Pace;
pub(crate) use self::pace::SOON;
use super::ports::{GRPC_PORT, HTTP_PORT};
use crate::setting::Setting;
use crate::strangers::{Answer, Edge, Heard, Saying, Step, Stranger, When};

/// The client's name in plans.
pub(crate) const STRANGER: &str = "stranger";

/// What a stranger says of its visit: all was as its script has it.
pub(crate) const SERVED: &str = "SERVED";
/// It went before its script was through, and all was as that has it.
pub(crate) const LEFT: &str = "LEFT";
/// The connection ended, or was not made, where more was to come; what came was right.
pub(crate) const CUT_OFF: &str = "CUT OFF";
/// What came was not what was to come, or it came too early or too late.
pub(crate) const WRONG: &str = "WRONG";

/// How plans name a visit of a stranger to a host.
pub(crate) fn kind_of(host: &str, stranger: &Stranger) -> String {
    format!("{host} {}", stranger.title())
}

/// Which host a stranger visits by `request`, and its title, if it is one.
pub(crate) fn visited(request: &Request) -> Option<(&str, &str)> {
    request.kind.split_once(' ').filter(|_| request.client == STRANGER)
}

/// Plays strangers from `host`.
pub(crate) fn connect(
    host: HostContext,
    setting: Arc<Setting>,
) -> impl Fn(Request) -> LocalBoxFuture<'static, Reply> + 'static {
    move |request| {
        let (host, setting) = (host.clone(), Arc::clone(&setting));
        async move {
            match timeout(request.deadline, visit(&host, &setting, &request)).await {
                Ok(Ok(())) => Reply::failed(SERVED, "").right(),
                Ok(Err(Trouble::CutOff(what))) => Reply::failed(CUT_OFF, what),
                Ok(Err(Trouble::Wrong(what))) => Reply::failed(WRONG, what),
                // A plan that was cut down may give it less time than its script takes.
                Err(_) => Reply::failed(LEFT, "").right(),
            }
        }
        .boxed_local()
    }
}

async fn visit(host: &HostContext, setting: &Setting, request: &Request) -> Result<(), Trouble> {
    // A plan that was cut down may have some whom its world does not know.
    let found = visited(request).and_then(|(to, title)| Some((to, setting.stranger(title)?)));
    let Some((to, stranger)) = found else { return Ok(()) };
    let port = if stranger.edge == Edge::Rest { HTTP_PORT } else { GRPC_PORT };
    let from = Instant::now();
    let made = host.net().connect(&Address::Tcp { host: to.to_owned(), port }).await;
    let io = made.map_err(|error| Trouble::CutOff(format!("no connection: {error}")))?;
    let mut visit = Visit {
        line: Line::new(io, &request.argument),
        from,
        said_for: Duration::ZERO,
        pace: Pace::of(setting),
        edge: stranger.edge,
    };
    if stranger.steps.iter().any(|step| matches!(step, Step::Calls(_))) {
        return visit.call(&stranger.steps).await;
    }
    for (number, step) in stranger.steps.iter().enumerate() {
        let goes_on = visit.step(step).await.map_err(|trouble| trouble.at(number + 1))?;
        if !goes_on {
            break;
        }
    }
    Ok(())
}

/// A client at a node.
struct Visit {
    line: Line,
    /// When it has last begun to say something anew, or to connect.
    from: Instant,
    /// How long saying that took.
    said_for: Duration,
    pace: Pace,
    edge: Edge,
}

impl Visit {
    /// Whether the next step follows.
    async fn step(&mut self, step: &Step) -> Result<bool, Trouble> {
        match step {
            Step::Says(saying) => self.say(saying).await,
            Step::Waits(time) => sleep(*time).await,
            Step::HalfCloses => self.line.half_close().await,
            Step::Hears(heard, when) => self.hear(heard, *when).await?,
            Step::AsksUntilToldToLeave { request, times } => return self.ask(request, *times).await,
            Step::AwaitsGoaway(most) => return self.await_goaway(*most).await,
            Step::IsRead { bytes, times } => self.go_on(bytes, *times).await?,
            // These strangers make calls and do nothing else.
            Step::Calls(_) => {}
        }
        Ok(true)
    }

    async fn say(&mut self, saying: &Saying) {
        let begun = Instant::now();
        self.line.say(&saying.bytes, saying.is_whole).await;
        if saying.is_new {
            (self.from, self.said_for) = (begun, begun.elapsed());
        }
    }

    async fn hear(&mut self, heard: &Heard, when: When) -> Result<(), Trouble> {
        let by = self.by(when);
        let what = match heard {
            Heard::Answer(answer) => {
                let closes = hear(&mut self.line, answer, by).await?;
                if closes && !answer.closes {
                    return Err(Trouble::CutOff("the answer says that the connection ends".to_owned()));
                }
                format!("the answer {}", answer.status)
            }
            Heard::Frame(beginning) => {
                self.line.frame(beginning, by).await?;
                "the frame".to_owned()
            }
            Heard::End => {
                self.line.end(self.edge == Edge::Rest, by).await?;
                "the end".to_owned()
            }
        };
        self.not_before(when, &what, matches!(heard, Heard::End))
    }

    /// When something must have come that comes then.
    fn by(&self, when: When) -> Instant {
        match when {
            When::Soon => Instant::now() + SOON,
            When::After(time) => self.from + self.said_for + time + self.pace.way,
        }
    }

    fn not_before(&self, when: When, what: &str, is_end: bool) -> Result<(), Trouble> {
        let When::After(time) = when else { return Ok(()) };
        let took = self.from.elapsed();
        if took + self.pace.tick >= time {
            return Ok(());
        }
        let (took, time) = (took.as_millis(), time.as_millis());
        let early = format!("{what} came after {took} ms, expected it after {time} ms");
        Err(if is_end { Trouble::CutOff(early) } else { Trouble::Wrong(early) })
    }

    async fn ask(&mut self, request: &[u8], times: u32) -> Result<bool, Trouble> {
        for asked in 0..times {
            // In one piece: nobody can be told anything while a head dribbles in.
            self.line.say(request, true).await;
            match hear(&mut self.line, &Answer::new(200), Instant::now() + SOON).await {
                Ok(true) => return self.line.end(true, Instant::now() + SOON).await.map(|()| false),
                Ok(false) => {}
                Err(Trouble::CutOff(what)) if asked > 0 => {
                    return Err(Trouble::Wrong(format!("{what}, and the last answer did not tell so")));
                }
                Err(trouble) => return Err(trouble),
            }
        }
        Ok(true)
    }

    /// Whether there was a GOAWAY.
    async fn await_goaway(&mut self, most: Duration) -> Result<bool, Trouble> {
        match timeout(most, self.line.goaway()).await {
            Ok(heard) => heard?,
            Err(_) => return Ok(false),
        }
        self.line.end_of_frames(Instant::now() + SOON).await.map(|()| true)
    }

    async fn go_on(&mut self, bytes: &[u8], times: u32) -> Result<(), Trouble> {
        for said in 0..times {
            if let Err(error) = self.line.write(bytes).await {
                return Err(Trouble::Wrong(format!("what it said was read {said} times, and then: {error}")));
            }
            sleep(self.pace.way / 2).await;
        }
        Ok(())
    }

    /// Makes all calls among the steps, over one connection of HTTP/2.
    async fn call(self, steps: &[Step]) -> Result<(), Trouble> {
        let mut caller = Caller::new(self.line.into_io(), self.pace).await?;
        for (number, step) in steps.iter().enumerate() {
            match step {
                Step::Calls(call) => caller.call(call).await.map_err(|trouble| trouble.at(number + 1))?,
                Step::Waits(time) => sleep(*time).await,
                _ => return Err(Trouble::Wrong("who makes calls says nothing else".to_owned())),
            }
        }
        Ok(())
    }
}
