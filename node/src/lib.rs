//! A node: a configuration in, running workers out.
//!
//! | module | what it holds |
//! |---|---|
//! | [`config`] | flags, environment and file, checked: [`Config`] |
//! | [`log`] | log lines, off the hot path |
//! | [`worker`] | what runs on one thread: [`Worker`] |
//!
//! This crate is where the real clock, real entropy, threads and signals enter.

pub mod config;
pub mod log;
pub mod worker;

use std::cell::RefCell;
use std::future::Future;
use std::io;
use std::net::{SocketAddr, TcpListener};
use std::os::unix::fs::{FileTypeExt as _, MetadataExt as _};
use std::os::unix::net::{UnixListener, UnixStream};
use std::path::{Path, PathBuf};
use std::pin::pin;
use std::rc::{Rc, Weak};
use std::sync::Arc;
use std::time::Duration;

use actix_rt::net::TcpStream;
use actix_server::{Server, ServerBuilder};
use actix_service::fn_factory;
use socket2::{Domain, Protocol, Socket, Type};
use tokio::time::{sleep, timeout};
use tracing::{info, warn};
use transport::net::Sockets;
use transport::{CallerAddress, Drain, Io};

pub use crate::config::{Config, ConfigError, Listen};
pub use crate::worker::Worker;

/// How long connections that were accepted just before the listeners closed have to send their request.
const LAST_MOMENT: Duration = Duration::from_millis(100);

/// Connections that wait to be accepted, at most.
const BACKLOG: i32 = 1024;

/// Why a node did not start.
#[derive(Debug, thiserror::Error)]
pub enum StartError {
    /// An address cannot be listened at.
    #[error("--{key} {address}: {source}; expected an address that is free and this machine's own")]
    Bind {
        /// The key that names the address.
        key: &'static str,
        /// The address.
        address: String,
        /// Why not.
        source: io::Error,
    },
    /// The system below failed.
    #[error("the server failed: {0}")]
    Server(#[from] io::Error),
}

/// A node that is bound to its addresses and serves nothing yet.
#[derive(Debug)]
pub struct Node {
    config: Config,
    http: Option<TcpListener>,
    grpc: Option<Listener>,
}

#[derive(Debug)]
enum Listener {
    Tcp(TcpListener),
    Unix(UnixListener, SocketFile),
}

/// Drains what is left when the listeners have closed; resolves when all of it has ended. What was accepted in the
/// last moment is served as before until it has had the time to send its request.
pub async fn finish(drain: &Drain) {
    sleep(LAST_MOMENT).await;
    drain.start();
    drain.finished().await;
}

impl Node {
    /// Binds the addresses of `config`: all of them, or none.
    ///
    /// # Errors
    ///
    /// [`StartError::Bind`] with the address that cannot be bound.
    pub fn bind(config: Config) -> Result<Self, StartError> {
        let bind_error = |key, listen: &Listen| {
            let address = listen.to_string();
            move |source| StartError::Bind { key, address, source }
        };
        let http = match &config.http {
            Listen::Tcp(address) => Some(listen_tcp(*address).map_err(bind_error("http", &config.http))?),
            Listen::None | Listen::Unix(_) => None,
        };
        let grpc = match &config.grpc {
            Listen::None => None,
            Listen::Tcp(address) => Some(listen_tcp(*address).map(Listener::Tcp)),
            Listen::Unix(path) => Some(listen_unix(path)),
        };
        let grpc = grpc.transpose().map_err(bind_error("grpc", &config.grpc))?;
        Ok(Self { config, http, grpc })
    }

    /// Where REST is served, with the port that was found.
    #[must_use]
    pub fn http_address(&self) -> Option<SocketAddr> {
        self.http.as_ref().and_then(|listener| listener.local_addr().ok())
    }

    /// Where gRPC is served, with the port that was found.
    #[must_use]
    pub fn grpc_address(&self) -> Listen {
        match &self.grpc {
            Some(Listener::Tcp(listener)) => listener.local_addr().map_or(Listen::None, Listen::Tcp),
            Some(Listener::Unix(_, file)) => Listen::Unix(file.path.clone()),
            None => Listen::None,
        }
    }

    /// Serves until `shutdown` resolves, then drains for at most the configured time. What has not ended
    /// by then ends with the process, or within a further drain timeout where the process goes on.
    ///
    /// # Errors
    ///
    /// [`StartError::Server`] if the system below fails.
    pub async fn run(self, shutdown: impl Future<Output = ()>) -> Result<(), StartError> {
        let drain = Drain::new();
        let drain_timeout = self.config.drain_timeout;
        let (http, grpc) = (self.http_address().map_or(Listen::None, Listen::Tcp), self.grpc_address());
        let (services, workers) = (self.config.services.join(","), self.config.workers);
        let (server, _socket_file) = self.serve(&drain)?;
        info!(%http, %grpc, services, workers, "node started");
        let handle = server.handle();
        let mut server = pin!(server);
        tokio::select! {
            ended = server.as_mut() => return Ok(ended?),
            () = shutdown => info!(timeout = ?drain_timeout, "draining"),
        }
        drain.announce();
        let drained = async {
            // Closes the listeners at once, and waits for the workers. They look up once a second; the
            // drain itself knows the moment.
            let stopped = async { tokio::join!(handle.stop(true), server).1 };
            tokio::select! {
                stopped = stopped => stopped,
                () = finish(&drain) => Ok(()),
            }
        };
        match timeout(drain_timeout, drained).await {
            Ok(result) => result?,
            Err(_) => warn!("the drain took too long: what is left is cut off"),
        }
        info!("node stopped");
        Ok(())
    }

    fn serve(self, drain: &Drain) -> Result<(Server, Option<SocketFile>), StartError> {
        let config = Arc::new(self.config);
        let mut builder = Server::build()
            .workers(config.workers.into())
            .shutdown_timeout(config.drain_timeout.as_secs().max(1))
            .disable_signals();
        if let Some(listener) = self.http {
            builder = listen(builder, "http", listener, &config, drain, |worker, io, peer| {
                worker.serve_http(io, peer)
            })?;
        }
        let mut socket_file = None;
        match self.grpc {
            Some(Listener::Tcp(listener)) => {
                builder = listen(builder, "grpc", listener, &config, drain, |worker, io, peer| {
                    worker.serve_grpc(io, peer)
                })?;
            }
            Some(Listener::Unix(listener, file)) => {
                builder = listen_at_file(builder, listener, &config, drain)?;
                socket_file = Some(file);
            }
            None => {}
        }
        Ok((builder.run(), socket_file))
    }
}

fn listen<S: Future<Output = ()> + 'static>(
    builder: ServerBuilder,
    name: &str,
    listener: TcpListener,
    config: &Arc<Config>,
    drain: &Drain,
    serve: fn(Rc<Worker>, Io, CallerAddress) -> S,
) -> io::Result<ServerBuilder> {
    let (config, drain) = (config.clone(), drain.clone());
    builder.listen(name, listener, move || {
        let (config, drain) = (config.clone(), drain.clone());
        fn_factory(move || {
            let (config, drain) = (config.clone(), drain.clone());
            async move {
                let worker = worker(&config, drain).await;
                Ok::<_, ()>(actix_service::fn_service(move |stream: TcpStream| {
                    let worker = worker.clone();
                    async move {
                        // A connection that is gone already has no address and needs none.
                        let Ok(peer) = stream.peer_addr() else { return Ok::<_, ()>(()) };
                        stream.set_nodelay(true).ok();
                        serve(worker, Box::new(stream), CallerAddress::Tcp(peer)).await;
                        Ok(())
                    }
                }))
            }
        })
    })
}

fn listen_at_file(
    builder: ServerBuilder,
    listener: UnixListener,
    config: &Arc<Config>,
    drain: &Drain,
) -> io::Result<ServerBuilder> {
    let (config, drain) = (config.clone(), drain.clone());
    builder.listen_uds("grpc", listener, move || {
        let (config, drain) = (config.clone(), drain.clone());
        fn_factory(move || {
            let (config, drain) = (config.clone(), drain.clone());
            async move {
                let worker = worker(&config, drain).await;
                Ok::<_, ()>(actix_service::fn_service(move |stream: actix_rt::net::UnixStream| {
                    let worker = worker.clone();
                    async move {
                        worker.serve_grpc(Box::new(stream), CallerAddress::Unix).await;
                        Ok::<_, ()>(())
                    }
                }))
            }
        })
    })
}

/// The worker of this thread: the listeners of one node share it, and it is made for the first of them.
async fn worker(config: &Config, drain: Drain) -> Rc<Worker> {
    thread_local! {
        // Weak, because actors must be dropped while their runtime is there, not when the thread ends.
        static WORKER: RefCell<Weak<Worker>> = const { RefCell::new(Weak::new()) };
    }
    if let Some(worker) = WORKER.with_borrow(Weak::upgrade) {
        return worker;
    }
    let worker = Worker::start(config, Arc::new(Sockets), drain, None).await;
    WORKER.set(Rc::downgrade(&worker));
    worker
}

fn listen_tcp(address: SocketAddr) -> io::Result<TcpListener> {
    let socket = Socket::new(Domain::for_address(address), Type::STREAM, Some(Protocol::TCP))?;
    // A port whose last connections are still in TIME_WAIT is free.
    socket.set_reuse_address(true)?;
    socket.bind(&address.into())?;
    socket.listen(BACKLOG)?;
    Ok(socket.into())
}

/// A socket that was left behind by a process that is gone does not count as an address in use.
fn listen_unix(path: &Path) -> io::Result<Listener> {
    let listener = match UnixListener::bind(path) {
        Err(error) if error.kind() == io::ErrorKind::AddrInUse && is_stale(path) => {
            std::fs::remove_file(path)?;
            UnixListener::bind(path)?
        }
        other => other?,
    };
    Ok(Listener::Unix(listener, SocketFile { path: path.to_owned(), identity: identity(path)? }))
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

/// Removes the file of a Unix socket when its listener is done, unless another has taken its place: a
/// node that drains is deaf already, so its successor may have found a stale socket there.
#[derive(Debug)]
struct SocketFile {
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
