//! Sockets that listen, and the files of those that have one.

use std::io;
use std::net::SocketAddr;
use std::os::unix::fs::{FileTypeExt as _, MetadataExt as _};
use std::os::unix::net::UnixStream;
use std::path::{Path, PathBuf};

use socket2::{Domain, Protocol, Socket, Type};
use tokio::net::{TcpListener, UnixListener};
use transport::net::{CallerAddress, Io, Sockets};

use crate::config::Listen;
use crate::machine::Accepted;

/// Connections that wait to be accepted, at most.
const BACKLOG: i32 = 1024;

/// A socket that listens, registered with the runtime of its thread.
#[derive(Debug)]
pub(crate) enum Listening {
    Tcp(TcpListener),
    Unix(UnixListener, SocketFile),
}

impl Listening {
    /// Listens at `address`; what is accepted there is of `sockets`.
    pub(crate) fn at(address: &Listen, sockets: Sockets) -> io::Result<Self> {
        match address {
            Listen::Tcp(address) => tcp(*address, sockets),
            Listen::Unix(path) => unix(path),
            Listen::None => Err(io::Error::new(io::ErrorKind::InvalidInput, "none is no address")),
        }
    }

    pub(crate) fn address(&self) -> Listen {
        match self {
            Self::Tcp(listener) => listener.local_addr().map_or(Listen::None, Listen::Tcp),
            Self::Unix(_, file) => Listen::Unix(file.path.clone()),
        }
    }

    /// Accepts one connection, which leaves this thread's runtime for that of the worker that opens it.
    pub(crate) async fn accept(&self) -> io::Result<Accepted> {
        match self {
            Self::Tcp(listener) => {
                let (stream, caller) = listener.accept().await?;
                let stream = stream.into_std()?;
                Ok(Accepted { caller: CallerAddress::Tcp(caller), open: Box::new(|| open_tcp(stream)) })
            }
            Self::Unix(listener, _) => {
                let (stream, _) = listener.accept().await?;
                let stream = stream.into_std()?;
                Ok(Accepted { caller: CallerAddress::Unix, open: Box::new(|| open_unix(stream)) })
            }
        }
    }
}

fn open_tcp(stream: std::net::TcpStream) -> io::Result<Io> {
    // Where it cannot be set the connection is gone, which whoever reads will find out.
    stream.set_nodelay(true).ok();
    Ok(Box::new(tokio::net::TcpStream::from_std(stream)?))
}

fn open_unix(stream: UnixStream) -> io::Result<Io> {
    Ok(Box::new(tokio::net::UnixStream::from_std(stream)?))
}

fn tcp(address: SocketAddr, sockets: Sockets) -> io::Result<Listening> {
    let socket = Socket::new(Domain::for_address(address), Type::STREAM, Some(Protocol::TCP))?;
    // A port whose last connections are still in TIME_WAIT is free.
    socket.set_reuse_address(true)?;
    socket.set_nonblocking(true)?;
    // What is accepted inherits it.
    sockets.watch(&socket)?;
    socket.bind(&address.into())?;
    socket.listen(BACKLOG)?;
    TcpListener::from_std(socket.into()).map(Listening::Tcp)
}

/// A socket that was left behind by a process that is gone does not count as an address in use.
fn unix(path: &Path) -> io::Result<Listening> {
    let listener = match UnixListener::bind(path) {
        Err(error) if error.kind() == io::ErrorKind::AddrInUse && is_stale(path) => {
            std::fs::remove_file(path)?;
            UnixListener::bind(path)?
        }
        other => other?,
    };
    Ok(Listening::Unix(listener, SocketFile { path: path.to_owned(), identity: identity(path)? }))
}

/// A file of any other kind refuses connections, too, and is not ours to replace.
fn is_stale(path: &Path) -> bool {
    let file = std::fs::symlink_metadata(path);
    file.is_ok_and(|file| file.file_type().is_socket())
        && matches!(UnixStream::connect(path), Err(error) if error.kind() == io::ErrorKind::ConnectionRefused)
}

/// Device and inode.
fn identity(path: &Path) -> io::Result<(u64, u64)> {
    std::fs::symlink_metadata(path).map(|file| (file.dev(), file.ino()))
}

/// Removes the file of a Unix socket when its listener closes, unless another has taken its place.
#[derive(Debug)]
pub(crate) struct SocketFile {
    path: PathBuf,
    identity: (u64, u64),
}

impl Drop for SocketFile {
    fn drop(&mut self) {
        if identity(&self.path).is_ok_and(|identity| identity == self.identity) {
            // It may be gone in this very moment, which is as good.
            std::fs::remove_file(&self.path).ok();
        }
    }
}
