//! What a contract may say arrives as it was sent: over gRPC, and over REST as the JSON that proto3 has for it.

mod common;

use actix::{Actor, Context, Handler};
use common::{LIMITS, SOON, grpc_over_memory, run};
use futures_util::{StreamExt as _, stream};
use probe_contract::forms::{Form, Move, Shade, form};
use probe_contract::r#loop::{self, A, Loop, Self_, Some as SomeOf};
use probe_contract::{Forms, Moment};
use serde_json::{Value, json};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _, duplex};
use transport::well_known::{Duration, Timestamp};
use transport::{
    Call, CallerAddress, Drain, Method, Reply, Router, Serve, Service, ServiceClient as _, Streaming, rest,
};

/// Answers with what it is asked.
struct LoopActor;

impl Actor for LoopActor {
    type Context = Context<Self>;
}

impl Serve for LoopActor {
    type Contract = Loop;
}

/// Each rpc answers with its request.
trait Same: Method<Request = <Self as Method>::Response> {}

impl Same for r#loop::Move {}
impl Same for SomeOf {}
impl Same for A {}
impl Same for Self_ {}

impl<M: Same> Handler<Call<M>> for LoopActor {
    type Result = Reply<M>;

    fn handle(&mut self, call: Call<M>, _: &mut Context<Self>) -> Self::Result {
        call.answer_now(Ok)
    }
}

fn router() -> Router {
    let mut router = Router::builder(LIMITS, Drain::new());
    router.add(&Service::on_each_worker(|()| LoopActor), &|name| unreachable!("it calls no {name}"));
    router.build()
}

/// What the REST edge answers to a request: its status, and its body as JSON.
async fn ask(verb: &str, target: &str, body: &str) -> (u16, Value) {
    let (drain, options) =
        (Drain::new(), rest::Options { deadline: SOON, headers: vec![], attempts_header: None });
    let server = rest::Server::new(router(), options, drain.clone()).await;
    let (mut near, far) = duplex(64 * 1024);
    let open = drain.work();
    tokio::task::spawn_local(async move {
        server.serve_connection(Box::new(far), CallerAddress::Unix, open).await;
    });
    let length = format!("content-length: {}\r\ncontent-type: application/json\r\n", body.len());
    let head = format!("{verb} {target} HTTP/1.1\r\nhost: loop\r\n{length}connection: close\r\n");
    near.write_all(format!("{head}\r\n{body}").as_bytes()).await.expect("the edge reads");
    let mut answer = String::new();
    near.read_to_string(&mut answer).await.expect("the edge answers and closes");
    let (head, body) = answer.split_once("\r\n\r\n").expect("an answer has a head");
    let status = head.split(' ').nth(1).expect("a status").parse().expect("a number");
    (status, serde_json::from_str(body).expect("a body of JSON"))
}

fn all_forms() -> Forms {
    let at = Timestamp { seconds: 1_700_000_000, nanos: 250_000_000 };
    let names = [("a".to_owned(), "b".to_owned())].into();
    Forms {
        r#type: "one".to_owned(),
        at: Some(at),
        span: Some(Duration { seconds: -1, nanos: -500_000_000 }),
        count: Some(i64::MAX),
        note: Some("said".to_owned()),
        bytes: Some(vec![1, 2, 3]),
        sure: Some(false),
        counts: vec![1, u64::MAX],
        sums: [("y".to_owned(), 2), ("x".to_owned(), -1)].into(),
        forms: [(7, Form { names, this: Some(form::This::Since(at)) })].into(),
        times: [("then".to_owned(), at)].into(),
        parts: [("half".to_owned(), 0.5)].into(),
        shades: [(true, Shade::Dark.into())].into(),
        blobs: [("b".to_owned(), vec![255])].into(),
        r#move: Some(Move::By(3)),
    }
}

/// The same in JSON.
fn all_json() -> Value {
    json!({
        "type": "one",
        "at": "2023-11-14T22:13:20.250Z",
        "span": "-1.500s",
        "count": "9223372036854775807",
        "note": "said",
        "bytes": "AQID",
        "sure": false,
        "counts": ["1", "18446744073709551615"],
        "sums": { "x": "-1", "y": "2" },
        "forms": { "7": { "names": { "a": "b" }, "since": "2023-11-14T22:13:20.250Z" } },
        "times": { "then": "2023-11-14T22:13:20.250Z" },
        "parts": { "half": 0.5 },
        "shades": { "true": "SHADE_DARK" },
        "blobs": { "b": "/w==" },
        "by": "3",
    })
}

#[test]
fn all_that_a_contract_may_say_comes_back_over_grpc() {
    run(async {
        let client = r#loop::Client::new(grpc_over_memory(router()));
        for r#move in [Move::By(3), Move::Later(Duration::default()), Move::To(Form::default())] {
            let asked = Forms { r#move: Some(r#move), ..all_forms() };
            assert_eq!(client.r#move(asked.clone()).await.expect("an answer"), asked);
            assert_eq!(client.some(asked.clone()).await.expect("an answer"), asked);
        }
        client.a(()).await.expect("an answer");
        let many = client.self_(Streaming::new(stream::iter([Ok(()), Ok(())]))).await.expect("an answer");
        assert_eq!(many.count().await, 2);
    });
}

#[test]
fn all_that_a_contract_may_say_comes_back_over_rest() {
    run(async {
        assert_eq!(ask("POST", "/forms/one", &all_json().to_string()).await, (200, all_json()));
    });
}

#[test]
fn fields_of_google_are_read_from_a_query_as_they_are_from_json() {
    run(async {
        let query = "at=2023-11-14T22:13:20.250Z&span=-1.500s&count=9223372036854775807&note=said&sure=false";
        let (status, answer) = ask("GET", &format!("/forms?{query}"), "").await;
        assert_eq!(status, 200, "{answer}");
        for field in ["at", "span", "count", "note", "sure"] {
            assert_eq!(answer[field], all_json()[field], "{field}");
        }
        let (status, answer) = ask("GET", "/forms?at=yesterday", "").await;
        assert_eq!(status, 400);
        assert!(answer["detail"].to_string().contains("expected a time as in"), "{answer}");
    });
}

#[test]
fn an_answer_may_be_a_field_that_is_a_message_of_google() {
    run(async {
        let answer = ask("GET", "/some?at=2023-11-14T22:13:20Z", "").await;
        assert_eq!(answer, (200, json!("2023-11-14T22:13:20Z")));
    });
}

#[test]
fn the_empty_message_is_an_empty_object() {
    run(async {
        assert_eq!(ask("GET", "/nothing", "").await, (200, json!({})));
        assert_eq!(ask("POST", "/nothing", "{}").await, (200, json!({})));
        assert_eq!(ask("POST", "/nothing", r#"{"not": {"known": 1}}"#).await, (200, json!({})));
        assert_eq!(ask("POST", "/nothing", "nothing").await.0, 400);
    });
}

#[test]
fn messages_with_maps_tell_what_they_hold() {
    let shown = format!("{:?}", all_forms());
    for expected in [r#"sums: {"x": -1, "y": 2}"#, r#"Form { names: {"a": "b"}"#, "seconds: 1700000000"] {
        assert!(shown.contains(expected), "{expected} is not in {shown}");
    }
    fn copied<T: Copy + std::fmt::Debug>(value: T) -> T {
        value
    }
    copied(Moment::default());
}
