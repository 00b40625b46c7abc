//! A node that is asked to stop while its actors are being made.

use std::net::{SocketAddr, TcpListener, TcpStream};
use std::sync::{Mutex, mpsc};
use std::time::Duration;

use node::{App, Config, Hooks, ThisMachine};
use tokio::sync::mpsc::{UnboundedReceiver, unbounded_channel};
use tokio::time::timeout;
use transport::Service;

/// The longest that a test waits for what must happen.
const SOON: Duration = Duration::from_secs(10);

/// An app whose actor is made when its other end is dropped; and word that the making has begun.
fn slow_to_start() -> (App, UnboundedReceiver<()>, mpsc::Sender<()>) {
    let (tell, begun) = unbounded_channel();
    let (go_on, may_go_on) = mpsc::channel();
    let may_go_on = Mutex::new(may_go_on);
    let service = Service::on_each_worker(move |()| {
        tell.send(()).ok();
        may_go_on.lock().expect("nobody panics").recv().ok();
        actors::NameService
    });
    (App::from_iter([service]), begun, go_on)
}

#[test]
fn a_node_that_is_asked_to_stop_does_not_wait_for_an_actor_that_is_being_made() {
    let free = TcpListener::bind("127.0.0.1:0").and_then(|listener| listener.local_addr());
    let http: SocketAddr = free.expect("a port is free");
    let (app, mut begun, go_on) = slow_to_start();
    let flags = ["--http", &http.to_string(), "--grpc", "none", "--workers", "2", "--drain-timeout", "1h"];
    let config = Config::from_flags(&app, &flags).expect("a valid configuration");
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().expect("a runtime");
    runtime.block_on(async {
        let asked_to_stop = async {
            begun.recv().await;
            TcpStream::connect(http).expect("it listens by now");
        };
        let machine = ThisMachine::default();
        let ended = node::run(app, config, &machine, Hooks::default(), asked_to_stop);
        timeout(SOON, ended).await.expect("it ends soon").expect("nothing went wrong");
    });
    TcpStream::connect(http).expect_err("it does not listen any more");
    assert!(begun.try_recv().is_err(), "no other worker has begun");
    drop(go_on);
}
