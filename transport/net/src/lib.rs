//! The one seam between gRPC and the network, in a crate of its own: whoever only connects needs nothing of what carries
//! calls.

use std::fmt;
use std::io;
use std::net::SocketAddr;
use std::path::PathBuf;
use std::str::FromStr;

use futures_util::future::BoxFuture;
use tokio::io::{AsyncRead, AsyncWrite};

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

    proptest! {
        #[test]
        fn an_address_reads_as_it_is_written(text in r"http://[a-z][a-z0-9.-]{0,20}:[1-9][0-9]{0,3}|dns:///[a-z][a-z0-9.-]{0,20}:[1-9][0-9]{0,3}|unix:/[a-z/]{1,20}|http://\[::[0-9a-f]{1,4}\]:80") {
            let address: Address = text.parse().expect("a valid address");
            prop_assert_eq!(address.to_string(), text);
        }
    }
}
