//! How many calls one client has in flight at once: a callee that hangs takes no more of its caller than that.

use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};
use std::task::{Context, Poll, ready};

use futures_util::StreamExt as _;
use pin_project_lite::pin_project;
use tower::{Layer, Service};

use crate::channel::{Request, Response};
use crate::payload::Payload;
use crate::status::{Result, Status};

/// Refuses at once what would be one call too many; without a limit it does nothing.
#[derive(Debug, Clone)]
pub(crate) struct InFlightLayer {
    callee: &'static str,
    /// The most, and how many there are.
    limit: Option<(u32, Arc<AtomicU32>)>,
}

impl InFlightLayer {
    pub(crate) fn new(callee: &'static str, most: Option<u32>) -> Self {
        Self { callee, limit: most.map(|most| (most, Arc::default())) }
    }

    /// Room for one call; the outer one is none if there is no limit.
    fn take(&self) -> Option<Result<Room>> {
        let (most, taken) = self.limit.as_ref()?;
        let one_more = |now: u32| (now < *most).then_some(now + 1);
        Some(match taken.fetch_update(Ordering::Relaxed, Ordering::Relaxed, one_more) {
            Ok(_) => Ok(Room(taken.clone())),
            Err(_) => Err(Status::resource_exhausted(format!(
                "{most} calls to {} are in flight, which is max-in-flight of its policy",
                self.callee
            ))),
        })
    }
}

/// Room for one call in flight.
#[derive(Debug)]
struct Room(Arc<AtomicU32>);

impl Drop for Room {
    fn drop(&mut self) {
        self.0.fetch_sub(1, Ordering::Relaxed);
    }
}

impl<S> Layer<S> for InFlightLayer {
    type Service = InFlight<S>;

    fn layer(&self, inner: S) -> Self::Service {
        InFlight { inner, layer: self.clone() }
    }
}

#[derive(Debug, Clone)]
pub(crate) struct InFlight<S> {
    inner: S,
    layer: InFlightLayer,
}

impl<S: Service<Request, Response = Response, Error = Status>> Service<Request> for InFlight<S> {
    type Response = Response;
    type Error = Status;
    type Future = Limited<S::Future>;

    fn poll_ready(&mut self, cx: &mut Context<'_>) -> Poll<Result<()>> {
        self.inner.poll_ready(cx)
    }

    fn call(&mut self, request: Request) -> Self::Future {
        match self.layer.take() {
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
