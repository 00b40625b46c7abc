//! Same call, same answer, whatever carries it: value, status, message, details, metadata, limits.
//!
//! Each claim runs over memory, gRPC over TCP, gRPC over a Unix socket, and gRPC over the simulated network.

mod common;

use std::time::Duration;

use common::{Event, LIMITS, SOON, World, failure, grpc_client, on_every_carrier, run};
use futures_util::{StreamExt as _, TryStreamExt as _, stream};
use probe_contract::probe::{Act, Count, Probe};
use probe_contract::{ActRequest, ActResponse, CountRequest, Deed, SumRequest};
use tokio::time::{Instant, timeout};
use transport::status::NotSent;
use transport::{Code, Idempotency, Method, Status, Streaming, status};

fn told(deed: Deed) -> ActRequest {
    ActRequest { deed: deed.into(), ..Default::default() }
}

fn saying(text: impl Into<String>) -> ActRequest {
    ActRequest { text: text.into(), ..Default::default() }
}

fn within(limit: Duration, request: ActRequest) -> tonic::Request<ActRequest> {
    let mut request = tonic::Request::new(request);
    request.set_timeout(limit);
    request
}

async fn act_within(world: &World, limit: Duration, request: ActRequest) -> Result<ActResponse, Status> {
    let answer = world.client().exchange::<Act>(within(limit, request)).await;
    answer.map(tonic::Response::into_inner)
}

/// The text is part of the contract too: whoever reads it must not learn what carried the call.
#[track_caller]
fn assert_status(status: &Status, code: Code, message: &str) {
    assert_eq!((status.code(), status.message()), (code, message));
}

#[test]
fn an_answer_arrives_as_it_was_given() {
    on_every_carrier(async |world| {
        let numbers = vec![0, -1, i64::MIN, i64::MAX];
        let request = ActRequest {
            text: "h\u{e9}llo\0".into(),
            numbers: numbers.clone(),
            loud: true,
            ..Default::default()
        };
        // Often enough that memory proves its encoding too.
        for _ in 0..20 {
            let answer = world.probe.act(request.clone()).await.expect("an answer");
            assert_eq!(
                answer,
                ActResponse { text: "H\u{c9}LLO\0".into(), left_ms: 0, numbers: numbers.clone() }
            );
        }
    });
}

#[test]
fn an_error_arrives_with_message_details_and_metadata() {
    on_every_carrier(async |world| {
        let error = world.probe.act(told(Deed::Fail)).await.expect_err("told to fail");
        let expected = failure();
        assert_status(&error, expected.code(), expected.message());
        assert_eq!(error.details(), expected.details());
        assert_eq!(error.metadata().as_ref(), expected.metadata().as_ref());
    });
}

#[test]
fn metadata_go_both_ways_and_nothing_comes_along() {
    on_every_carrier(async |world| {
        let mut request = tonic::Request::new(told(Deed::Metadata));
        request.metadata_mut().insert("x-probe", "some text".parse().expect("a value"));
        let bytes = tonic::metadata::MetadataValue::from_bytes(&[0, 255, 7]);
        request.metadata_mut().insert_bin("x-probe-bin", bytes.clone());
        let answer = world.client().exchange::<Act>(request).await.expect("an answer");
        let (metadata, answer, _) = answer.into_parts();
        assert_eq!(answer.text, "x-probe x-probe-bin");
        assert_eq!(metadata.get("x-probe").expect("came back"), "some text");
        assert_eq!(metadata.get_bin("x-probe-bin").expect("came back"), &bytes);
        assert_eq!(metadata.keys().count(), 2, "{metadata:?}");
    });
}

#[test]
fn metadata_over_the_limit_are_refused() {
    on_every_carrier(async |world| {
        // A name of five bytes, and what HTTP/2 adds for each field.
        let largest = 8192 - 5 - 32;
        for (size, fits) in [(largest, true), (largest + 1, false), (9000, false), (40_000, false)] {
            let mut request = tonic::Request::new(told(Deed::Answer));
            request.metadata_mut().insert("x-big", "x".repeat(size).parse().expect("a value"));
            let answer = world.client().exchange::<Act>(request).await;
            assert_eq!(answer.is_ok(), fits, "{size}");
            let told = format!("the metadata have {} bytes, the limit is 8192", size + 37);
            answer.err().inspect(|error| assert_status(error, Code::ResourceExhausted, &told));
        }
        // Many small fields are more than their letters.
        let mut request = tonic::Request::new(told(Deed::Answer));
        for number in 0..210 {
            let name = format!("x-{number}").parse::<tonic::metadata::AsciiMetadataKey>().expect("a name");
            request.metadata_mut().insert(name, "value".parse().expect("a value"));
        }
        let error = world.client().exchange::<Act>(request).await.expect_err("too many");
        assert_eq!(error.code(), Code::ResourceExhausted);
    });
}

/// A method that the contract does not have.
struct Missing;

impl Method for Missing {
    type Request = ActRequest;
    type Response = ActResponse;
    type Contract = Probe;
    const PATH: &'static str = "/rehearsal.Probe/Missing";
    const IDEMPOTENCY: Idempotency = Idempotency::Unknown;
}

#[test]
fn an_unknown_method_is_unimplemented() {
    on_every_carrier(async |world| {
        let error = world.client().call::<Missing>(told(Deed::Answer)).await.expect_err("unknown");
        assert_status(&error, Code::Unimplemented, "unknown method /rehearsal.Probe/Missing");
    });
}

#[test]
fn a_message_may_be_as_large_as_the_limit_and_no_larger() {
    on_every_carrier(async |world| {
        // A field's key and length take four bytes here.
        let largest = "x".repeat(LIMITS.message_size - 4);
        let answer = world.probe.act(saying(largest.clone())).await.expect("an answer");
        assert_eq!(answer.text, largest);
        let error = world.probe.act(saying(largest + "x")).await.expect_err("too large");
        assert_status(&error, Code::ResourceExhausted, "the message is larger than the limit of 65536 bytes");
    });
}

#[test]
fn an_answer_over_the_limit_is_refused() {
    on_every_carrier(async |world| {
        // Lower case sharp s is two bytes, in capitals it is SS: two bytes too; U+0390 grows from two to six.
        let grows = ActRequest { text: "\u{390}".repeat(20_000), loud: true, ..Default::default() };
        let error = world.probe.act(grows).await.expect_err("too large");
        assert_status(&error, Code::ResourceExhausted, "the message is larger than the limit of 65536 bytes");
    });
}

#[test]
fn a_silent_handler_costs_the_deadline_and_no_more() {
    on_every_carrier(async |world| {
        let started = Instant::now();
        let limit = Duration::from_millis(100);
        let error = act_within(world, limit, told(Deed::Hang)).await.expect_err("silence");
        assert_eq!(error.code(), Code::DeadlineExceeded);
        assert_eq!(error.message(), "the deadline has passed");
        assert!(started.elapsed() >= limit && started.elapsed() < SOON, "{:?}", started.elapsed());
        assert_eq!(world.event().await, Event::Started);
        assert_eq!(world.event().await, Event::Dropped);
    });
}

#[test]
fn a_call_that_queues_past_its_deadline_is_never_handled() {
    on_every_carrier(async |world| {
        let probe = world.probe.clone();
        let busy = tokio::task::spawn_local(async move { probe.act(told(Deed::Occupy)).await });
        assert_eq!(world.event().await, Event::Started);
        let queued = act_within(world, Duration::from_millis(50), told(Deed::Hang)).await;
        assert_eq!(queued.expect_err("too late").code(), Code::DeadlineExceeded);
        // Answered without the actor, and sent after the queued call was taken back: that has been heard of.
        let unknown = world.client().call::<Missing>(told(Deed::Answer)).await;
        assert_eq!(unknown.expect_err("unknown").code(), Code::Unimplemented);
        world.free.notify_one();
        busy.await.expect("no panic").expect("an answer");
        // The actor is free again when this is answered, and has looked at what queued before it.
        world.probe.act(told(Deed::Answer)).await.expect("an answer");
        assert!(world.events.try_recv().is_err(), "the call was handled after its deadline");
    });
}

#[test]
fn the_next_hop_gets_what_is_left_of_the_deadline_and_the_request_id() {
    on_every_carrier(async |world| {
        let limit = Duration::from_millis(900);
        let answer = act_within(world, limit, told(Deed::Relay)).await.expect("an answer");
        assert!((1..=900).contains(&answer.left_ms), "{} ms were left", answer.left_ms);
        let (own, next) = answer.text.split_once(' ').expect("two ids");
        assert_eq!(own, next);
    });
}

#[test]
fn a_client_has_a_deadline_where_its_caller_has_none() {
    on_every_carrier(async |world| {
        let answer = world.probe.act(told(Deed::Report)).await.expect("an answer");
        let most = i64::try_from(SOON.as_millis()).expect("seconds");
        assert!((1..=most).contains(&answer.left_ms), "{} ms were left", answer.left_ms);
    });
}

#[test]
fn cancelling_a_call_reaches_its_handler() {
    on_every_carrier(async |world| {
        let probe = world.probe.clone();
        let call = tokio::task::spawn_local(async move { probe.act(told(Deed::Hang)).await });
        assert_eq!(world.event().await, Event::Started);
        call.abort();
        assert_eq!(world.event().await, Event::Dropped);
    });
}

#[test]
fn a_panic_is_internal_and_the_next_call_works() {
    on_every_carrier(async |world| {
        for deed in [Deed::Panic, Deed::Die] {
            let error = world.probe.act(told(deed)).await.expect_err("told to panic");
            assert_status(&error, Code::Internal, "the handler panicked");
            assert_eq!(world.probe.act(saying("alive")).await.expect("an answer").text, "alive");
        }
    });
}

#[test]
fn a_full_service_refuses_at_once_and_recovers() {
    on_every_carrier(async |world| {
        let hanging: Vec<_> = (0..LIMITS.calls)
            .map(|_| {
                let probe = world.probe.clone();
                tokio::task::spawn_local(async move { probe.act(told(Deed::Hang)).await })
            })
            .collect();
        for _ in &hanging {
            assert_eq!(world.event().await, Event::Started);
        }
        let error = world.probe.act(told(Deed::Answer)).await.expect_err("full");
        assert_status(&error, Code::ResourceExhausted, "probe has as many calls as it takes on");
        for call in &hanging {
            call.abort();
        }
        for _ in &hanging {
            assert_eq!(world.event().await, Event::Dropped);
        }
        world.probe.act(told(Deed::Answer)).await.expect("an answer");
    });
}

#[test]
fn a_stream_arrives_in_order_and_ends() {
    on_every_carrier(async |world| {
        let count = CountRequest { messages: 1000, ..Default::default() };
        let answer = world.probe.count(count).await.expect("a stream");
        let numbers: Vec<_> = answer.map_ok(|answer| answer.number).try_collect().await.expect("no error");
        assert_eq!(numbers, (1..=1000).collect::<Vec<_>>());
    });
}

#[test]
fn a_stream_that_fails_ends_with_its_error() {
    on_every_carrier(async |world| {
        for (then, expected) in
            [(Deed::Fail, failure()), (Deed::Panic, Status::internal("the handler panicked"))]
        {
            let count = CountRequest { messages: 2, then: then.into() };
            let items: Vec<_> = world.probe.count(count).await.expect("a stream").collect().await;
            assert_eq!(items.len(), 3);
            let error = items[2].as_ref().expect_err("the last item");
            assert_status(error, expected.code(), expected.message());
            assert_eq!(error.details(), expected.details());
        }
    });
}

#[test]
fn a_stream_ends_at_its_deadline() {
    on_every_carrier(async |world| {
        let mut request = tonic::Request::new(CountRequest { messages: 1, then: Deed::Hang.into() });
        request.set_timeout(Duration::from_millis(200));
        let answer = world.client().exchange::<Count>(request).await.expect("a stream").into_inner();
        let items: Vec<_> = timeout(SOON, answer.collect()).await.expect("it ends");
        assert_eq!(items.len(), 2);
        let error = items[1].as_ref().expect_err("the last item");
        assert_status(error, Code::DeadlineExceeded, "the deadline has passed");
        assert_eq!(world.event().await, Event::Started);
        assert_eq!(world.event().await, Event::Dropped);
    });
}

#[test]
fn dropping_a_stream_stops_the_one_who_fills_it() {
    on_every_carrier(async |world| {
        let count = CountRequest { messages: 1, then: Deed::Hang.into() };
        let mut answer = world.probe.count(count).await.expect("a stream");
        assert_eq!(answer.next().await.expect("an item").expect("a number").number, 1);
        let more = tokio::task::spawn_local(async move { answer.next().await.is_some() });
        assert_eq!(world.event().await, Event::Started);
        more.abort();
        assert_eq!(world.event().await, Event::Dropped);
    });
}

#[test]
fn a_streamed_request_is_summed() {
    on_every_carrier(async |world| {
        let numbers = Streaming::of((1..=100).map(|number| SumRequest { number }));
        assert_eq!(world.probe.sum(numbers).await.expect("a sum").sum, 5050);
    });
}

#[test]
fn streams_go_both_ways_at_once() {
    on_every_carrier(async |world| {
        let (send, receive) = tokio::sync::mpsc::channel::<u32>(1);
        let numbers = stream::unfold(receive, async |mut receive| {
            let number = receive.recv().await?;
            Some((Ok(SumRequest { number }), receive))
        });
        let mut mirror = world.probe.mirror(Streaming::new(numbers)).await.expect("a stream");
        for number in 1..=10 {
            send.send(number).await.expect("the call goes on");
            assert_eq!(mirror.next().await.expect("an item").expect("a number").number, number);
        }
        drop(send);
        assert!(mirror.next().await.is_none());
    });
}

#[test]
fn an_error_in_a_streamed_request_ends_the_call() {
    on_every_carrier(async |world| {
        let numbers = [Ok(SumRequest { number: 1 }), Err(Status::aborted("no more"))];
        let error = world.probe.sum(Streaming::new(stream::iter(numbers.clone()))).await;
        assert_status(&error.expect_err("it failed"), Code::Aborted, "no more");
        let gap = stream::iter(numbers).then(|item| async {
            tokio::task::yield_now().await;
            item
        });
        // The error may come before the answer has begun, or while it goes on.
        let outcome = timeout(SOON, async {
            world.probe.mirror(Streaming::new(gap)).await?.try_collect::<Vec<_>>().await
        });
        let error = outcome.await.expect("it ends").expect_err("it failed");
        assert_status(&error, Code::Aborted, "no more");
    });
}

#[test]
fn who_lets_a_call_go_before_all_of_its_request_is_sent_has_its_handler_stopped() {
    on_every_carrier(async |world| {
        for fails in [false, true] {
            let one = stream::once(async { Ok(SumRequest { number: 1 }) });
            let (fail, failed) = tokio::sync::oneshot::channel();
            let mut going_on = None;
            let rest =
                stream::once(async { failed.await.unwrap_or_else(|_| Err(Status::internal("dropped"))) });
            let mut mirror = world.probe.mirror(Streaming::new(one.chain(rest))).await.expect("a stream");
            assert_eq!(mirror.next().await.expect("an item").expect("a number").number, 1);
            if fails {
                fail.send(Err(Status::aborted("no more"))).expect("it is awaited");
                let error = mirror.next().await.expect("an item").expect_err("it failed");
                assert_status(&error, Code::Aborted, "no more");
            } else {
                drop(mirror);
                going_on = Some(fail);
            }
            assert_eq!(timeout(SOON, world.event()).await.expect("it is stopped"), Event::Dropped);
            drop(going_on);
        }
    });
}

#[test]
fn a_callee_that_is_not_there_is_unavailable_at_once() {
    run(async {
        let listener = std::net::TcpListener::bind("127.0.0.1:0").expect("a port is free");
        let address = listener.local_addr().expect("a listener has an address");
        drop(listener);
        let client = grpc_client(&format!("http://{address}"));
        let error = client.call::<Act>(told(Deed::Answer)).await.expect_err("nobody");
        assert_status(&error, Code::Unavailable, "probe cannot be reached");
        assert_eq!(status::proof_not_sent(&error), Some(NotSent::Unreachable));
    });
}
