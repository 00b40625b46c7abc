//! Tells of each call that a service makes, and what became of it, by its caller's end.

use std::cell::{Cell, RefCell};
use std::sync::Arc;
use std::task::{Context, Poll};

use futures_util::future::BoxFuture;
use futures_util::{StreamExt as _, stream};
use tokio::time::Instant;
use tower::Service;
use transport::channel::{Channel, Request, Response};
use transport::payload::{MessageStream, Payload};
use transport::trail::Trail;
use transport::{CallContext, Result, Status};

use super::next;
use crate::facts::{Added, CallMade, CallOutcome, Outcome};
use crate::graph::Contracts;

thread_local! {
    /// How many clients and calls of nodes there were: a rehearsal has its thread for itself.
    static CLIENTS: Cell<u32> = const { Cell::new(0) };
    static HOPS: Cell<u32> = const { Cell::new(0) };
    /// The calls that may be under way, with the numbers of their first attempts.
    static CALLS: RefCell<Vec<(Trail, u32)>> = const { RefCell::new(Vec::new()) };
}

/// So many calls are remembered before those are forgotten that have ended.
const CALLS_KEPT: usize = 64;

/// The same carrier to `callee`, each of whose calls is told.
pub(crate) fn told(callee: &'static str, carrier: Channel, contracts: &Arc<Contracts>) -> Channel {
    Channel::new(Told { callee, client: next(&CLIENTS), contracts: Arc::clone(contracts), carrier })
}

#[derive(Clone)]
struct Told {
    callee: &'static str,
    client: u32,
    contracts: Arc<Contracts>,
    carrier: Channel,
}

impl Service<Request> for Told {
    type Response = Response;
    type Error = Status;
    type Future = BoxFuture<'static, Result<Response>>;

    fn poll_ready(&mut self, context: &mut Context<'_>) -> Poll<Result<()>> {
        self.carrier.poll_ready(context)
    }

    fn call(&mut self, request: Request) -> Self::Future {
        let hop = Hop::made(self, &request);
        let call = self.carrier.call(request);
        Box::pin(async move {
            match call.await {
                Ok(response) => Ok(Response { body: hop.with_answer(response.body), ..response }),
                Err(status) => {
                    hop.ended(Outcome::of(&status));
                    Err(status)
                }
            }
        })
    }
}

/// The number of the first attempt of the call with this trail, of which `hop` is an attempt.
fn call_of(trail: &Trail, hop: u32) -> u32 {
    CALLS.with_borrow_mut(|calls| {
        if let Some((_, first)) = calls.iter().rev().find(|(known, _)| known.is_same(trail)) {
            return *first;
        }
        if calls.len() >= CALLS_KEPT {
            calls.retain(|(known, _)| known.is_held());
        }
        calls.push((trail.clone(), hop));
        hop
    })
}

/// A call that is under way. One that is dropped has not been waited for.
struct Hop {
    request_id: String,
    deadline: Option<Instant>,
    /// Has no outcome yet.
    outcome: Option<CallOutcome>,
}

impl Hop {
    fn made(told: &Told, request: &Request) -> Self {
        let (hop, callee, path) = (next(&HOPS), told.callee, request.path);
        let left = request.deadline.map(|deadline| deadline.saturating_duration_since(Instant::now()));
        let (caller, had, is_repeated) = CallContext::with_current(|context| match context {
            Some(context) => (context.service(), context.remaining(), context.is_repeated_outside()),
            None => (None, None, false),
        });
        // What the node believes is what is judged, so that the contract itself is asked. One that no app of the scenario
        // has is of a host that is no node, and then nobody knows better.
        let is_idempotent = told.contracts.get(path).copied().unwrap_or(request.idempotent);
        let is_sent_once = matches!(request.body, Payload::Stream(_));
        let made = CallMade {
            hop,
            call: call_of(&request.trail, hop),
            attempt: request.attempt,
            is_idempotent,
            may_be_repeated: is_idempotent && request.policy.attempts > 1 && !is_sent_once,
            attempts_max: request.policy.attempts,
            waits: (request.policy.backoff, request.policy.backoff_max),
            retry_codes: request.policy.retry_codes,
            is_repeated,
            client: told.client,
            caller,
            callee,
            path,
            left,
            had,
            is_streaming: request.streaming || is_sent_once,
            added: Added::to(request.metadata.as_ref()),
        };
        let request_id = request.request_id.as_str().to_owned();
        sim::tell(made, Some(&request_id));
        let outcome = CallOutcome { hop, callee, path, outcome: Outcome::Dropped };
        Self { request_id, deadline: request.deadline, outcome: Some(outcome) }
    }

    fn ended(mut self, outcome: Outcome) {
        self.tell(outcome);
    }

    fn tell(&mut self, outcome: Outcome) {
        if let Some(ended) = self.outcome.take() {
            sim::tell(CallOutcome { outcome, ..ended }, Some(&self.request_id));
        }
    }

    /// A call with one answer has worked; one with a stream works when that ends well.
    fn with_answer(self, body: Payload) -> Payload {
        match body {
            Payload::One(_) => {
                self.ended(Outcome::Ok);
                body
            }
            Payload::Stream(messages) => Payload::Stream(self.watch(messages)),
        }
    }

    fn watch(self, messages: MessageStream) -> MessageStream {
        let watched = stream::unfold((messages, self), async |(mut messages, mut hop)| {
            let item = messages.next().await;
            match &item {
                Some(Ok(_)) => {}
                Some(Err(status)) => hop.tell(Outcome::of(status)),
                None => hop.tell(Outcome::Ok),
            }
            Some((item?, (messages, hop)))
        });
        watched.boxed()
    }
}

impl Drop for Hop {
    fn drop(&mut self) {
        let is_late = self.deadline.is_some_and(|deadline| deadline <= Instant::now());
        self.tell(if is_late { Outcome::Late } else { Outcome::Dropped });
    }
}
