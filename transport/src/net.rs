//! The one seam between gRPC and the network.

use std::fmt;
use std::io;
use std::net::{SocketAddr, SocketAddrV4};
use std::path::PathBuf;
use std::str::FromStr;
use std::time::Duration;

use futures_util::future::BoxFuture;
use socket2::SockRef;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::{TcpStream, UnixStream, lookup_host};

/// One byte stream, whatever carries it.
pub trait Stream: AsyncRead + AsyncWrite + Unpin + Send {}

impl<T: AsyncRead + AsyncWrite + Unpin + Send> Stream for T {}

/// One byte stream, boxed.
pub type Io = Box<dyn Stream>;

/// How outgoing connections are made: over TCP and Unix sockets in production, over simulated ones in
/// rehearsal.
pub trait Net: fmt::Debug + Send + Sync + 'static {
    /// Connects to `address`, resolving its name first where it has one. It may wait for ever: whoever
    /// calls sets the bound.
    fn connect<'a>(&'a self, address: &'a Address) -> BoxFuture<'a, io::Result<Io>>;

    /// Where `name` leads at the moment, each with `port`. It may wait for ever, too. A network without names says so.
    fn resolve<'a>(&'a self, _name: &'a str, _port: u16) -> BoxFuture<'a, io::Result<Vec<SocketAddr>>> {
        Box::pin(async { Err(io::ErrorKind::Unsupported.into()) })
    }
}

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

/// Where a service listens: `http://HOST:PORT`, `dns:///NAME:PORT` or `unix:PATH`.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Address {
    /// A host, by name or number, and a port.
    Tcp {
        /// A name or an IP address, the latter without brackets.
        host: String,
        /// Never 0.
        port: u16,
    },
    /// All hosts that a name leads to (its A and AAAA records; SRV records are not asked for), and a port of each. Which
    /// these are may change at any time.
    Dns {
        /// The name.
        name: String,
        /// Never 0.
        port: u16,
    },
    /// A Unix socket.
    Unix(PathBuf),
}

/// Why a text is no [`Address`].
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum AddressError {
    /// Neither form.
    #[error("\"{0}\": expected http://HOST:PORT, dns:///NAME:PORT or unix:PATH")]
    Form(String),
    /// TLS was asked for.
    #[error("\"{0}\": TLS is not supported, expected http://HOST:PORT, dns:///NAME:PORT or unix:PATH")]
    Tls(String),
}

impl FromStr for Address {
    type Err = AddressError;

    fn from_str(text: &str) -> Result<Self, AddressError> {
        let form = || AddressError::Form(text.to_owned());
        if text.starts_with("https://") {
            return Err(AddressError::Tls(text.to_owned()));
        }
        if let Some(path) = text.strip_prefix("unix:") {
            return if path.is_empty() { Err(form()) } else { Ok(Self::Unix(path.into())) };
        }
        if let Some(target) = text.strip_prefix("dns:///") {
            let (name, port) = name_and_port(target).ok_or_else(form)?;
            return Ok(Self::Dns { name: name.to_owned(), port });
        }
        let authority = text.strip_prefix("http://").ok_or_else(form)?;
        let authority = authority.strip_suffix('/').unwrap_or(authority);
        let (host, port) = host_and_port(authority).ok_or_else(form)?;
        Ok(Self::Tcp { host: host.to_owned(), port })
    }
}

fn name_and_port(text: &str) -> Option<(&str, u16)> {
    let (name, port) = text.rsplit_once(':')?;
    let port = port.parse().ok().filter(|port| *port != 0)?;
    let is_letter = |b: u8| b.is_ascii_alphanumeric() || matches!(b, b'.' | b'-' | b'_');
    (!name.is_empty() && name.bytes().all(is_letter)).then_some((name, port))
}

fn host_and_port(text: &str) -> Option<(&str, u16)> {
    let Some((ipv6, port)) = text.strip_prefix('[').and_then(|rest| rest.rsplit_once("]:")) else {
        return name_and_port(text);
    };
    let port = port.parse().ok().filter(|port| *port != 0)?;
    ipv6.parse::<std::net::Ipv6Addr>().is_ok().then_some((ipv6, port))
}

impl fmt::Display for Address {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Tcp { host, port } if host.contains(':') => write!(f, "http://[{host}]:{port}"),
            Self::Tcp { host, port } => write!(f, "http://{host}:{port}"),
            Self::Dns { name, port } => write!(f, "dns:///{name}:{port}"),
            Self::Unix(path) => write!(f, "unix:{}", path.display()),
        }
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
    fn an_address_that_is_none_is_refused() {
        for bad in [
            "",
            "host:1",
            "http://",
            "http://host",
            "http://host:0",
            "http://host:99999",
            "unix:",
            "http://a b:1",
            "http://:1",
            "http://[zz]:1",
            "http://user@host:1",
            "http://host:1/path",
            "dns://host:1",
            "dns:///host",
            "dns:///[::1]:1",
            "dns:///:1",
        ] {
            assert!(matches!(bad.parse::<Address>(), Err(AddressError::Form(_))), "{bad}");
        }
        assert!(matches!("https://host:1".parse::<Address>(), Err(AddressError::Tls(_))));
    }

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

        #[test]
        fn an_address_reads_as_it_is_written(text in r"http://[a-z][a-z0-9.-]{0,20}:[1-9][0-9]{0,3}|dns:///[a-z][a-z0-9.-]{0,20}:[1-9][0-9]{0,3}|unix:/[a-z/]{1,20}|http://\[::[0-9a-f]{1,4}\]:80") {
            let address: Address = text.parse().expect("a valid address");
            prop_assert_eq!(address.to_string(), text);
        }
    }
}
