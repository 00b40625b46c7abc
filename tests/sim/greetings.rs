//! Greetings of plain names, for scenarios in which not all of them are to work.

use protos::app::grpc::SayHelloRequest;
use protos::app::grpc::service2::SayHello;
use rehearse::proptest::strategy::Strategy as _;
use rehearse::{Expect, Load, Via, matching};

/// Over REST and over gRPC, which come to what is `right`.
pub(crate) fn greetings(load: Load, right: Expect) -> Load {
    let requests = || matching("[a-z]{4,8}").prop_map(|name| SayHelloRequest { name });
    load.rpc::<SayHello>(Via::Rest, requests(), right.clone()).rpc::<SayHello>(Via::Grpc, requests(), right)
}
