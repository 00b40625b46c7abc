//! A gRPC client of bare HTTP/2 frames (gRPC over HTTP/2, protocol description): nothing of tonic, and nothing of
//! the node, so that what both sides get wrong in the same way cannot pass for right.

use std::cell::RefCell;
use std::collections::{BTreeMap, VecDeque};
use std::pin::pin;
use std::rc::Rc;
use std::sync::Arc;
use std::time::Duration;

use bytes::{Buf as _, Bytes, BytesMut};
use futures_util::future::{Either, FutureExt as _, LocalBoxFuture, select};
use h2::client::SendRequest;
use h2::{RecvStream, SendStream};
use http::{HeaderMap, Method, Version};
use percent_encoding::percent_decode_str;
use sim::{HostContext, Reply, Request};
use tokio::sync::Mutex;
use tokio::time::{sleep, timeout};
use transport::{Address, Code};

use super::codes::name_of;
use super::headers::{add_to, id_of_both, metadata_of, name_plainly};
use super::ports::GRPC_PORT;
use super::words::{GAVE_UP, Unexpected, failed, judged, within};
use crate::facts::StreamMessage;
use crate::framing::{PREFIX_BYTES, framed};
use crate::load::{Kind, Reads};
use crate::rpc::Trouble;
use crate::setting::Setting;

/// The connection to a host, while there is one.
type Connection = Rc<Mutex<Option<SendRequest<Bytes>>>>;

/// Makes calls over gRPC from `host`, with one connection to each host that it calls.
pub(crate) fn connect(
    host: HostContext,
    setting: Arc<Setting>,
) -> impl Fn(Request) -> LocalBoxFuture<'static, Reply> + 'static {
    let client = Client { host, setting, connections: Rc::default() };
    move |request| {
        let client = client.clone();
        async move {
            let reply = client.call(&request).await;
            judged(reply, client.setting.kind(&request), &request)
        }
        .boxed_local()
    }
}

#[derive(Clone)]
struct Client {
    host: HostContext,
    setting: Arc<Setting>,
    connections: Rc<RefCell<BTreeMap<String, Connection>>>,
}

impl Client {
    async fn call(&self, request: &Request) -> Reply {
        match self.setting.kind(request) {
            Some(kind) if kind.is_watched => self.watch(kind, request).await,
            Some(kind) => within(request.deadline, self.unary(kind, request)).await,
            None => failed(&Unexpected(format!("no call {}", request.kind))),
        }
    }

    async fn unary(&self, kind: &Kind, request: &Request) -> Result<Reply, Trouble> {
        let Sent { response, rest } = self.sent(kind, request).await?;
        let answer = async {
            let (head, mut body) = response.await?.into_parts();
            let mut messages = Messages::default();
            while let Some(data) = body.data().await {
                messages.take(&mut body, &data?)?;
            }
            Ok::<_, Trouble>((head, body, messages))
        };
        let (head, mut body, mut messages) = beside(rest.sent(kind.pause), answer).await?;
        let end = End { head: head.headers, trailers: body.trailers().await?.unwrap_or_default() };
        let reply = match end.code()? {
            Code::Ok => {
                let message = messages.next().ok_or_else(|| Unexpected("OK without a message".to_owned()))?;
                Reply::ok(kind.rpc.answer(&message)?)
            }
            code => end.failed(code)?,
        };
        Ok(end.around(reply))
    }

    /// Reads a stream until it ends or its deadline comes; the reply has its last message.
    async fn watch(&self, kind: &Kind, request: &Request) -> Reply {
        let seen = RefCell::new(Seen::default());
        let ended = match timeout(request.deadline, self.stream(kind, request, &seen)).await {
            Ok(Ok(end)) => Some(end),
            Ok(Err(error)) => return failed(&*error),
            Err(_) => None,
        };
        let seen = seen.into_inner();
        let Some(head) = seen.head else {
            return ended
                .map_or_else(|| Reply::failed(GAVE_UP, "the client's own deadline"), |(_, reply)| reply);
        };
        match ended {
            Some((code, reply)) if ![Code::Ok, Code::DeadlineExceeded].contains(&code) => reply,
            _ => {
                let id = id_of_both(|name| field(&head, name).map(str::to_owned));
                Reply::ok(seen.last).with_request_id(id)
            }
        }
    }

    /// How the stream ended by the server's word.
    async fn stream(
        &self,
        kind: &Kind,
        request: &Request,
        seen: &RefCell<Seen>,
    ) -> Result<(Code, Reply), Trouble> {
        let Sent { response, rest } = self.sent(kind, request).await?;
        beside(rest.sent(kind.pause), self.read(kind, request, response, seen)).await
    }

    async fn read(
        &self,
        kind: &Kind,
        request: &Request,
        response: h2::client::ResponseFuture,
        seen: &RefCell<Seen>,
    ) -> Result<(Code, Reply), Trouble> {
        let (head, mut body) = response.await?.into_parts();
        if !head.headers.contains_key("grpc-status") {
            seen.borrow_mut().head = Some(head.headers.clone());
        }
        let mut messages = Messages::default();
        while let Some(data) = kind.reads.next(&mut body).await {
            messages.take(&mut body, &data?)?;
            while let Some(message) = messages.next() {
                let json = kind.rpc.answer(&message)?;
                sim::tell(StreamMessage { path: kind.path, json: json.clone() }, Some(&request.request_id()));
                seen.borrow_mut().last = json;
            }
        }
        let end = End { head: head.headers, trailers: body.trailers().await?.unwrap_or_default() };
        let code = end.code()?;
        let reply = if code == Code::Ok { Reply::ok("") } else { end.failed(code)? };
        Ok((code, end.around(reply)))
    }

    /// Sends the request of a call: all of it, or the first message of a stream.
    async fn sent(&self, kind: &Kind, request: &Request) -> Result<Sent, Trouble> {
        let messages = kind.rpc.messages(&request.argument, request.request_id())?;
        let target = self.setting.graph.entry(kind.service, request.id).ok_or("nobody hosts it")?;
        let mut head = http::Request::builder()
            .method(Method::POST)
            .version(Version::HTTP_2)
            .uri(format!("http://{target}{}", kind.path))
            .header("content-type", "application/grpc")
            .header("te", "trailers")
            .body(())?;
        if self.setting.says_timeouts {
            head.headers_mut().insert("grpc-timeout", timeout_of(request).try_into()?);
        }
        add_to(&mut head, request)?;
        name_plainly(&mut head, request);
        let mut frames =
            messages.iter().map(|message| framed(message)).collect::<Result<VecDeque<_>, _>>()?;
        let (response, mut body) = self.connected(target).await?.send_request(head, false)?;
        let first = frames.pop_front().unwrap_or_default();
        body.send_data(first, frames.is_empty())?;
        Ok(Sent { response, rest: Rest { frames, body } })
    }

    /// The connection, made anew if there is none that takes calls.
    async fn connected(&self, target: &str) -> Result<SendRequest<Bytes>, Trouble> {
        let connection = self.connections.borrow_mut().entry(target.to_owned()).or_default().clone();
        let mut connection = connection.lock().await;
        if let Some(kept) = connection.take()
            && let Ok(ready) = kept.ready().await
        {
            return Ok(connection.insert(ready).clone());
        }
        let address = Address::Tcp { host: target.to_owned(), port: GRPC_PORT };
        let (made, driver) = h2::client::handshake(self.host.net().connect(&address).await?).await?;
        // Why a connection ended is told to each call that was on it.
        tokio::task::spawn_local(async move { driver.await.is_ok() });
        Ok(connection.insert(made).clone())
    }
}

/// A call that is on its way.
struct Sent {
    response: h2::client::ResponseFuture,
    rest: Rest,
}

/// What is still to be sent of it.
struct Rest {
    frames: VecDeque<Bytes>,
    body: SendStream<Bytes>,
}

impl Rest {
    /// Sends it, with a pause before each message. A server that wants no more has said so in its answer.
    async fn sent(mut self, pause: Duration) {
        while let Some(frame) = self.frames.pop_front() {
            sleep(pause).await;
            if self.body.send_data(frame, self.frames.is_empty()).is_err() {
                return;
            }
        }
    }
}

/// What `answer` comes to, while the rest of its request is sent, for as long as there is any.
async fn beside<T>(rest: impl Future<Output = ()>, answer: impl Future<Output = T>) -> T {
    let (rest, answer) = (pin!(rest), pin!(answer));
    match select(answer, rest).await {
        Either::Left((answered, _)) => answered,
        Either::Right(((), answer)) => answer.await,
    }
}

impl Reads {
    /// The next piece of an answer, when it is read.
    async fn next(self, body: &mut RecvStream) -> Option<Result<Bytes, h2::Error>> {
        match self {
            Self::AsItComes => {}
            Self::Nothing => std::future::pending().await,
            Self::Slowly(pause) => sleep(pause).await,
        }
        body.data().await
    }
}

/// What a watcher has of a stream so far.
#[derive(Default)]
struct Seen {
    /// The head of the answer, once the stream is open.
    head: Option<HeaderMap>,
    last: String,
}

/// The messages of an answer, taken from its data as it comes.
#[derive(Default)]
struct Messages(BytesMut);

impl Messages {
    fn take(&mut self, body: &mut RecvStream, data: &[u8]) -> Result<(), Trouble> {
        body.flow_control().release_capacity(data.len())?;
        self.0.extend_from_slice(data);
        Ok(())
    }

    fn next(&mut self) -> Option<BytesMut> {
        let length = self.0.get(1..PREFIX_BYTES)?.get_u32() as usize;
        if self.0.len() < PREFIX_BYTES + length {
            return None;
        }
        self.0.advance(PREFIX_BYTES);
        Some(self.0.split_to(length))
    }
}

/// What stands around the messages of an answer.
struct End {
    head: HeaderMap,
    trailers: HeaderMap,
}

impl End {
    fn code(&self) -> Result<Code, Trouble> {
        let status = self.field("grpc-status").ok_or_else(|| Unexpected("no grpc-status".to_owned()))?;
        Ok(Code::from_i32(status.parse().map_err(|_| Unexpected(format!("grpc-status {status}")))?))
    }

    fn failed(&self, code: Code) -> Result<Reply, Trouble> {
        let message = percent_decode_str(self.field("grpc-message").unwrap_or_default());
        let details = self.field("grpc-status-details-bin").unwrap_or_default();
        Ok(Reply::failed(name_of(code), message.decode_utf8()?).with_details(details))
    }

    /// The reply with what came along.
    fn around(&self, reply: Reply) -> Reply {
        let metadata = [&self.head, &self.trailers].map(metadata_of).concat();
        let id = id_of_both(|name| self.field(name).map(str::to_owned));
        reply.with_request_id(id).with_metadata(metadata)
    }

    /// A field of the trailers, or of the head, which has them all in an answer without a message.
    fn field(&self, name: &str) -> Option<&str> {
        field(&self.trailers, name).or_else(|| field(&self.head, name))
    }
}

/// The same time in one of the units that gRPC has: clients differ in which they take.
fn timeout_of(request: &Request) -> String {
    let deadline = request.deadline;
    match (deadline.as_micros(), deadline.as_millis()) {
        (_, ms) if ms % 1000 == 0 => format!("{}S", ms / 1000),
        // Eight digits at most.
        (us @ ..100_000_000, _) if request.id.is_multiple_of(2) => format!("{us}u"),
        (_, ms) => format!("{ms}m"),
    }
}

fn field<'a>(headers: &'a HeaderMap, name: &str) -> Option<&'a str> {
    headers.get(name)?.to_str().ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_message_is_taken_when_all_of_it_is_there() {
        let mut messages = Messages::default();
        let bytes = [framed(b"one").unwrap(), framed(b"").unwrap()].concat();
        messages.0.extend_from_slice(&bytes[..6]);
        assert_eq!(messages.next(), None);
        messages.0.extend_from_slice(&bytes[6..]);
        assert_eq!(messages.next().as_deref(), Some(&b"one"[..]));
        assert_eq!(messages.next().as_deref(), Some(&b""[..]));
        assert_eq!(messages.next(), None);
    }
}
