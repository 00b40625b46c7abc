//! Tells which connections a node makes, and which it cannot.

use std::io;
use std::sync::Arc;

use futures_util::future::BoxFuture;
use transport::{Address, Io, Net};

use crate::facts::{ConnectFailed, Connected};

/// The simulated network, each of whose connections is told.
#[derive(Debug)]
pub(crate) struct ToldNet(pub(crate) Arc<dyn Net>);

impl Net for ToldNet {
    fn connect<'a>(&'a self, address: &'a Address) -> BoxFuture<'a, io::Result<Io>> {
        Box::pin(async move {
            let outcome = self.0.connect(address).await;
            let address = address.clone();
            match &outcome {
                Ok(_) => sim::tell(Connected { address }, None),
                Err(error) => sim::tell(ConnectFailed { address, why: error.kind() }, None),
            }
            outcome
        })
    }
}
