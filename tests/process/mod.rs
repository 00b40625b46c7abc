//! The built binary as a process, and HTTP/1.1 by hand.

#![allow(dead_code, reason = "each file of tests uses its part")]

use std::io::{BufRead as _, BufReader, Read as _, Write as _};
use std::net::{SocketAddr, TcpStream};
use std::process::{Child, ChildStdout, Command, ExitStatus, Output, Stdio};
use std::time::Duration;

use serde_json::Value;

/// The longest that a test waits for what must happen.
pub(crate) const SOON: Duration = Duration::from_secs(10);

/// A running node. Dropped, it is killed.
pub(crate) struct Node {
    child: Child,
    stdout: BufReader<ChildStdout>,
    /// The first line that it logged.
    pub(crate) started: Value,
}

/// What a node left behind.
pub(crate) struct Ended {
    pub(crate) status: ExitStatus,
    /// Every line that it logged after the first.
    pub(crate) lines: Vec<Value>,
}

pub(crate) fn command(arguments: &[&str]) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_node"));
    command.args(arguments).env_remove("RUST_LOG");
    command
}

/// Runs a node that is expected to end by itself.
pub(crate) fn output(arguments: &[&str]) -> Output {
    command(arguments).output().expect("the binary was built")
}

impl Node {
    /// Starts a node on free ports; `arguments` come after these and may override them.
    pub(crate) fn start(arguments: &[&str]) -> Self {
        Self::spawn(command(&["--http", "127.0.0.1:0", "--grpc", "127.0.0.1:0", "--log-format", "json"]).args(arguments))
    }

    pub(crate) fn spawn(command: &mut Command) -> Self {
        let mut child = command.stdout(Stdio::piped()).spawn().expect("the binary was built");
        let mut stdout = BufReader::new(child.stdout.take().expect("stdout is piped"));
        let mut line = String::new();
        stdout.read_line(&mut line).expect("a line comes");
        let started = serde_json::from_str(&line).unwrap_or_else(|error| panic!("{error}: {line:?}"));
        Self { child, stdout, started }
    }

    /// The bound address, `http` or `grpc`, as the log names it.
    pub(crate) fn address(&self, key: &str) -> String {
        self.started[key].as_str().unwrap_or_else(|| panic!("{key} in {}", self.started)).to_owned()
    }

    pub(crate) fn http(&self) -> Connection {
        Connection::open(&self.address("http"))
    }

    pub(crate) fn peer(&self, service: &str) -> String {
        let address = self.address("grpc");
        match address.strip_prefix("unix:") {
            Some(_) => format!("{service}={address}"),
            None => format!("{service}=http://{address}"),
        }
    }

    pub(crate) fn signal(&self, name: &str) {
        let id = self.child.id().to_string();
        let status = Command::new("kill").args(["-s", name, &id]).status().expect("kill is there");
        assert!(status.success(), "kill -s {name} {id}");
    }

    /// The next line that is logged.
    pub(crate) fn line(&mut self) -> Value {
        let mut line = String::new();
        self.stdout.read_line(&mut line).expect("a line comes");
        serde_json::from_str(&line).unwrap_or_else(|error| panic!("{error}: {line:?}"))
    }

    /// Waits until the node ends.
    pub(crate) fn wait(mut self) -> Ended {
        let mut rest = String::new();
        self.stdout.read_to_string(&mut rest).expect("the log is text");
        let status = self.child.wait().expect("it was started");
        let lines = rest.lines().map(|line| serde_json::from_str(line).unwrap_or_else(|error| panic!("{error}: {line}")));
        Ended { status, lines: lines.collect() }
    }

    /// Asks the node to stop, and waits until it has.
    pub(crate) fn stop(self) -> Ended {
        self.signal("TERM");
        self.wait()
    }
}

impl Drop for Node {
    fn drop(&mut self) {
        // It may have ended already.
        self.child.kill().ok();
        self.child.wait().ok();
    }
}

/// An HTTP/1.1 connection, byte by byte.
pub(crate) struct Connection(pub(crate) TcpStream);

/// What came back.
#[derive(Debug)]
pub(crate) struct Answer {
    pub(crate) status: u16,
    pub(crate) head: String,
    pub(crate) body: String,
}

impl Connection {
    pub(crate) fn open(address: &str) -> Self {
        let address: SocketAddr = address.parse().expect("a socket address");
        let stream = TcpStream::connect(address).expect("the node listens");
        stream.set_read_timeout(Some(SOON)).expect("a timeout can be set");
        Self(stream)
    }

    pub(crate) fn send(&mut self, bytes: impl AsRef<[u8]>) {
        self.0.write_all(bytes.as_ref()).expect("the node reads");
    }

    pub(crate) fn get(&mut self, target: &str, headers: &str) -> Answer {
        self.request("GET", target, headers, "")
    }

    pub(crate) fn request(&mut self, method: &str, target: &str, headers: &str, body: &str) -> Answer {
        self.send(format!("{method} {target} HTTP/1.1\r\nhost: node\r\n{headers}\r\n{body}"));
        self.answer(method != "HEAD")
    }

    /// Reads one answer; with its body, if it is to have one.
    pub(crate) fn answer(&mut self, body: bool) -> Answer {
        let mut head = Vec::new();
        while !head.ends_with(b"\r\n\r\n") {
            let mut byte = [0];
            self.0.read_exact(&mut byte).unwrap_or_else(|error| panic!("{error} after {head:?}"));
            head.push(byte[0]);
        }
        let head = String::from_utf8(head).expect("a head is ASCII").to_lowercase();
        let status = head[9..12].parse().expect("a status");
        let mut answer = Answer { status, head, body: String::new() };
        if body {
            let length = answer.header("content-length").map_or(0, |length| length.parse().expect("a length"));
            let mut bytes = vec![0; length];
            self.0.read_exact(&mut bytes).expect("the body comes");
            answer.body = String::from_utf8(bytes).expect("a body is UTF-8");
        }
        answer
    }

    /// Whether the node closes the connection, now that it has said all.
    pub(crate) fn is_closed(&mut self) -> bool {
        matches!(self.0.read(&mut [0]), Ok(0) | Err(_))
    }
}

impl Answer {
    /// The value of a header.
    pub(crate) fn header(&self, name: &str) -> Option<&str> {
        self.head.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(": "))
    }

    pub(crate) fn json(&self) -> Value {
        serde_json::from_str(&self.body).unwrap_or_else(|error| panic!("{error}: {:?}", self.body))
    }
}
