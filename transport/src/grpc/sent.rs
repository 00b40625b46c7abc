//! A call on its way to an endpoint and back, and what it shows of that endpoint.

use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, ready};
use std::time::Duration;

use http::{HeaderMap, Response, StatusCode};
use http_body::{Body, Frame, SizeHint};
use tokio::time::Instant;
use tonic::{Code, Status};

use super::chosen::Chosen;
use super::endpoint::Endpoint;
use super::endpoints::Endpoints;
use super::line::{Line, Place};
use super::record::Verdict;
use super::subchannel::Sender;
use crate::metadata::{self, Pushback};
use crate::status::{self, NotSent};

/// A stream that goes on for so long has worked, whatever ends it: the time in which the mean of what calls take fades.
const LASTS: Duration = Duration::from_secs(10);

/// A call that an endpoint has, until it has ended or is dropped.
pub(super) struct Sent {
    endpoints: Arc<Endpoints>,
    endpoint: Arc<Endpoint>,
    place: Place,
    at: Instant,
    deadline: Option<Instant>,
    /// How long it took until the head of its answer was there.
    head_after: Option<Duration>,
    /// Whether it tries an endpoint that is ejected, and has shown nothing yet.
    is_trial: bool,
    shown: Shown,
}

/// What a call has shown so far.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Shown {
    Nothing,
    /// That its stream began well.
    Begun,
    All,
}

impl Sent {
    /// A call to the endpoint that was chosen, and the connection that takes it.
    pub(super) fn to(
        chosen: Chosen,
        endpoints: &Arc<Endpoints>,
        deadline: Option<Instant>,
    ) -> (Self, Sender) {
        let Chosen { endpoint, line, place, sender, is_trial, at } = chosen;
        let place = place.unwrap_or_else(|| Place::on(line));
        endpoint.begin(endpoints.next_number(), is_trial);
        let endpoints = endpoints.clone();
        (
            Self {
                endpoints,
                endpoint,
                place,
                at,
                deadline,
                head_after: None,
                is_trial,
                shown: Shown::Nothing,
            },
            sender,
        )
    }

    /// The connection that it goes over.
    pub(super) fn line(&self) -> &Line {
        self.place.line()
    }

    /// When it was sent.
    pub(super) fn at(&self) -> Instant {
        self.at
    }

    /// The head of its answer is there by now, which shows that a stream has begun; the status of what is one message comes after
    /// it.
    pub(super) fn has_head<B>(&mut self, answer: &Response<B>, streaming: bool, now: Instant) {
        let verdict = verdict_in(answer.headers()).or_else(|| verdict_of(answer.status()));
        self.head_after = Some(now - self.at);
        if let Some(verdict) = verdict.or(streaming.then_some(Verdict::Begun)) {
            self.shows(verdict);
        }
    }

    /// It has ended with this error of its connection or stream.
    pub(super) fn failed(mut self, status: Status) -> Status {
        self.shows(verdict_on(&status));
        status
    }

    /// The stream is over, however it has ended. One that has gone on for long has worked.
    fn has_lasted(&mut self) {
        let begun = self.at + self.head_after.unwrap_or_default();
        match begun.elapsed() >= LASTS {
            true => self.shows(Verdict::EndedWell),
            false => self.shown = Shown::All,
        }
    }

    fn shows(&mut self, verdict: Verdict) {
        self.shown = if verdict == Verdict::Begun { Shown::Begun } else { Shown::All };
        let after = self.head_after.unwrap_or_else(|| self.at.elapsed());
        let is_too_often = self.endpoint.showed(verdict, self.at, after);
        // A trial that went well has ended the ejection above.
        let has_failed_trial = std::mem::take(&mut self.is_trial) && self.endpoint.is_ejected();
        if is_too_often || has_failed_trial {
            self.endpoints.leave_out(&self.endpoint);
        }
    }
}

impl Drop for Sent {
    fn drop(&mut self) {
        match (self.shown, self.deadline) {
            (Shown::Nothing, Some(deadline)) if deadline <= Instant::now() => self.shows(Verdict::Late),
            (Shown::Nothing, _) => self.endpoint.was_given_up(self.at.elapsed()),
            // How long a stream goes on is its callee's to say: its deadline shows nothing.
            (Shown::Begun, Some(deadline)) if deadline <= Instant::now() => self.has_lasted(),
            (Shown::Begun, _) => self.shows(Verdict::EndedWell),
            (Shown::All, _) => {}
        }
        if self.is_trial {
            self.endpoint.was_not_tried();
        }
        self.endpoint.end();
    }
}

/// The body of an answer, which belongs to its call until it has ended.
pub(super) struct Watched<B> {
    body: B,
    sent: Sent,
}

impl<B> Watched<B> {
    pub(super) fn new(body: B, sent: Sent) -> Self {
        Self { body, sent }
    }
}

impl<B: Body<Error = Status> + Unpin> Body for Watched<B> {
    type Data = B::Data;
    type Error = Status;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<B::Data>, Status>>> {
        let frame = ready!(Pin::new(&mut self.body).poll_frame(cx));
        let verdict = match &frame {
            Some(Ok(frame)) => frame.trailers_ref().and_then(verdict_in),
            Some(Err(status)) => Some(verdict_on(status)),
            None => None,
        };
        match (verdict, self.sent.shown) {
            (None, _) | (_, Shown::All) => {}
            (Some(Verdict::Late), Shown::Begun) => self.sent.has_lasted(),
            // How long it took until it began was counted then.
            (Some(Verdict::Sound), Shown::Begun) => self.sent.shows(Verdict::EndedWell),
            (Some(verdict), Shown::Begun) => {
                self.sent.has_lasted();
                self.sent.shows(verdict);
            }
            (Some(verdict), Shown::Nothing) => self.sent.shows(verdict),
        }
        Poll::Ready(frame)
    }

    fn is_end_stream(&self) -> bool {
        self.body.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.body.size_hint()
    }
}

/// What an answer's status shows, if there is one among `headers`.
fn verdict_in(headers: &HeaderMap) -> Option<Verdict> {
    let code = Code::from_bytes(headers.get(metadata::GRPC_STATUS)?.as_bytes());
    Some(match code {
        Code::Unavailable => Verdict::Failed(pushback(headers)),
        Code::ResourceExhausted => Verdict::Full(pushback(headers)),
        Code::DeadlineExceeded => Verdict::Late,
        // The application itself says so. Another endpoint would answer the same, so this one is not to blame.
        _ => Verdict::Sound,
    })
}

/// What an answer shows that is HTTP's only, as of a proxy that finds nobody behind it.
fn verdict_of(status: StatusCode) -> Option<Verdict> {
    match status.as_u16() {
        200 => None,
        429 => Some(Verdict::Full(None)),
        502..=504 => Some(Verdict::Failed(None)),
        _ => Some(Verdict::Sound),
    }
}

/// What the end of a stream or a connection shows.
fn verdict_on(status: &Status) -> Verdict {
    match status.code() {
        _ if status::was_lost(status) => Verdict::Failed(None),
        _ if status::proof_not_sent(status) == Some(NotSent::Refused) => Verdict::Refused,
        Code::ResourceExhausted => Verdict::Full(None),
        Code::Internal => Verdict::Failed(None),
        _ => Verdict::Sound,
    }
}

/// For how long the callee wants to be left alone, if it says so.
fn pushback(headers: &HeaderMap) -> Option<Duration> {
    match metadata::pushback(headers)? {
        Pushback::Wait(wait) => Some(wait),
        Pushback::Stop => None,
    }
}
