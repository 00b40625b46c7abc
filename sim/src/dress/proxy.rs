//! A port of a process, as one of its callers sees it: it leads there over the link between the two, and refuses while
//! no process is there.

use std::cell::Cell;
use std::io;
use std::net::{Ipv4Addr, SocketAddr};
use std::rc::Rc;

use tokio::net::{TcpListener, TcpSocket, TcpStream};
use tokio::sync::Notify;

use super::links::{Links, Way, Wire};
use super::pipe::{carry, reset};

/// How many connections may wait to be accepted.
const BACKLOG: u32 = 1024;

/// One port of a callee, for one caller.
#[derive(Debug)]
pub(super) struct Proxy {
    pub(super) way: Way,
    pub(super) port: u16,
    pub(super) address: SocketAddr,
    /// Keeps the port ours while nobody listens: the machine then refuses connections, as where no process is.
    _reserved: TcpSocket,
    leads_to: Cell<Option<SocketAddr>>,
    changed: Notify,
}

impl Proxy {
    /// Takes a free port of this machine for `port` of the callee.
    pub(super) fn reserve(way: Way, port: u16) -> io::Result<Self> {
        let reserved = bound((Ipv4Addr::LOCALHOST, 0).into())?;
        let address = reserved.local_addr()?;
        let (leads_to, changed) = (Cell::new(None), Notify::new());
        Ok(Self { way, port, address, _reserved: reserved, leads_to, changed })
    }

    /// Where the process listens, or that none does.
    pub(super) fn lead_to(&self, address: Option<SocketAddr>) {
        self.leads_to.set(address);
        self.changed.notify_one();
    }

    /// Accepts connections, while they lead somewhere.
    pub(super) async fn serve(self: Rc<Self>, links: Rc<Links>) -> io::Result<()> {
        loop {
            if self.leads_to.get().is_none() {
                self.changed.notified().await;
                continue;
            }
            let listener = self.listen()?;
            while self.leads_to.get().is_some() {
                tokio::select! {
                    biased;
                    () = self.changed.notified() => {}
                    accepted = listener.accept() => self.begin(accepted, &links),
                }
            }
        }
    }

    fn listen(&self) -> io::Result<TcpListener> {
        bound(self.address)?.listen(BACKLOG)
    }

    fn begin(self: &Rc<Self>, accepted: io::Result<(TcpStream, SocketAddr)>, links: &Rc<Links>) {
        // A caller that has gone before it was accepted needs nothing.
        let Ok((caller, _)) = accepted else { return };
        let (proxy, links) = (Rc::clone(self), Rc::clone(links));
        tokio::task::spawn_local(async move {
            let wire = links.wire(proxy.way);
            links.touch(proxy.way);
            match proxy.connect(&wire, &links).await {
                Some(callee) if callee.set_nodelay(true).and(caller.set_nodelay(true)).is_ok() => {
                    carry(&wire, caller, callee, &links).await;
                }
                _ => reset(caller),
            }
        });
    }

    /// Connects to the process, when word of it has come there. A process that listens no more leaves a port that
    /// refuses the next connection.
    async fn connect(&self, wire: &Wire, links: &Links) -> Option<TcpStream> {
        tokio::time::sleep(links.latency(self.way)).await;
        links.pass(wire, self.way).await;
        let address = self.leads_to.get().filter(|_| wire.forgotten_by().is_none())?;
        let connected = TcpStream::connect(address).await.ok();
        if connected.is_none() && self.leads_to.get() == Some(address) {
            self.lead_to(None);
        }
        connected
    }
}

/// A socket of this address, which another one of ours may have, too.
fn bound(address: SocketAddr) -> io::Result<TcpSocket> {
    let socket = TcpSocket::new_v4()?;
    socket.set_reuseaddr(true)?;
    socket.set_reuseport(true)?;
    socket.bind(address)?;
    Ok(socket)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn a_port_that_leads_nowhere_refuses_and_stays_ours() {
        let proxy = Proxy::reserve(Way { from: 0, to: 1 }, 80).unwrap();
        let refused = TcpStream::connect(proxy.address).await.unwrap_err();
        assert_eq!(refused.kind(), io::ErrorKind::ConnectionRefused);
        for _ in 0..2 {
            let listener = proxy.listen().unwrap();
            let (connected, accepted) = tokio::join!(TcpStream::connect(proxy.address), listener.accept());
            assert!(connected.is_ok() && accepted.is_ok());
            drop(listener);
            let refused = TcpStream::connect(proxy.address).await.unwrap_err();
            assert_eq!(refused.kind(), io::ErrorKind::ConnectionRefused);
        }
    }
}
