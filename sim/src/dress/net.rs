//! The network as the clients of a dress rehearsal see it: hosts have names, and behind each is a proxy.

use std::collections::BTreeMap;
use std::io;
use std::net::SocketAddr;

use futures_util::future::BoxFuture;
use net::{Address, Io, Net};
use tokio::net::TcpStream;

/// Leads from the clients to processes.
#[derive(Debug)]
pub(super) struct ToProcesses(pub(super) BTreeMap<(String, u16), SocketAddr>);

impl Net for ToProcesses {
    fn connect<'a>(&'a self, address: &'a Address) -> BoxFuture<'a, io::Result<Io>> {
        Box::pin(async move {
            let Address::Tcp { host, port } = address else {
                let reason = "processes are called over TCP here";
                return Err(io::Error::new(io::ErrorKind::Unsupported, reason));
            };
            let place = self.0.get(&(host.clone(), *port)).ok_or(io::ErrorKind::AddrNotAvailable)?;
            let stream = TcpStream::connect(place).await?;
            stream.set_nodelay(true)?;
            Ok(Box::new(stream) as Io)
        })
    }
}
