//! A client that asks hosts for their health, as machines do that give them work: `GET /readyz` and `GET /healthz`.

use std::cell::RefCell;
use std::collections::BTreeMap;
use std::rc::Rc;

use bytes::Bytes;
use futures_util::future::{FutureExt as _, LocalBoxFuture};
use http_body_util::{BodyExt as _, Empty};
use hyper::client::conn::http1::SendRequest;
use sim::{HostContext, Reply, Request};

use super::headers::{add_to, id_of};
use super::http1::connected;
use super::words::{Unexpected, within};
use crate::rpc::Trouble;

/// The client's name in plans.
pub(crate) const HEALTH: &str = "health";

/// What a host is asked.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Health {
    /// Whether it may be given work.
    Ready,
    /// Whether it lives.
    Alive,
}

impl Health {
    fn name(self) -> &'static str {
        match self {
            Self::Ready => "readyz",
            Self::Alive => "healthz",
        }
    }
}

/// How plans name the checks of a host: it is asked more often whether it is ready, since that changes.
pub(crate) fn kinds_of(host: &str) -> Vec<String> {
    [Health::Ready, Health::Ready, Health::Ready, Health::Alive]
        .map(|asked| format!("{} {host}", asked.name()))
        .to_vec()
}

/// What `request` asks and of which host, if it is a health check.
pub(crate) fn asked(request: &Request) -> Option<(Health, &str)> {
    let (name, host) = request.kind.split_once(' ').filter(|_| request.client == HEALTH)?;
    let asked = [Health::Ready, Health::Alive].into_iter().find(|asked| asked.name() == name)?;
    Some((asked, host))
}

/// Asks hosts for their health from `host`, each over a connection that is kept.
pub(crate) fn connect(host: HostContext) -> impl Fn(Request) -> LocalBoxFuture<'static, Reply> + 'static {
    let client = Client { host, idle: Rc::default() };
    move |request| {
        let client = client.clone();
        async move { within(request.deadline, client.ask(&request)).await }.boxed_local()
    }
}

/// The connections that carry nothing now, by host.
type Idle = Rc<RefCell<BTreeMap<String, SendRequest<Empty<Bytes>>>>>;

#[derive(Clone)]
struct Client {
    host: HostContext,
    idle: Idle,
}

impl Client {
    async fn ask(&self, request: &Request) -> Result<Reply, Trouble> {
        let (asked, target) = asked(request).ok_or_else(|| Unexpected(request.kind.clone()))?;
        let kept = self.idle.borrow_mut().remove(target);
        let mut connection = connected(&self.host, target, kept).await?;
        let head = http::Request::builder().uri(format!("/{}", asked.name())).header("host", target);
        let mut head = head.body(Empty::new())?;
        add_to(&mut head, request)?;
        let (head, body) = connection.send_request(head).await?.into_parts();
        let body = String::from_utf8_lossy(&body.collect().await?.to_bytes()).into_owned();
        if connection.ready().await.is_ok() {
            self.idle.borrow_mut().insert(target.to_owned(), connection);
        }
        let reply = if head.status == http::StatusCode::OK {
            Reply::ok(body)
        } else {
            Reply::failed(head.status.as_u16().to_string(), body)
        };
        Ok(reply.with_request_id(id_of(&head.headers)))
    }
}
