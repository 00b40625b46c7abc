//! Who competes: the node's processes, and those of the hand-written peers that do the same.

use std::net::SocketAddr;
use std::process::Command;

use crate::error::Error;
use crate::options::Options;
use crate::program::{Program, free_address, log_path};

/// Two sides that give the same answer to the same request.
#[derive(Debug)]
pub(crate) struct Field {
    pub(crate) title: &'static str,
    pub(crate) node: Side,
    pub(crate) peer: Side,
}

#[derive(Debug)]
pub(crate) struct Side {
    pub(crate) title: &'static str,
    pub(crate) address: SocketAddr,
    pub(crate) path: &'static str,
    /// All processes of the side; the first is the one that is driven.
    pub(crate) programs: Vec<Program>,
}

/// What is compared, and the ratio to be reached.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Contest {
    pub(crate) title: &'static str,
    pub(crate) ratio_min: f64,
    /// Whether the peer writes a line for each request, as the node does (it writes three); else it writes none.
    peer_logs: bool,
    start: fn(&'static str, bool, &Options) -> Result<Field, Error>,
}

/// All contests, in the order of the table.
pub(crate) fn contests() -> [Contest; 4] {
    let contest = |title, ratio_min, peer_logs, start| Contest { title, ratio_min, peer_logs, start };
    [
        contest("two processes; peer logs nothing", 1.25, false, two_processes),
        contest("two processes; peer logs accesses", 1.25, true, two_processes),
        contest("one process; peer logs nothing", 0.7, false, one_process),
        contest("one process; peer logs accesses", 0.8, true, one_process),
    ]
}

impl Contest {
    /// Starts both sides.
    pub(crate) fn field(&self, options: &Options) -> Result<Field, Error> {
        (self.start)(self.title, self.peer_logs, options)
    }
}

impl Side {
    pub(crate) fn url(&self) -> String {
        format!("http://{}{}", self.address, self.path)
    }
}

/// REST -> gRPC -> actor in two processes, beside axum -> tonic in two processes.
fn two_processes(title: &'static str, peer_logs: bool, options: &Options) -> Result<Field, Error> {
    let target = Target { path: "/api/v1/say-hello?name=test", answer: "\"Hello, TEST!\"" };

    let [service1_address, rest, grpc] = addresses()?;
    let service1 = Program::start(
        "node service1",
        node(options)
            .args(["--services", "service1", "--http", "none"])
            .args(["--grpc", &service1_address.to_string()]),
    )?;
    let service2 = Program::start(
        "node service2",
        node(options)
            .args(["--services", "service2", "--http", &rest.to_string()])
            .args(["--grpc", &grpc.to_string()])
            .args(["--peer", &format!("service1=http://{service1_address}")]),
    )?;
    let node = target.side("node + node", rest, vec![service2, service1])?;

    let [service1_address, rest] = addresses()?;
    let service1 = Peer { title: "tonic service1", role: "tonic-service1", logs: peer_logs };
    let service1 = service1.start(service1_address, options, &[])?;
    let front = Peer { title: "axum front", role: "axum-front", logs: peer_logs };
    let front = front.start(rest, options, &["--service1", &format!("http://{service1_address}")])?;
    let peer = target.side("axum + tonic", rest, vec![front, service1])?;

    Ok(Field { title, node, peer })
}

/// REST -> memory -> actor in one process, beside an actix-web handler that does the work itself.
fn one_process(title: &'static str, peer_logs: bool, options: &Options) -> Result<Field, Error> {
    let target = Target { path: "/api/v1/name?name=test", answer: "{\"name\":\"TEST\"}" };

    let (whole, rest, _) = whole_node(options)?;
    let node = target.side("node", rest, vec![whole])?;

    let [rest] = addresses()?;
    let handler = Peer { title: "actix-web handler", role: "actix-web", logs: peer_logs };
    let peer = target.side(handler.title, rest, vec![handler.start(rest, options, &[])?])?;

    Ok(Field { title, node, peer })
}

/// A node with every service and both edges, just started, and the addresses of its edges for REST and gRPC.
pub(crate) fn whole_node(options: &Options) -> Result<(Program, SocketAddr, SocketAddr), Error> {
    let [rest, grpc] = addresses()?;
    let program = Program::start(
        "node",
        node(options).args(["--http", &rest.to_string(), "--grpc", &grpc.to_string()]),
    )?;
    Ok((program, rest, grpc))
}

/// What a side is asked, and has to answer before it is driven.
struct Target {
    path: &'static str,
    answer: &'static str,
}

impl Target {
    fn side(
        &self,
        title: &'static str,
        address: SocketAddr,
        mut programs: Vec<Program>,
    ) -> Result<Side, Error> {
        programs[0].wait_for_answer(address, self.path, self.answer)?;
        Ok(Side { title, address, path: self.path, programs })
    }
}

fn node(options: &Options) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_node"));
    command.args(["--workers", &options.workers().to_string()]);
    command
}

/// A hand-written service.
struct Peer {
    title: &'static str,
    /// What this program calls it.
    role: &'static str,
    logs: bool,
}

impl Peer {
    fn start(&self, listen: SocketAddr, options: &Options, more: &[&str]) -> Result<Program, Error> {
        let mut command = Command::new(std::env::current_exe().map_err(Error::io("finding this program"))?);
        command.args(["peer", self.role, "--listen", &listen.to_string()]);
        command.args(["--workers", &options.workers().to_string()]).args(more);
        if self.logs {
            command.arg("--log").arg(log_path(self.title));
        }
        Program::start(self.title, &mut command)
    }
}

fn addresses<const N: usize>() -> Result<[SocketAddr; N], Error> {
    let addresses = (0..N).map(|_| free_address()).collect::<Result<Vec<_>, _>>()?;
    Ok(addresses.try_into().expect("as many as were asked for"))
}
