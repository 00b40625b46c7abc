//! The hosts of a world as processes: which of them run, where they listen, how they go and come back.

use std::cell::{Cell, RefCell};
use std::collections::BTreeMap;
use std::fs::{self, File, OpenOptions};
use std::io;
use std::net::SocketAddr;
use std::path::Path;
use std::rc::Rc;
use std::sync::Arc;
use std::time::SystemTime;

use rustix::process::Signal;

use super::guard::Program;
use super::links::{Links, Way};
use super::output::{Output, tell};
use super::process::Process;
use super::proxy::Proxy;
use crate::as_process::{AsProcess, Places, ProcessEnded, Said};
use crate::plan::{FaultKind, Plan};
use crate::scenario::CLIENTS;
use crate::tempo::Tempo;
use crate::trace::recorder::{self, FaultState, Status};

/// What is promised of a process that is told to leave.
pub(super) const ENDS_WELL: &str = "a process that is told to leave ends well";

/// What is played, and with what.
#[derive(Debug, Clone, Copy)]
pub(super) struct Inputs<'a> {
    pub(super) hosts: &'a [(String, AsProcess)],
    pub(super) plan: &'a Plan,
    pub(super) program: &'a Program,
    pub(super) tempo: Tempo,
    /// Where the output of each process is kept, and a folder for each host.
    pub(super) logs: &'a Path,
}

/// The processes, and the proxies that lead to them. A host has the number that the recorder knows it by.
#[derive(Debug)]
pub(super) struct Hosts<'a> {
    inputs: Inputs<'a>,
    pub(super) links: Rc<Links>,
    proxies: Vec<Rc<Proxy>>,
    addresses: BTreeMap<(String, String, u16), SocketAddr>,
    running: Vec<RefCell<Option<Running>>>,
    /// When the plan began, by the wall clock that processes read, too.
    begun: Rc<Cell<Option<SystemTime>>>,
}

/// A process that runs.
#[derive(Debug)]
struct Running {
    process: Process,
    listens: Rc<Cell<Listens>>,
    /// Whether it is still the process of its host: its last words are read later.
    is_there: Rc<Cell<bool>>,
    is_told_to_leave: bool,
}

/// What a process has said of where it listens.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Listens {
    NotYet,
    Yes,
    NoMore,
}

impl Drop for Running {
    fn drop(&mut self) {
        self.is_there.set(false);
    }
}

impl<'a> Hosts<'a> {
    /// Takes ports for all that may call each other, and lets them lead nowhere yet.
    pub(super) fn reserve(inputs: Inputs<'a>, links: &Rc<Links>) -> io::Result<Self> {
        let (mut proxies, mut addresses) = (Vec::new(), BTreeMap::new());
        let names: Vec<_> = inputs.hosts.iter().map(|(name, _)| name.as_str()).chain([CLIENTS]).collect();
        for (to, (callee, process)) in inputs.hosts.iter().enumerate() {
            for (from, caller) in names.iter().enumerate().filter(|(from, _)| *from != to) {
                for port in &process.ports {
                    let proxy = Rc::new(Proxy::reserve(Way { from, to }, *port)?);
                    addresses.insert(((*caller).to_owned(), callee.clone(), *port), proxy.address);
                    tokio::task::spawn_local(Rc::clone(&proxy).serve(Rc::clone(links)));
                    proxies.push(proxy);
                }
            }
        }
        let running = inputs.hosts.iter().map(|_| RefCell::default()).collect();
        Ok(Self { inputs, links: Rc::clone(links), proxies, addresses, running, begun: Rc::default() })
    }

    /// Where the clients find each port of each host.
    pub(super) fn of_clients(&self) -> BTreeMap<(String, u16), SocketAddr> {
        let of_clients = self.addresses.iter().filter(|((caller, ..), _)| caller == CLIENTS);
        of_clients.map(|((_, callee, port), address)| ((callee.clone(), *port), *address)).collect()
    }

    /// The plan begins now.
    pub(super) fn begin(&self, wall: SystemTime) {
        self.begun.set(Some(wall));
    }

    /// Starts the process of each host.
    pub(super) fn start_all(&self) {
        (0..self.running.len()).for_each(|host| self.start_process(host));
    }

    /// Whether all run, and have said where they listen.
    pub(super) fn all_listen(&self) -> bool {
        let listens = |running: &RefCell<Option<Running>>| {
            running.borrow().as_ref().is_some_and(|running| running.listens.get() == Listens::Yes)
        };
        self.running.iter().all(listens)
    }

    /// Whether none runs.
    pub(super) fn all_have_left(&self) -> bool {
        self.running.iter().all(|running| running.borrow().is_none())
    }

    /// The process is killed; its machine closes the sockets and refuses new connections.
    pub(super) fn kill(&self, host: usize) {
        self.links.touch_those_of(host);
        self.running[host].take();
        self.stay_down(host);
    }

    /// Nobody hears of the machine any more, and it forgets everything.
    pub(super) fn lose_power(&self, host: usize) {
        self.links.touch_those_of(host);
        self.links.forget_those_of(host);
        recorder::with(|recorder| recorder.hosts.set_status(host, Status::Dark));
        self.running[host].take();
    }

    /// The process is told to leave; once, since programs take a second word for more than the first.
    pub(super) fn tell_to_leave(&self, host: usize) {
        if let Some(running) = self.running[host].borrow_mut().as_mut()
            && !std::mem::replace(&mut running.is_told_to_leave, true)
        {
            running.process.signal(Signal::TERM);
        }
    }

    /// All processes are told to leave.
    pub(super) fn tell_all_to_leave(&self) {
        (0..self.running.len()).for_each(|host| self.tell_to_leave(host));
    }

    /// The process stops in its tracks, or goes on if no fault keeps it from that.
    pub(super) fn pause_as_told(&self, host: usize) {
        let signal = if is_paused(host) { Signal::STOP } else { Signal::CONT };
        if let Some(running) = &*self.running[host].borrow() {
            running.process.signal(signal);
        }
    }

    /// Starts a host again, unless another fault keeps it down. A process that has not left by now is killed, as by any
    /// orchestrator.
    pub(super) fn start_again(&self, host: usize) {
        let takes_down = |state: &FaultState| state.fault.what.family().takes_down();
        if recorder::with(|recorder| recorder.in_force.active_on(host).any(takes_down)) {
            return self.stay_down(host);
        }
        if self.running[host].borrow().is_some() {
            self.kill(host);
        }
        self.lead_to(host, None);
        recorder::with(|recorder| recorder.hosts.set_status(host, Status::Running));
        self.start_process(host);
    }

    /// Takes note of processes that have ended.
    pub(super) fn note_ended(&self) {
        for (host, running) in self.running.iter().enumerate() {
            let ended = running.borrow_mut().as_mut().and_then(|running| {
                let status = running.process.ended().ok().flatten()?;
                // A process that is told to leave before it listens may not handle signals yet, and is ended by this one.
                let ends_well = status.success() || running.listens.get() == Listens::NotYet;
                Some((status, running.is_told_to_leave, ends_well))
            });
            let Some((status, is_told_to_leave, ends_well)) = ended else { continue };
            running.take();
            self.stay_down(host);
            let name = &self.inputs.hosts[host].0;
            recorder::with(|recorder| {
                let now = recorder.now();
                recorder.told_of(host, now, |recorder| {
                    recorder.tell(Arc::new(ProcessEnded { code: status.code() }), None);
                });
                if !is_told_to_leave {
                    recorder.violate("no process ends unasked", format!("{name} ended with {status}"));
                } else if !ends_well {
                    recorder.violate(ENDS_WELL, format!("{name} ended with {status}"));
                }
            });
        }
    }

    /// What is down by more than one fault is dark while one of them is a power loss; else its machine says that nobody
    /// is there.
    fn stay_down(&self, host: usize) {
        let is_power_loss = |state: &FaultState| matches!(state.fault.what, FaultKind::PowerLoss { .. });
        let is_dark = recorder::with(|recorder| recorder.in_force.active_on(host).any(is_power_loss));
        let status = if is_dark { Status::Dark } else { Status::Stopped };
        recorder::with(|recorder| recorder.hosts.set_status(host, status));
        if !is_dark {
            self.lead_to(host, None);
        }
    }

    fn lead_to(&self, host: usize, address: Option<SocketAddr>) {
        self.proxies.iter().filter(|proxy| proxy.way.to == host).for_each(|proxy| proxy.lead_to(address));
    }

    fn start_process(&self, host: usize) {
        if let Err(error) = self.try_start(host) {
            let detail = format!("{} could not be started: {error}", self.inputs.hosts[host].0);
            recorder::with(|recorder| {
                let now = recorder.now();
                recorder.checks.reject_set_up(detail, now);
            });
        }
    }

    fn try_start(&self, host: usize) -> io::Result<()> {
        let Inputs { hosts, plan, program, tempo, logs } = self.inputs;
        let (name, as_process) = &hosts[host];
        let places = Places { caller: name, addresses: &self.addresses, plan, tempo };
        let arguments = (as_process.arguments)(&places);
        let file = |kind: &str| appended(&logs.join(format!("{name}.{kind}")));
        // The folder outlives the process, like the disks of a simulated host.
        let disk = logs.join(name);
        fs::create_dir_all(&disk)?;
        let (process, output) = Process::start(program, &arguments, &disk, file("err")?)?;
        let (listens, is_there) = (Rc::new(Cell::new(Listens::NotYet)), Rc::new(Cell::new(true)));
        let hears = Hears {
            host,
            reads: as_process.reads,
            listens: Rc::clone(&listens),
            is_there: Rc::clone(&is_there),
            proxies: self.proxies.iter().filter(|proxy| proxy.way.to == host).map(Rc::clone).collect(),
            begun: Rc::clone(&self.begun),
            tempo,
        };
        tokio::task::spawn_local(hears.all(Output::new(output, file("log")?)));
        self.running[host].replace(Some(Running { process, listens, is_there, is_told_to_leave: false }));
        if is_paused(host) {
            self.pause_as_told(host);
        }
        Ok(())
    }
}

/// Hears what one process says.
struct Hears {
    host: usize,
    reads: fn(&str) -> Option<Said>,
    listens: Rc<Cell<Listens>>,
    is_there: Rc<Cell<bool>>,
    proxies: Vec<Rc<Proxy>>,
    begun: Rc<Cell<Option<SystemTime>>>,
    tempo: Tempo,
}

impl Hears {
    async fn all(self, mut output: Output) {
        while let Some(line) = output.line().await {
            let Some(said) = (self.reads)(&line) else {
                let detail = format!("{line:.200}");
                recorder::with(|recorder| recorder.violate("a process says what can be read", detail));
                continue;
            };
            if let Some(listens) = said.listens.as_ref().filter(|_| self.is_there.get()) {
                self.lead_to(listens);
            }
            tell(self.host, said, self.begun.get(), self.tempo);
        }
    }

    fn lead_to(&self, listens: &[(u16, SocketAddr)]) {
        for proxy in &self.proxies {
            let here = listens.iter().find(|(port, _)| *port == proxy.port);
            proxy.lead_to(here.map(|(_, address)| *address));
        }
        self.listens.set(if listens.is_empty() { Listens::NoMore } else { Listens::Yes });
    }
}

fn is_paused(host: usize) -> bool {
    let pauses = |state: &FaultState| matches!(state.fault.what, FaultKind::Pause { .. });
    recorder::with(|recorder| recorder.in_force.active_on(host).any(pauses))
}

fn appended(path: &Path) -> io::Result<File> {
    OpenOptions::new().create(true).append(true).open(path)
}
