//! A toy of two services on the real stack: REST client -> HTTP/1.1 -> HTTP/2 -> actix actor.
#![allow(
    dead_code,
    clippy::unwrap_used,
    clippy::let_underscore_must_use,
    clippy::disallowed_methods,
    missing_docs,
    reason = "a toy that is read by nobody but the tests, each of which uses its part"
)]

use std::cell::RefCell;
use std::pin::Pin;
use std::rc::Rc;
use std::task::{Context as TaskContext, Poll};
use std::time::Duration;

use actix::{Actor, Context, Handler, Message};
use bytes::Bytes;
use http_body_util::{BodyExt, Full};
use hyper::client::conn::{http1, http2};
use hyper_util::rt::TokioIo;
use sim::{Address, CallFault, HostContext, HostResult, Reply, Request};

const PORT: u16 = 80;
const KEEP_ALIVE: Duration = Duration::from_millis(300);

/// Runs local futures for hyper.
#[derive(Debug, Clone, Copy)]
struct Local;

impl<F: Future<Output = ()> + 'static> hyper::rt::Executor<F> for Local {
    fn execute(&self, future: F) {
        tokio::task::spawn_local(future);
    }
}

#[derive(Debug, Clone)]
struct Clock;
impl hyper::rt::Timer for Clock {
    fn sleep(&self, duration: Duration) -> Pin<Box<dyn hyper::rt::Sleep>> {
        Box::pin(Sleep(Box::pin(tokio::time::sleep(duration))))
    }
    fn sleep_until(&self, deadline: std::time::Instant) -> Pin<Box<dyn hyper::rt::Sleep>> {
        Box::pin(Sleep(Box::pin(tokio::time::sleep_until(deadline.into()))))
    }
    fn now(&self) -> std::time::Instant {
        tokio::time::Instant::now().into_std()
    }
}
struct Sleep(Pin<Box<tokio::time::Sleep>>);
impl Future for Sleep {
    type Output = ();
    fn poll(mut self: Pin<&mut Self>, context: &mut TaskContext<'_>) -> Poll<()> {
        self.0.as_mut().poll(context)
    }
}
impl hyper::rt::Sleep for Sleep {}

struct Shout(String);
impl Message for Shout {
    type Result = String;
}

struct Shouter;
impl Actor for Shouter {
    type Context = Context<Self>;
}
impl Handler<Shout> for Shouter {
    type Result = String;
    fn handle(&mut self, message: Shout, _: &mut Context<Self>) -> String {
        message.0.to_uppercase()
    }
}

/// The back end: HTTP/2 in front of an actor.
pub(crate) async fn service1(host: HostContext) -> HostResult {
    let listener = host.listen(PORT).await?;
    let shouter = Shouter.start();
    let mixes_up = host.planted() == Some("wrong-reply");
    let last = Rc::new(RefCell::new(String::new()));
    loop {
        let (io, _) = tokio::select! {
            biased;
            accepted = listener.accept() => accepted?,
            () = host.drain() => break,
        };
        let (shouter, last) = (shouter.clone(), Rc::clone(&last));
        let service = hyper::service::service_fn(move |request: http::Request<hyper::body::Incoming>| {
            let (shouter, last) = (shouter.clone(), Rc::clone(&last));
            async move {
                let id = request.headers()["x-request-id"].clone();
                match sim::call_fault() {
                    Some(CallFault::Slow(delay)) => tokio::time::sleep(delay).await,
                    Some(CallFault::Panic) => sim::planned_panic(),
                    Some(CallFault::Full) => return Ok(status(429)),
                    None => {}
                }
                let body = request.into_body().collect().await?.to_bytes();
                let text = String::from_utf8_lossy(&body).into_owned();
                let answer = shouter.send(Shout(text)).await.unwrap();
                sim::turn().await;
                let wall = std::time::SystemTime::now();
                tracing::info!(request_id = id.to_str().unwrap(), ?wall, keys = ?hash_order(), "shouted");
                let previous = last.replace(answer.clone());
                let answer = if mixes_up && !previous.is_empty() { previous } else { answer };
                Ok::<_, hyper::Error>(http::Response::new(Full::new(Bytes::from(answer))))
            }
        });
        let served = hyper::server::conn::http2::Builder::new(Local)
            .timer(Clock)
            .serve_connection(TokioIo::new(io), service);
        tokio::task::spawn_local(async move {
            let _ = served.await;
        });
    }
    tokio::time::sleep(Duration::from_millis(20)).await;
    Ok(())
}

fn hash_order() -> Vec<u32> {
    let map: std::collections::HashMap<u32, ()> = (0..4).map(|number| (number, ())).collect();
    map.into_keys().collect()
}

fn status(code: u16) -> http::Response<Full<Bytes>> {
    let mut response = http::Response::new(Full::default());
    *response.status_mut() = http::StatusCode::from_u16(code).unwrap();
    response
}

type Connection = http2::SendRequest<Full<Bytes>>;

#[derive(Clone)]
struct Upstream {
    host: HostContext,
    connection: Rc<RefCell<Option<Connection>>>,
}

impl Upstream {
    async fn connection(&self) -> std::io::Result<Connection> {
        if let Some(connection) =
            self.connection.borrow().as_ref().filter(|connection| !connection.is_closed())
        {
            return Ok(connection.clone());
        }
        let address = Address::Tcp { host: "service1".to_owned(), port: PORT };
        let io = self.host.net().connect(&address).await?;
        let (connection, driver) = http2::Builder::new(Local)
            .timer(Clock)
            .keep_alive_interval(KEEP_ALIVE)
            .keep_alive_timeout(KEEP_ALIVE)
            .keep_alive_while_idle(true)
            .handshake(TokioIo::new(io))
            .await
            .map_err(std::io::Error::other)?;
        tokio::task::spawn_local(async move {
            let _ = driver.await;
        });
        self.connection.replace(Some(connection.clone()));
        Ok(connection)
    }

    async fn call(&self, id: String, body: Bytes) -> std::io::Result<(u16, Bytes)> {
        let mut connection = self.connection().await?;
        let request = http::Request::post("http://service1/shout").header("x-request-id", id);
        let request = request.body(Full::new(body)).map_err(std::io::Error::other)?;
        let response = connection.send_request(request).await.map_err(std::io::Error::other)?;
        let status = response.status().as_u16();
        let body = response.into_body().collect().await.map_err(std::io::Error::other)?;
        Ok((status, body.to_bytes()))
    }
}

async fn shout(
    request: http::Request<hyper::body::Incoming>,
    upstream: Upstream,
) -> hyper::Result<http::Response<Full<Bytes>>> {
    let header =
        |name: &str| request.headers().get(name).and_then(|value| value.to_str().ok()).unwrap_or_default();
    let id = header("x-request-id").to_owned();
    let deadline = Duration::from_millis(header("x-deadline-ms").parse().unwrap_or(1000));
    tracing::info!(request_id = %id, "asked to shout");
    let body = request.into_body().collect().await?.to_bytes();
    let answer = tokio::time::timeout(deadline, upstream.call(id.clone(), body)).await;
    let mut response = status(match &answer {
        Ok(Ok((200, _))) => 200,
        Ok(Ok(_) | Err(_)) => 503,
        Err(_) => 504,
    });
    *response.body_mut() =
        Full::new(answer.ok().and_then(Result::ok).map(|(_, body)| body).unwrap_or_default());
    response.headers_mut().insert("x-request-id", id.parse().unwrap());
    response.headers_mut().insert("date", http::HeaderValue::from_static("today"));
    Ok(response)
}

/// The front end: HTTP/1.1 over a simulated socket.
pub(crate) async fn service2(host: HostContext) -> HostResult {
    let listener = host.listen(PORT).await?;
    if host.planted() == Some("starts-a-thread") {
        let _ = tokio::task::spawn_blocking(|| ()).await;
    }
    let upstream = Upstream { host: host.clone(), connection: Rc::default() };
    loop {
        let (io, _) = tokio::select! {
            biased;
            accepted = listener.accept() => accepted?,
            () = host.drain() => break,
        };
        let upstream = upstream.clone();
        let service = hyper::service::service_fn(move |request| shout(request, upstream.clone()));
        let served = hyper::server::conn::http1::Builder::new().serve_connection(TokioIo::new(io), service);
        tokio::task::spawn_local(async move {
            let _ = served.await;
        });
    }
    tokio::time::sleep(Duration::from_millis(20)).await;
    Ok(())
}

/// Calls service2 as a REST client would: one connection, kept as long as it works.
pub(crate) fn rest_client(
    host: HostContext,
) -> impl Fn(Request) -> Pin<Box<dyn Future<Output = Reply>>> + 'static {
    let idle: Rc<RefCell<Vec<http1::SendRequest<Full<Bytes>>>>> = Rc::default();
    move |request| {
        let (host, idle) = (host.clone(), Rc::clone(&idle));
        Box::pin(async move {
            let deadline = request.deadline;
            match tokio::time::timeout(deadline, one_call(host, idle, request)).await {
                Ok(Ok(reply)) => reply,
                Ok(Err(error)) => Reply::failed("503", error.to_string()),
                Err(_) => Reply::failed("504", "timed out"),
            }
        })
    }
}

async fn one_call(
    host: HostContext,
    idle: Rc<RefCell<Vec<http1::SendRequest<Full<Bytes>>>>>,
    request: Request,
) -> Result<Reply, Box<dyn std::error::Error>> {
    let kept = idle.borrow_mut().pop().filter(|connection| !connection.is_closed());
    let mut connection = match kept {
        Some(connection) => connection,
        None => {
            let address = Address::Tcp { host: "service2".to_owned(), port: PORT };
            let io = host.net().connect(&address).await?;
            let (connection, driver) = http1::handshake(TokioIo::new(io)).await?;
            tokio::task::spawn_local(async move {
                let _ = driver.await;
            });
            connection
        }
    };
    let call = http::Request::post("/shout")
        .header("host", "service2")
        .header("x-request-id", request.request_id())
        .header("x-deadline-ms", request.deadline.as_millis().to_string())
        .body(Full::new(Bytes::from(request.argument)))?;
    let response = connection.send_request(call).await?;
    let status = response.status();
    let id = response.headers().get("x-request-id").and_then(|id| id.to_str().ok()).map(str::to_owned);
    let body = response.into_body().collect().await?.to_bytes();
    if connection.ready().await.is_ok() {
        idle.borrow_mut().push(connection);
    }
    let body = String::from_utf8_lossy(&body).into_owned();
    let reply = if status.is_success() { Reply::ok(body) } else { Reply::failed(status.as_str(), body) };
    Ok(reply.with_request_id(id))
}
