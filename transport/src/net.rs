//! The one seam between gRPC and the network, with the sockets of this machine, and who calls over them.

use std::fmt;
use std::io;
use std::net::{SocketAddr, SocketAddrV4};
use std::time::Duration;

use futures_util::future::BoxFuture;
use socket2::SockRef;
use tokio::net::{TcpStream, UnixStream, lookup_host};

pub use ::net::{Address, AddressError, Io, Net, Stream};

/// The sockets of this machine.
#[derive(Debug, Clone, Copy, Default)]
pub struct Sockets {
    /// A TCP connection is dead if what was sent over it is not acknowledged for so long, which is found on Linux only
    /// (`TCP_USER_TIMEOUT`, gRFC A18); none for as long as the kernel takes, a quarter of an hour or so.
    pub dead_after: Option<Duration>,
}

impl Sockets {
    /// Lets the kernel give up `socket` when it is dead.
    ///
    /// # Errors
    ///
    /// If the kernel does not take the time.
    pub fn watch<'a, S>(self, socket: &'a S) -> io::Result<()>
    where
        SockRef<'a>: From<&'a S>,
    {
        #[cfg(target_os = "linux")]
        return SockRef::from(socket).set_tcp_user_timeout(self.dead_after);
        #[cfg(not(target_os = "linux"))]
        Ok(drop(SockRef::from(socket)))
    }
}

impl Net for Sockets {
    fn connect<'a>(&'a self, address: &'a Address) -> BoxFuture<'a, io::Result<Io>> {
        Box::pin(async move {
            match address {
                Address::Tcp { host, port } | Address::Dns { name: host, port } => {
                    let stream = TcpStream::connect((host.as_str(), *port)).await?;
                    stream.set_nodelay(true)?;
                    self.watch(&stream)?;
                    Ok(Box::new(stream) as Io)
                }
                Address::Unix(path) => Ok(Box::new(UnixStream::connect(path).await?) as Io),
            }
        })
    }

    fn resolve<'a>(&'a self, name: &'a str, port: u16) -> BoxFuture<'a, io::Result<Vec<SocketAddr>>> {
        Box::pin(async move { Ok(lookup_host((name, port)).await?.collect()) })
    }
}

/// Who is at the other end of an accepted connection.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum CallerAddress {
    /// A TCP client.
    Tcp(SocketAddr),
    /// A client of a Unix socket, which has no name.
    Unix,
    /// A service on the same worker.
    Memory,
}

impl fmt::Display for CallerAddress {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Tcp(SocketAddr::V4(address)) => write_v4(*address, f),
            Self::Tcp(address) => address.fmt(f),
            Self::Unix => f.write_str("unix"),
            Self::Memory => f.write_str("memory"),
        }
    }
}

/// As the standard library writes it, in a tenth of the time: it is in the line of every call.
fn write_v4(address: SocketAddrV4, f: &mut fmt::Formatter<'_>) -> fmt::Result {
    let [a, b, c, d] = address.ip().octets().map(u16::from);
    let (mut text, mut start) = (*b"255.255.255.255:65535", 21);
    for (number, before) in
        [(address.port(), Some(b':')), (d, Some(b'.')), (c, Some(b'.')), (b, Some(b'.')), (a, None)]
    {
        let mut left = Some(number);
        while let Some(number) = left {
            start -= 1;
            text[start] = b'0' + (number % 10) as u8;
            left = Some(number / 10).filter(|left| *left > 0);
        }
        if let Some(before) = before {
            start -= 1;
            text[start] = before;
        }
    }
    f.write_str(str::from_utf8(&text[start..]).expect("digits and points are ASCII"))
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    #[cfg(target_os = "linux")]
    fn what_is_accepted_is_dead_as_soon_as_its_listener_says() {
        let dead_after = Some(Duration::from_secs(7));
        let listener = std::net::TcpListener::bind("127.0.0.1:0").expect("a port is free");
        Sockets { dead_after }.watch(&listener).expect("Linux has it");
        let address = listener.local_addr().expect("a listener has an address");
        let _near = std::net::TcpStream::connect(address).expect("somebody listens");
        let (far, _) = listener.accept().expect("somebody comes");
        assert_eq!(SockRef::from(&far).tcp_user_timeout().expect("Linux has it"), dead_after);
    }

    proptest! {
        #[test]
        fn a_caller_is_written_as_the_standard_library_writes_addresses(address in any::<SocketAddr>()) {
            prop_assert_eq!(CallerAddress::Tcp(address).to_string(), address.to_string());
        }
    }
}
