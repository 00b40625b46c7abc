//! What faults do to a link between two processes, here between a caller and a callee that are tasks; where a process
//! starts.

use std::io;
use std::rc::Rc;
use std::sync::Arc;
use std::time::Duration;

use futures_util::FutureExt as _;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::{TcpListener, TcpStream};
use tokio::runtime::Builder;
use tokio::task::LocalSet;

use super::guard::{GUARD, Program};
use super::links::{Links, Way};
use super::process::Process;
use super::proxy::Proxy;
use crate::host::process::HostShared;
use crate::plan::{Fault, FaultKind, Network, Plan};
use crate::tempo::Tempo;
use crate::trace::recorder::{self, Checks, Clock, Keep, OfLines, Recorder, Status};

/// From the caller, which is host 0, to the callee.
const WAY: Way = Way { from: 0, to: 1 };

/// A link with one fault of the plan, and a connection over it.
struct Link {
    links: Rc<Links>,
    caller: TcpStream,
    callee: TcpStream,
}

/// Runs `test` on a link of which `fault` may befall.
fn with_link(fault: FaultKind, test: impl AsyncFnOnce(Link)) {
    let times = (Duration::ZERO, Duration::from_secs(1));
    let plan = Plan {
        scenario: String::new(),
        seed: 0,
        planted: None,
        options: Default::default(),
        network: Network { latency_min: Duration::ZERO, latency_max: Duration::ZERO, yield_percent: 0 },
        faults: vec![Fault { from: times.0, lasts: times.1, what: fault }],
        in_flight_max: None,
        requests: Vec::new(),
        probes: Vec::new(),
    };
    let checks = Checks::new(Vec::new(), Vec::new());
    let mut recorder = Recorder::new(&plan, Clock::real(1), checks, OfLines::default(), Keep::Trace);
    for name in ["caller", "callee"] {
        let address = std::net::Ipv4Addr::LOCALHOST.into();
        recorder.hosts.add(name.into(), address, Arc::new(HostShared::default()));
    }
    recorder.set_faults(&plan.faults);
    recorder::install(recorder);
    let runtime = Builder::new_current_thread().enable_all().build().unwrap();
    LocalSet::new().block_on(&runtime, async {
        let links = Rc::new(Links::new(&plan.network, 0, Tempo::default()));
        let proxy = Rc::new(Proxy::reserve(WAY, 1).unwrap());
        tokio::task::spawn_local(Rc::clone(&proxy).serve(Rc::clone(&links)));
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        proxy.lead_to(Some(listener.local_addr().unwrap()));
        tokio::task::yield_now().await;
        let (caller, accepted) = tokio::join!(TcpStream::connect(proxy.address), listener.accept());
        test(Link { links, caller: caller.unwrap(), callee: accepted.unwrap().0 }).await;
    });
    recorder::take();
}

fn switch(links: &Links, is_active: bool) {
    recorder::with(|recorder| recorder.switch(0, is_active));
    links.note_change();
}

fn ends() -> (String, String) {
    ("caller".to_owned(), "callee".to_owned())
}

async fn passes(from: &mut TcpStream, to: &mut TcpStream) {
    from.write_all(b"word").await.unwrap();
    let mut word = [0; 4];
    to.read_exact(&mut word).await.unwrap();
    assert_eq!(&word, b"word");
}

#[test]
fn a_partition_holds_what_is_sent_and_lets_it_pass_when_it_has_healed() {
    let (a, b) = ends();
    with_link(FaultKind::Partition { a, b }, async |mut link| {
        let (wire, links) = (link.links.wire(WAY), Rc::clone(&link.links));
        passes(&mut link.caller, &mut link.callee).await;
        switch(&links, true);
        for way in [WAY, WAY.back()] {
            assert!(links.pass(&wire, way).now_or_never().is_none());
        }
        link.caller.write_all(b"held").await.unwrap();
        let mut held = [0; 4];
        assert!(link.callee.read(&mut held).now_or_never().is_none());
        switch(&links, false);
        link.callee.read_exact(&mut held).await.unwrap();
        assert_eq!(&held, b"held");
    });
}

#[test]
fn a_partition_one_way_lets_the_other_pass() {
    let (a, b) = ends();
    with_link(FaultKind::PartitionOneWay { a, b }, async |mut link| {
        let (wire, links) = (link.links.wire(WAY), Rc::clone(&link.links));
        switch(&links, true);
        assert!(links.pass(&wire, WAY).now_or_never().is_none());
        passes(&mut link.callee, &mut link.caller).await;
    });
}

#[test]
fn a_slow_link_takes_its_time_and_a_healthy_one_none() {
    let ((a, b), latency) = (ends(), Duration::from_millis(70));
    with_link(FaultKind::SlowLink { a, b, latency }, async |link| {
        assert_eq!(link.links.latency(WAY), Duration::ZERO);
        switch(&link.links, true);
        assert_eq!([WAY, WAY.back()].map(|way| link.links.latency(way)), [latency; 2]);
    });
}

#[test]
fn a_reset_breaks_a_connection_at_both_ends() {
    let (a, b) = ends();
    with_link(FaultKind::Reset { a, b }, async |mut link| {
        passes(&mut link.caller, &mut link.callee).await;
        link.links.reset(0, 1);
        for end in [&mut link.caller, &mut link.callee] {
            assert_eq!(end.read(&mut [0]).await.unwrap_err().kind(), io::ErrorKind::ConnectionReset);
        }
    });
}

#[test]
fn a_machine_without_power_says_nothing_and_knows_nothing_afterwards() {
    let host = "callee".to_owned();
    with_link(FaultKind::PowerLoss { host }, async |mut link| {
        passes(&mut link.caller, &mut link.callee).await;
        switch(&link.links, true);
        link.links.forget_those_of(1);
        recorder::with(|recorder| recorder.hosts.set_status(1, Status::Dark));
        let wire = link.links.wire(WAY);
        for way in [WAY, WAY.back()] {
            assert!(link.links.pass(&wire, way).now_or_never().is_none());
        }
        drop(link.callee);
        assert!(link.caller.read(&mut [0]).now_or_never().is_none(), "it heard of the end");
        recorder::with(|recorder| recorder.hosts.set_status(1, Status::Running));
        switch(&link.links, false);
        link.caller.write_all(b"still there?").await.unwrap();
        assert_eq!(link.caller.read(&mut [0]).await.unwrap_err().kind(), io::ErrorKind::ConnectionReset);
    });
}

#[test]
fn a_process_starts_in_the_folder_of_its_host() {
    let folder = tempfile::tempdir().unwrap();
    // The shell looks for the script, which is named as its first argument, where it stands.
    std::fs::write(folder.path().join(GUARD), "cat written-before").unwrap();
    std::fs::write(folder.path().join("written-before"), "still there").unwrap();
    let program = Program::at("/bin/true".into(), "/bin/sh".into());
    let errors = std::fs::File::create(folder.path().join("errors")).unwrap();
    let runtime = Builder::new_current_thread().enable_all().build().unwrap();
    let said = runtime.block_on(async {
        let (_process, mut output) = Process::start(&program, &[], folder.path(), errors).unwrap();
        let mut said = String::new();
        output.read_to_string(&mut said).await.map(|_| said)
    });
    assert_eq!(said.unwrap(), "still there");
}
