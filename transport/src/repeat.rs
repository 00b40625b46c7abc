//! What comes after the first attempt of a call, and beside it.

use std::future::Future;
use std::pin::pin;
use std::sync::Arc;
use std::time::Duration;

use futures_util::future::{Either, select};
use tokio::time::{Instant, sleep, timeout};
use tower::{Service, ServiceExt as _};

use crate::chance::doubled;
use crate::channel::{Request, Response};
use crate::latencies::Latencies;
use crate::policy::RetryBudget;
use crate::status::{self, Result, Status};
use crate::tokens::Tokens;
use crate::trail::{Mark, Pushback};

/// What all calls of a client share.
#[derive(Debug)]
pub(crate) struct Spent {
    tokens: Tokens,
    latencies: Latencies,
}

impl Spent {
    pub(crate) fn new(budget: RetryBudget) -> Self {
        Self { tokens: Tokens::new(budget), latencies: Latencies::default() }
    }
}

/// A call of which further attempts may be made.
pub(crate) struct Repeat<S> {
    service: S,
    spent: Arc<Spent>,
    /// Of the attempt that was made last.
    request: Request,
    /// How often a wait has doubled.
    doublings: u32,
    /// How many attempts were not made, since nothing was there to pay for them.
    skipped: u32,
}

impl<S> Repeat<S>
where
    S: Service<Request, Response = Response, Error = Status> + Clone + Send + 'static,
    S::Future: Send + 'static,
{
    /// Of a `request` whose first attempt is under way.
    pub(crate) fn new(service: S, spent: Arc<Spent>, request: Request) -> Self {
        Self { service, spent, request, doublings: 0, skipped: 0 }
    }

    /// The call has worked.
    pub(crate) fn worked(&self) {
        self.spent.tokens.credit();
    }

    /// Goes on after the `attempt` has failed.
    pub(crate) async fn after(mut self, mut attempt: u32, mut status: Status) -> Result<Response> {
        loop {
            self.request.trail.mark(attempt, Mark::Failed(status.code()));
            if !self.may_go_on(attempt, &status).await {
                return Err(status);
            }
            match self.next().await {
                Ok(response) => {
                    self.worked();
                    return Ok(response);
                }
                Err(next) => (attempt, status) = (self.request.attempt, next),
            }
        }
    }

    /// Waits for the first attempt, and makes a second one beside it, elsewhere, if that takes longer than is usual. The
    /// first answer counts, and the other attempt is dropped, which cancels it.
    pub(crate) async fn hedged(mut self, first: S::Future, began: Instant) -> Result<Response> {
        let mut first = pin!(first);
        let in_time = match self.spent.latencies.usual(self.request.path) {
            Some(usual) => timeout(usual, first.as_mut()).await.ok(),
            None => Some(first.as_mut().await),
        };
        let (attempt, answer) = match in_time {
            Some(answer) => (0, answer),
            None if self.may_hedge() && self.spent.tokens.spend() => self.race(first).await,
            None => (0, first.await),
        };
        match answer {
            Ok(response) => {
                self.worked();
                self.spent.latencies.note(self.request.path, began.elapsed());
                Ok(response)
            }
            Err(status) => self.after(attempt, status).await,
        }
    }

    /// The answer of the first or the second attempt, whichever is there first, and which of them it was; if one fails, that
    /// of the other.
    async fn race(
        &mut self,
        first: impl Future<Output = Result<Response>> + Unpin,
    ) -> (u32, Result<Response>) {
        let second = pin!(self.next());
        match select(first, second).await {
            Either::Left((Err(status), second)) if self.may_repeat(&status) => {
                self.failed_beside(0, &status);
                (1, second.await)
            }
            Either::Right((Err(status), first)) if self.may_repeat(&status) => {
                self.failed_beside(1, &status);
                (0, first.await)
            }
            Either::Left((answer, _)) => {
                self.request.trail.mark(1, Mark::Overtaken);
                (0, answer)
            }
            Either::Right((answer, _)) => {
                self.request.trail.mark(0, Mark::Overtaken);
                (1, answer)
            }
        }
    }

    /// One of two attempts has failed. Even where no token is left the other one goes on.
    fn failed_beside(&self, attempt: u32, status: &Status) {
        self.request.trail.mark(attempt, Mark::Failed(status.code()));
        self.spent.tokens.charge();
    }

    /// Makes the next attempt.
    fn next(&mut self) -> impl Future<Output = Result<Response>> + Send + use<S> {
        self.request.attempt += 1;
        self.request.trail.mark(self.request.attempt, Mark::Begun);
        let request = self.request.copied(self.request.attempt).expect("a copy can be copied again");
        self.service.clone().oneshot(request)
    }

    /// Waits until the next attempt may be made; not if this failure is the last. The charge comes first, so that calls
    /// that fail together know of each other before they wait.
    ///
    /// A client that has just begun has saved no tokens, and its first calls go out before it knows anything of any callee. So
    /// those of them that nothing is left for wait all the same, as long as they would for their attempts, for what the
    /// others earn meanwhile.
    async fn may_go_on(&mut self, attempt: u32, status: &Status) -> bool {
        if !self.may_repeat(status) {
            return false;
        }
        let mut is_paid = self.spent.tokens.charge();
        let pushes_back = self.request.trail.pushback(attempt).is_some();
        let may_wait = is_paid || self.spent.tokens.are_new() && !pushes_back;
        while may_wait && self.is_left() {
            let Some(wait) = self.wait_after(attempt) else { return false };
            sleep(wait).await;
            is_paid = is_paid || self.spent.tokens.spend();
            if is_paid {
                return true;
            }
            self.skipped += 1;
        }
        false
    }

    /// How long to wait before the next attempt; none if there is to be no other.
    fn wait_after(&mut self, attempt: u32) -> Option<Duration> {
        let wait = match self.request.trail.pushback(attempt) {
            Some(Pushback::Stop) => return None,
            Some(Pushback::Wait(wait)) => {
                self.doublings = 0;
                wait
            }
            None => self.backoff(),
        };
        let due = self.request.begins_by();
        // Who cannot wait so long learns now what was wrong, and not at its deadline that it is late.
        let is_in_time = due.is_none_or(|due| Instant::now().checked_add(wait).is_some_and(|at| at < due));
        is_in_time.then_some(wait)
    }

    /// Whether another attempt could do better, and no harm.
    fn may_repeat(&self, status: &Status) -> bool {
        let is_named = || self.request.policy.retry_codes.has(status.code());
        status::proof_not_sent(status).is_some() || self.request.idempotent && is_named()
    }

    /// Whether an attempt beside the first is among those that may be made, and has somewhere else to go.
    fn may_hedge(&self) -> bool {
        self.is_left() && !self.request.trail.is_at_the_only_one()
    }

    fn is_left(&self) -> bool {
        self.request.attempt + 1 + self.skipped < self.request.policy.attempts
    }

    /// The wait of gRFC A6, spread by a fifth.
    fn backoff(&mut self) -> Duration {
        let policy = &self.request.policy;
        let wait = doubled(policy.backoff, policy.backoff_max, self.doublings);
        self.doublings += 1;
        wait
    }
}
