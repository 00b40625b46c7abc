//! The accept loop, on a machine whose listeners are told what to accept.

mod orders;

use std::cell::RefCell;
use std::io;
use std::path::Path;
use std::sync::Arc;
use std::sync::mpsc::{Receiver, Sender, channel};
use std::time::Duration;

use node::machine::{Accepted, Listener, WorkerEnd, WorkerMain};
use node::transport::net::{CallerAddress, Net};
use node::{App, Config, Disk, Hooks, Listen, Machine, StartError, ThisMachine, run};
use orders::{Orders, app};
use tokio::time::{Instant, timeout};

/// What a listener is told to accept next, or to fail with.
type Next = io::Result<Accepted>;

/// This machine, but for its listener.
struct Told {
    next: RefCell<Vec<Next>>,
}

struct ToldListener(RefCell<Vec<Next>>);

impl Machine for Told {
    type Listener = ToldListener;

    fn net(&self) -> Arc<dyn Net> {
        ThisMachine::default().net()
    }

    async fn listen(&self, _: &Listen) -> io::Result<ToldListener> {
        Ok(ToldListener(RefCell::new(self.next.take())))
    }

    fn disk(&self, path: &Path) -> io::Result<Arc<dyn Disk>> {
        ThisMachine::default().disk(path)
    }

    fn start_worker(&self, name: &str, main: WorkerMain) -> io::Result<WorkerEnd> {
        ThisMachine::default().start_worker(name, main)
    }
}

impl Listener for ToldListener {
    fn address(&self) -> Listen {
        Listen::None
    }

    async fn accept(&self) -> Next {
        if self.0.borrow().is_empty() {
            return std::future::pending().await;
        }
        self.0.borrow_mut().remove(0)
    }
}

/// A connection that tells which thread opens it, and is gone then.
fn connection(opened: &Sender<String>) -> Next {
    let opened = opened.clone();
    let open = move || {
        let name = std::thread::current().name().unwrap_or_default().to_owned();
        opened.send(name).expect("the test waits for it");
        Err(io::ErrorKind::ConnectionReset.into())
    };
    Ok(Accepted { caller: CallerAddress::Unix, open: Box::new(open) })
}

/// Runs a node of three workers that accepts `next`, until as many connections were opened. By whom each was.
#[expect(clippy::disallowed_methods, reason = "this runs outside of any simulation")]
async fn opened(next: Vec<Next>, opened: Receiver<String>) -> Vec<String> {
    let count = next.iter().filter(|next| next.is_ok()).count();
    let machine = Told { next: RefCell::new(next) };
    let names = tokio::task::spawn_blocking(move || opened.iter().take(count).collect::<Vec<_>>());
    let mut names = std::pin::pin!(names);
    let mut workers = Vec::new();
    let shutdown = async { workers = names.as_mut().await.expect("they come") };
    run(app(|| Orders), config(), &machine, Hooks::default(), shutdown).await.expect("it runs");
    workers
}

fn config() -> Config {
    Config::from_flags(&app(|| Orders), &["--workers", "3", "--grpc", "none"]).expect("a configuration")
}

#[tokio::test]
async fn connections_go_to_the_workers_in_turn() {
    let (sender, receiver) = channel();
    let next = (0..5).map(|_| connection(&sender)).collect();
    let workers = opened(next, receiver).await;
    assert_eq!(workers.len(), 5);
    let of = |index: u16| workers.iter().filter(|name| **name == format!("worker {index}")).count();
    assert_eq!((of(0), of(1), of(2)), (2, 2, 1), "{workers:?}");
}

#[tokio::test]
async fn a_connection_that_cannot_be_accepted_is_not_the_last() {
    let (sender, receiver) = channel();
    let aborted = || Err(io::ErrorKind::ConnectionAborted.into());
    // EMFILE
    let full = Err(io::Error::from_raw_os_error(24));
    let begun = Instant::now();
    let workers = opened(vec![aborted(), full, aborted(), connection(&sender)], receiver).await;
    assert_eq!(workers, ["worker 0"], "nobody's turn has passed");
    assert!(begun.elapsed() >= Duration::from_millis(500), "there was a pause");
}

#[tokio::test]
async fn a_worker_that_ends_by_itself_ends_the_node() {
    let app = app(|| panic!("no actor today"));
    let machine = Told { next: RefCell::default() };
    let ended = run(app, config(), &machine, Hooks::default(), std::future::pending());
    let ended = timeout(Duration::from_secs(10), ended).await.expect("it ends");
    assert!(
        matches!(&ended, Err(StartError::Server(error)) if error.to_string() == "worker 0 has ended by itself"),
        "{ended:?}"
    );
}

#[test]
#[should_panic(expected = "two services are called orders")]
fn an_app_has_one_service_of_a_name() {
    let twice = [(), ()].map(|()| node::Service::on_each_worker(|()| Orders));
    drop(twice.into_iter().collect::<App>());
}
