//! How many calls one client has in flight at once: a callee that hangs takes no more of its caller than that.

use std::future::Future;
use std::pin::Pin;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::task::{Context, Poll, ready};

use futures_util::StreamExt as _;
use pin_project_lite::pin_project;
use tokio::time::Instant;
use tower::{Layer, Service};

use crate::channel::{Request, Response};
use crate::gauges::{Count, Gauge, Holds, Reading};
use crate::gradient::Gradient;
use crate::payload::Payload;
use crate::policy::MaxInFlight;
use crate::status::{self, Code, Result, Status};
use crate::trail::Trail;

/// The limit of the calls to one service.
#[derive(Debug)]
pub(crate) struct Limit {
    callee: &'static str,
    taken: Count,
    most: Most,
}

#[derive(Debug)]
enum Most {
    Calls(u32),
    Adaptive(Mutex<Gradient>),
}

impl Limit {
    pub(crate) fn new(callee: &'static str, most: MaxInFlight) -> Self {
        let most = match most {
            MaxInFlight::Calls(most) => Most::Calls(most),
            MaxInFlight::Adaptive => Most::Adaptive(Mutex::new(Gradient::new(Instant::now()))),
        };
        Self { callee, taken: Count::default(), most }
    }

    /// Room for a call.
    fn take(self: &Arc<Self>, request: &Request) -> Result<Room> {
        let most = self.most();
        if !self.taken.add_below(most as usize) {
            return Err(Status::resource_exhausted(format!(
                "{most} calls to {} are in flight, which is max-in-flight of its policy",
                self.callee
            )));
        }
        let sample = self.gradient().map(|mut gradient| {
            gradient.begun(u32::try_from(self.taken.get()).unwrap_or(u32::MAX));
            Sample { began: Instant::now(), due: request.begins_by(), trail: request.trail.clone() }
        });
        Ok(Room { limit: Arc::clone(self), sample })
    }

    fn most(&self) -> u32 {
        match &self.most {
            Most::Calls(most) => *most,
            Most::Adaptive(gradient) => locked(gradient).limit(),
        }
    }

    fn gradient(&self) -> Option<MutexGuard<'_, Gradient>> {
        match &self.most {
            Most::Calls(_) => None,
            Most::Adaptive(gradient) => Some(locked(gradient)),
        }
    }
}

/// Never contended: a client stays on its worker.
fn locked(gradient: &Mutex<Gradient>) -> MutexGuard<'_, Gradient> {
    gradient.lock().unwrap_or_else(PoisonError::into_inner)
}

impl Holds for Limit {
    fn tell(&self, reading: &mut Reading) {
        reading.add(Gauge::CalleeLimit, self.callee, "taken", self.taken.get());
        reading.add(Gauge::CalleeLimit, self.callee, "most", self.most() as usize);
    }
}

/// Room for one call in flight.
#[derive(Debug)]
struct Room {
    limit: Arc<Limit>,
    /// What the call will tell an adaptive limit; none once it has, or where there is none.
    sample: Option<Sample>,
}

/// A round trip that has not ended.
#[derive(Debug)]
struct Sample {
    began: Instant,
    /// When its answer must have begun.
    due: Option<Instant>,
    trail: Trail,
}

impl Room {
    /// Learns from an answer. One of several attempts, or of a stream, took what it took for other reasons, too.
    fn answered(&mut self, answer: &Result<Response>) {
        let Some((sample, mut gradient)) = self.sample.take().zip(self.limit.gradient()) else { return };
        let now = Instant::now();
        match answer {
            Ok(Response { body: Payload::One(_), .. }) if sample.trail.is_of_one() => {
                gradient.answered(now - sample.began, now);
            }
            // That there was no room here for an answer says nothing of the callee.
            Err(status) if status.code() == Code::ResourceExhausted && !status::is_no_room_here(status) => {
                gradient.refused(now);
            }
            Ok(_) | Err(_) => {}
        }
    }
}

impl Drop for Room {
    fn drop(&mut self) {
        self.limit.taken.take_away();
        let Some((sample, mut gradient)) = self.sample.take().zip(self.limit.gradient()) else { return };
        // The deadline is kept further out: whoever runs into it drops the call.
        let now = Instant::now();
        if sample.due.is_some_and(|due| due <= now) {
            gradient.was_late(now - sample.began, now);
        }
    }
}

/// Refuses at once what would be one call too many; without a limit it does nothing.
#[derive(Debug, Clone)]
pub(crate) struct InFlightLayer(pub(crate) Option<Arc<Limit>>);

impl<S> Layer<S> for InFlightLayer {
    type Service = InFlight<S>;

    fn layer(&self, inner: S) -> Self::Service {
        InFlight { inner, limit: self.0.clone() }
    }
}

#[derive(Debug, Clone)]
pub(crate) struct InFlight<S> {
    inner: S,
    limit: Option<Arc<Limit>>,
}

impl<S: Service<Request, Response = Response, Error = Status>> Service<Request> for InFlight<S> {
    type Response = Response;
    type Error = Status;
    type Future = Limited<S::Future>;

    fn poll_ready(&mut self, cx: &mut Context<'_>) -> Poll<Result<()>> {
        self.inner.poll_ready(cx)
    }

    fn call(&mut self, request: Request) -> Self::Future {
        match self.limit.as_ref().map(|limit| limit.take(&request)) {
            Some(Err(full)) => Limited::Refused { full: Some(full) },
            room => Limited::Going { call: self.inner.call(request), room: room.and_then(Result::ok) },
        }
    }
}

pin_project! {
    /// A call that has its room, or was refused.
    #[project = Projected]
    pub(crate) enum Limited<F> {
        Refused { full: Option<Status> },
        Going { #[pin] call: F, room: Option<Room> },
    }
}

impl<F: Future<Output = Result<Response>>> Future for Limited<F> {
    type Output = Result<Response>;

    fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        match self.project() {
            Projected::Refused { full } => Poll::Ready(Err(full.take().expect("it is polled once"))),
            Projected::Going { call, room } => {
                let answer = ready!(call.poll(cx));
                room.iter_mut().for_each(|room| room.answered(&answer));
                Poll::Ready(answer.map(|response| until_its_end(response, room.take())))
            }
        }
    }
}

/// A streamed answer is in flight until it has ended.
fn until_its_end(response: Response, room: Option<Room>) -> Response {
    match (response.body, room) {
        (Payload::Stream(messages), Some(room)) => {
            let messages = messages.inspect(move |_| {
                let _held = &room;
            });
            Response { body: Payload::Stream(messages.boxed()), ..response }
        }
        (body, _) => Response { body, ..response },
    }
}
