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
    pub(crate) url: String,
    /// All processes of the side; the first is the one that is driven.
    pub(crate) programs: Vec<Program>,
}

/// REST -> gRPC -> actor in two processes, beside axum -> tonic in two processes, which log nothing.
pub(crate) fn two_processes(options: &Options) -> Result<Field, Error> {
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
    let service1 = Program::start("tonic service1", &mut peer("tonic-service1", service1_address, options)?)?;
    let front = Program::start(
        "axum front",
        peer("axum-front", rest, options)?.args(["--service1", &format!("http://{service1_address}")]),
    )?;
    let peer = target.side("axum + tonic", rest, vec![front, service1])?;

    Ok(Field { title: "REST -> gRPC -> actor, two processes", node, peer })
}

/// REST -> memory -> actor in one process, beside an actix-web handler that does the work itself.
pub(crate) fn one_process(options: &Options) -> Result<Field, Error> {
    let target = Target { path: "/api/v1/name?name=test", answer: "{\"name\":\"TEST\"}" };

    let (whole, rest) = whole_node(options)?;
    let node = target.side("node", rest, vec![whole])?;

    let [rest] = addresses()?;
    let title = "actix-web handler";
    let handler = Program::start(title, peer("actix-web", rest, options)?.arg("--log").arg(log_path(title)))?;
    let peer = target.side(title, rest, vec![handler])?;

    Ok(Field { title: "REST -> memory -> actor, one process", node, peer })
}

/// A node with every service and both edges, just started, and the address of its REST edge.
pub(crate) fn whole_node(options: &Options) -> Result<(Program, SocketAddr), Error> {
    let [rest, grpc] = addresses()?;
    let program = Program::start(
        "node",
        node(options).args(["--http", &rest.to_string(), "--grpc", &grpc.to_string()]),
    )?;
    Ok((program, rest))
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
        Ok(Side { title, url: format!("http://{address}{}", self.path), programs })
    }
}

fn node(options: &Options) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_node"));
    command.args(["--workers", &options.workers().to_string()]);
    command
}

fn peer(role: &str, listen: SocketAddr, options: &Options) -> Result<Command, Error> {
    let mut command = Command::new(std::env::current_exe().map_err(Error::io("finding this program"))?);
    command.args([
        "peer",
        role,
        "--listen",
        &listen.to_string(),
        "--workers",
        &options.workers().to_string(),
    ]);
    Ok(command)
}

fn addresses<const N: usize>() -> Result<[SocketAddr; N], Error> {
    let addresses = (0..N).map(|_| free_address()).collect::<Result<Vec<_>, _>>()?;
    Ok(addresses.try_into().expect("as many as were asked for"))
}
