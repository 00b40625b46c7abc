//! Whether a callee serves, by its own word over one connection: `grpc.health.v1.Health/Watch`, as gRFC A17 has it
//! (<https://github.com/grpc/proposal/blob/master/A17-client-side-health-checking.md>).
//!
//! There is one stream for each connection. It is no call of anybody: nothing here counts it among calls, and it ends with
//! its connection, or when nobody wants that any more.

use std::error::Error as _;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use bytes::Bytes;
use futures_util::stream;
use http::Uri;
use http::uri::{Authority, PathAndQuery, Scheme};
use http_body_util::BodyExt as _;
use hyper::client::conn::http2::SendRequest;
use prost::Message as _;
use tokio::sync::{Notify, oneshot};
use tokio::time::{Instant, sleep, timeout, timeout_at};
use tonic::body::Body;
use tonic::{Code, Status, Streaming};
use tracing::{info, warn};

use super::backoff;
use super::codec::Raw;
use super::details::{checked, without_broken_details};
use crate::chance::chance;
use crate::contract::Method as _;
use crate::cut::told;
use crate::health::{self, HealthCheckRequest, HealthCheckResponse, ServingStatus};
use crate::net::Address;
use crate::payload::Message;
use crate::status::code_name;
use crate::tasks::Tasks;

/// A stream that lasted for as long is opened again at once, if anything was heard on it. gRFC A17 says so of any on which
/// something was heard, and then a callee that says a word and hangs up would be asked without end.
const LASTED: Duration = Duration::from_secs(1);

/// Of a callee that changes its mind more often in a second, the last word of that counts: each change is logged, and wakes all
/// who wait.
const CHANGES_MAX: u32 = 10;
const IN: Duration = Duration::from_secs(1);

/// The largest word of a callee, in bytes; it needs two.
const WORD_BYTES_MAX: usize = 1024;

/// What is asked about, and where.
#[derive(Debug, Clone)]
pub(super) struct Subject {
    /// The service, as this side calls it.
    pub(super) service: &'static str,
    /// Its full name, as the callee knows it.
    pub(super) name: &'static str,
    pub(super) address: Address,
    pub(super) authority: Authority,
    /// How long the first word of each stream may take.
    pub(super) patience: Duration,
}

/// What a callee says of itself. Dropped, it is not asked any more.
pub(super) struct Watch {
    serves: Arc<AtomicBool>,
    _end: oneshot::Sender<()>,
}

impl Watch {
    /// Begins over `sender`, until the connection is `lost`, and waits for the first word, or for what there is in its
    /// place; none if the connection is lost before. Each change is told to those who wait for `changed`. It is one of `tasks`.
    pub(super) async fn begin(
        subject: Subject,
        sender: SendRequest<Body>,
        lost: oneshot::Receiver<()>,
        changed: Arc<Notify>,
        tasks: &Tasks,
    ) -> Option<Self> {
        let (serves, (end, unwanted)) = (Arc::new(AtomicBool::new(false)), oneshot::channel::<()>());
        let (tell, first) = oneshot::channel();
        let changes = (Instant::now(), 0);
        let watcher =
            Watcher { subject, sender, serves: serves.clone(), first: Some(tell), changed, changes };
        tasks.spawn(async move {
            tokio::select! {
                biased;
                _ = unwanted => {}
                _ = lost => {}
                () = watcher.run() => {}
            }
        });
        first.await.ok()?;
        Some(Self { serves, _end: end })
    }

    /// Whether it serves.
    pub(super) fn serves(&self) -> bool {
        self.serves.load(Ordering::Relaxed)
    }
}

/// Asks, and asks again.
struct Watcher {
    subject: Subject,
    sender: SendRequest<Body>,
    serves: Arc<AtomicBool>,
    /// Tells that there is a first word; none when it was told.
    first: Option<oneshot::Sender<()>>,
    changed: Arc<Notify>,
    /// How often it has changed, and since when that is counted.
    changes: (Instant, u32),
}

impl Watcher {
    async fn run(mut self) {
        let mut failures = 0_u32;
        loop {
            let began = Instant::now();
            let (is_heard, end) = self.listen().await;
            if end.code() == Code::Unimplemented {
                return self.is_taken_to_serve();
            }
            let is_lasting = is_heard && began.elapsed() >= LASTED;
            failures = if is_lasting { 0 } else { failures.saturating_add(1) };
            let wait = if is_lasting { Duration::ZERO } else { backoff::wait(failures, chance()) };
            // Where the callee has said that it does not serve, the end of its stream is not worth another log line.
            let is_news = !is_heard || self.serves.load(Ordering::Relaxed);
            if is_news && !is_of_connection(&end) {
                self.tell_of(&end, wait);
            }
            self.set(false);
            sleep(wait).await;
        }
    }

    /// Takes what one stream says, until it ends: whether anything was heard, and the end.
    async fn listen(&mut self) -> (bool, Status) {
        let first = timeout(self.subject.patience, async {
            let mut words = self.ask().await?;
            let word = words.message().await?;
            Ok((words, word))
        });
        let late = || Err(Status::deadline_exceeded("the peer does not say whether it serves"));
        let (mut words, mut next) = match first.await.unwrap_or_else(|_| late()) {
            Ok(first) => first,
            Err(status) => return (false, status),
        };
        let mut is_heard = false;
        loop {
            let word = match next {
                Some(word) => HealthCheckResponse::decode(word),
                None => return (is_heard, Status::ok("the peer says no more")),
            };
            match word {
                Ok(word) => self.hears(word.status()),
                Err(error) => return (is_heard, Status::internal(error.to_string())),
            }
            is_heard = true;
            next = match self.next(&mut words).await {
                Ok(next) => next,
                Err(status) => return (is_heard, status),
            };
        }
    }

    /// The next word, and where there are too many, the last of a second.
    async fn next(&self, words: &mut Streaming<Bytes>) -> Result<Option<Bytes>, Status> {
        let (since, count) = self.changes;
        if count < CHANGES_MAX {
            return words.message().await;
        }
        let mut last = None;
        while let Ok(next) = timeout_at(since + IN, words.message()).await {
            match next {
                Ok(Some(word)) => last = Some(word),
                end => return end,
            }
        }
        if last.is_some() { Ok(last) } else { words.message().await }
    }

    async fn ask(&self) -> Result<Streaming<Bytes>, Status> {
        let sender = self.sender.clone();
        let wire = tower::service_fn(move |request: http::Request<Body>| {
            let sent = sender.clone().send_request(request);
            async move {
                let mut response = sent.await?;
                without_broken_details(response.headers_mut());
                Ok::<_, hyper::Error>(response.map(|body| body.map_frame(checked)))
            }
        });
        let origin = Uri::builder().scheme(Scheme::HTTP).authority(self.subject.authority.clone());
        let origin = origin.path_and_query("/").build().expect("scheme, authority and path make a URI");
        let mut grpc =
            tonic::client::Grpc::with_origin(wire, origin).max_decoding_message_size(WORD_BYTES_MAX);
        let asked = HealthCheckRequest { service: self.subject.name.to_owned() };
        let asked = stream::iter([Message::Encoded(asked.encode_to_vec().into())]);
        let path = PathAndQuery::from_static(health::Watch::PATH);
        Ok(grpc.streaming(tonic::Request::new(asked), path, Raw).await?.into_inner())
    }

    fn hears(&mut self, status: ServingStatus) {
        let Subject { service, address, .. } = &self.subject;
        let (serves, served) = (status == ServingStatus::Serving, self.serves.load(Ordering::Relaxed));
        match self.first.is_some() {
            // A callee that serves from the start is the normal case, and not logged.
            false if serves && !served => info!(peer = service, %address, "serving again, as it says"),
            is_first if !serves && (is_first || served) => {
                warn!(peer = service, %address, status = status.name(), "not serving, as it says");
            }
            _ => {}
        }
        self.set(serves);
        let (since, count) = &mut self.changes;
        if since.elapsed() >= IN {
            (*since, *count) = (Instant::now(), 0);
        }
        *count += u32::from(serves != served);
    }

    /// The callee does not know of health, and is asked no more.
    fn is_taken_to_serve(&mut self) {
        let Subject { service, address, .. } = &self.subject;
        info!(peer = service, %address, "it does not tell whether it serves: taken to do so");
        self.set(true);
    }

    /// Tells how the stream has ended, and when the callee is asked again.
    fn tell_of(&self, end: &Status, wait: Duration) {
        let Subject { service, address, .. } = &self.subject;
        let (code, error) = (code_name(end.code()), told(end.message()));
        let asked_again_in_ms = wait.as_secs_f64() * 1e3;
        warn!(peer = service, %address, code, %error, asked_again_in_ms, "taken not to serve: it does not say so");
    }

    fn set(&mut self, serves: bool) {
        let is_change = self.serves.swap(serves, Ordering::Relaxed) != serves;
        let first = self.first.take();
        if is_change || first.is_some() {
            self.changed.notify_waiters();
        }
        // Nobody waits for it any more if connecting took too long.
        first.map(|first| first.send(()));
    }
}

/// Whether the stream has ended because its connection has, which has a line of its own. Of what goes wrong in HTTP/2,
/// only a reset is of one stream.
fn is_of_connection(end: &Status) -> bool {
    let mut cause = end.source();
    while let Some(error) = cause {
        if let Some(error) = error.downcast_ref::<h2::Error>() {
            return !error.is_reset();
        }
        if error.downcast_ref::<hyper::Error>().is_some_and(|error| error.is_closed() || error.is_canceled())
        {
            return true;
        }
        cause = error.source();
    }
    false
}
