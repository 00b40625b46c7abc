//! The one seam between gRPC and the network.

use std::fmt;
use std::io;
use std::net::{IpAddr, SocketAddr, SocketAddrV4};
use std::path::PathBuf;
use std::str::FromStr;

use futures_util::future::BoxFuture;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::{TcpStream, UnixStream};

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
}

/// The sockets of this machine.
#[derive(Debug, Clone, Copy)]
pub struct Sockets;

impl Net for Sockets {
    fn connect<'a>(&'a self, address: &'a Address) -> BoxFuture<'a, io::Result<Io>> {
        Box::pin(async move {
            match address {
                Address::Tcp { host, port } => {
                    let stream = TcpStream::connect((host.as_str(), *port)).await?;
                    stream.set_nodelay(true)?;
                    Ok(Box::new(stream) as Io)
                }
                Address::Unix(path) => Ok(Box::new(UnixStream::connect(path).await?) as Io),
            }
        })
    }
}

/// Where a service listens: `http://HOST:PORT` or `unix:PATH`.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Address {
    /// A host, by name or number, and a port.
    Tcp {
        /// A name or an IP address, the latter without brackets.
        host: String,
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
    #[error("\"{0}\": expected http://HOST:PORT or unix:PATH")]
    Form(String),
    /// TLS was asked for.
    #[error("\"{0}\": TLS is not supported, expected http://HOST:PORT or unix:PATH")]
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
        let authority = text.strip_prefix("http://").ok_or_else(form)?;
        let authority = authority.strip_suffix('/').unwrap_or(authority);
        let (host, port) = authority.rsplit_once(':').ok_or_else(form)?;
        let port = port.parse().ok().filter(|port| *port != 0).ok_or_else(form)?;
        let host = match host.strip_prefix('[').and_then(|rest| rest.strip_suffix(']')) {
            Some(ipv6) if ipv6.parse::<std::net::Ipv6Addr>().is_ok() => ipv6,
            Some(_) => return Err(form()),
            None => host,
        };
        let is_name = !host.is_empty()
            && host.bytes().all(|b| b.is_ascii_alphanumeric() || matches!(b, b'.' | b'-' | b'_'));
        if !is_name && host.parse::<IpAddr>().is_err() {
            return Err(form());
        }
        Ok(Self::Tcp { host: host.to_owned(), port })
    }
}

impl fmt::Display for Address {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Tcp { host, port } if host.contains(':') => write!(f, "http://[{host}]:{port}"),
            Self::Tcp { host, port } => write!(f, "http://{host}:{port}"),
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
        ] {
            assert!(matches!(bad.parse::<Address>(), Err(AddressError::Form(_))), "{bad}");
        }
        assert!(matches!("https://host:1".parse::<Address>(), Err(AddressError::Tls(_))));
    }

    proptest! {
        #[test]
        fn a_caller_is_written_as_the_standard_library_writes_addresses(address in any::<SocketAddr>()) {
            prop_assert_eq!(CallerAddress::Tcp(address).to_string(), address.to_string());
        }

        #[test]
        fn an_address_reads_as_it_is_written(text in r"http://[a-z][a-z0-9.-]{0,20}:[1-9][0-9]{0,3}|unix:/[a-z/]{1,20}|http://\[::[0-9a-f]{1,4}\]:80") {
            let address: Address = text.parse().expect("a valid address");
            prop_assert_eq!(address.to_string(), text);
        }
    }
}
