//! The built binary as a process, and HTTP/1.1 by hand. Every wait has a bound.

#![allow(dead_code, unused_imports, reason = "each file of tests uses its part")]

pub(crate) mod http2;
mod soon;

use std::io::{self, BufRead as _, BufReader, Read as _, Write as _};
use std::net::{SocketAddr, TcpStream};
use std::os::fd::OwnedFd;
use std::os::unix::net::UnixStream;
use std::process::{Child, Command, ExitStatus, Stdio};
use std::thread::sleep;
use std::time::Duration;

use serde_json::Value;
use tokio::time::Instant;

pub(crate) use self::http2::frames;
pub(crate) use self::soon::SOON;

/// Asks every now and then whether it holds, until it does.
#[track_caller]
#[expect(clippy::disallowed_methods, reason = "this runs outside of any simulation")]
pub(crate) fn wait_until(mut holds: impl FnMut() -> bool) {
    let until = Instant::now() + SOON;
    while !holds() {
        assert!(Instant::now() < until, "it does not come about");
        sleep(Duration::from_millis(5));
    }
}

/// A running node. Dropped, it is killed.
pub(crate) struct Node {
    child: Killed,
    stdout: BufReader<UnixStream>,
    /// The first line that it logged.
    pub(crate) started: String,
}

/// What a node left behind.
pub(crate) struct Ended {
    pub(crate) status: ExitStatus,
    /// Every line that it logged after those that were read before.
    pub(crate) lines: Vec<Value>,
}

/// What a program that ended by itself has said.
#[derive(Debug)]
pub(crate) struct Said {
    pub(crate) code: Option<i32>,
    pub(crate) stdout: String,
    pub(crate) stderr: String,
}

/// The node with nothing of this environment's own that it would listen to.
#[expect(clippy::disallowed_methods, reason = "a test or bench drives programs from outside")]
pub(crate) fn command(arguments: &[&str]) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_node"));
    command.args(arguments).env_remove("RUST_LOG");
    let variables = std::env::vars_os().map(|(name, _)| name);
    let own = variables.filter(|name| name.as_encoded_bytes().starts_with(b"NODE_"));
    own.for_each(|name| {
        command.env_remove(name);
    });
    command
}

/// Runs a node that is expected to end by itself.
pub(crate) fn output(command: &mut Command) -> Said {
    let (child, mut stdout) = spawn(command.stderr(Stdio::piped()));
    let mut child = Killed(child);
    let mut said = String::new();
    stdout.read_to_string(&mut said).expect("it ends soon, and says text");
    let mut stderr = String::new();
    let errors = child.0.stderr.take().expect("stderr is piped");
    BufReader::new(errors).read_to_string(&mut stderr).expect("an error is text");
    let status = child.0.wait().expect("it was started");
    Said { code: status.code(), stdout: said, stderr }
}

/// The standard output is a socket, since reading from that can have a bound.
fn spawn(command: &mut Command) -> (Child, UnixStream) {
    let (ours, its) = UnixStream::pair().expect("a pair of sockets can be made");
    ours.set_read_timeout(Some(SOON)).expect("a timeout can be set");
    let child = command.stdout(OwnedFd::from(its)).spawn().expect("the binary was built");
    // The command holds the other end, too, and would keep it open.
    command.stdout(Stdio::null()).stderr(Stdio::inherit());
    (child, ours)
}

/// Does not outlive the test.
struct Killed(Child);

impl Drop for Killed {
    fn drop(&mut self) {
        // It may have ended already.
        self.0.kill().ok();
        self.0.wait().ok();
    }
}

impl Node {
    /// Starts a node on free ports.
    pub(crate) fn start(arguments: &[&str]) -> Self {
        Self::start_at("127.0.0.1:0", arguments)
    }

    /// Starts a node with its gRPC edge at `grpc`.
    pub(crate) fn start_at(grpc: &str, arguments: &[&str]) -> Self {
        Self::spawn(command(&["--http", "127.0.0.1:0", "--grpc", grpc]).args(arguments))
    }

    pub(crate) fn spawn(command: &mut Command) -> Self {
        let (child, stdout) = spawn(command);
        let mut node = Self { child: Killed(child), stdout: BufReader::new(stdout), started: String::new() };
        node.started = node.text_line();
        node
    }

    /// The bound address, `http` or `grpc`, as the log names it.
    pub(crate) fn address(&self, key: &str) -> String {
        let started = json(&self.started);
        started[key].as_str().unwrap_or_else(|| panic!("{key} in {started}")).to_owned()
    }

    pub(crate) fn http(&self) -> Connection {
        Connection::open(&self.address("http"))
    }

    /// What `--peer` of a node that calls `service` here is to say.
    pub(crate) fn flag_for(&self, service: &str) -> String {
        let address = self.address("grpc");
        match address.strip_prefix("unix:") {
            Some(_) => format!("{service}={address}"),
            None => format!("{service}=http://{address}"),
        }
    }

    /// How many bytes of memory it has (Linux' `proc(5)`: resident pages).
    pub(crate) fn memory(&self) -> u64 {
        let statm = std::fs::read_to_string(format!("/proc/{}/statm", self.child.0.id()));
        let statm = statm.expect("the node runs");
        let pages = statm.split(' ').nth(1).and_then(|pages| pages.parse::<u64>().ok());
        pages.expect("the second number of statm") * 4096
    }

    pub(crate) fn signal(&self, name: &str) {
        let id = self.child.0.id().to_string();
        let status = Command::new("kill").args(["-s", name, &id]).status().expect("kill is there");
        assert!(status.success(), "kill -s {name} {id}");
    }

    /// The next line that is logged.
    pub(crate) fn line(&mut self) -> Value {
        json(&self.text_line())
    }

    pub(crate) fn text_line(&mut self) -> String {
        let mut line = String::new();
        self.stdout.read_line(&mut line).expect("a line comes");
        line
    }

    /// The next line that is logged with this message.
    pub(crate) fn line_that_says(&mut self, message: &str) -> Value {
        loop {
            let line = self.line();
            if line["message"] == message {
                return line;
            }
        }
    }

    /// Closes this end of the log.
    pub(crate) fn close_log(&mut self) {
        let (closed, _) = UnixStream::pair().expect("a pair of sockets can be made");
        self.stdout = BufReader::new(closed);
    }

    /// Waits until the node ends.
    pub(crate) fn wait(self) -> Ended {
        let (status, rest) = self.wait_text();
        Ended { status, lines: rest.lines().map(json).collect() }
    }

    /// Waits until the node ends. What it logged until then is returned as it is.
    pub(crate) fn wait_text(mut self) -> (ExitStatus, String) {
        let mut rest = String::new();
        self.stdout.read_to_string(&mut rest).expect("it ends soon, and its log is text");
        (self.child.0.wait().expect("it was started"), rest)
    }

    /// Asks the node to stop, and waits until it has.
    pub(crate) fn stop(self) -> Ended {
        self.signal("TERM");
        self.wait()
    }
}

fn json(line: &str) -> Value {
    serde_json::from_str(line).unwrap_or_else(|error| panic!("{error}: {line:?}"))
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
        Self::try_open(address).expect("the node listens")
    }

    pub(crate) fn try_open(address: &str) -> io::Result<Self> {
        let address: SocketAddr = address.parse().expect("a socket address");
        let stream = TcpStream::connect(address)?;
        stream.set_read_timeout(Some(SOON))?;
        Ok(Self(stream))
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
            let length =
                answer.header("content-length").map_or(0, |length| length.parse().expect("a length"));
            let mut bytes = vec![0; length];
            self.0.read_exact(&mut bytes).expect("the body comes");
            answer.body = String::from_utf8(bytes).expect("a body is UTF-8");
        }
        answer
    }

    /// The first bytes that come; none if the connection ends before.
    pub(crate) fn said(&mut self) -> Option<String> {
        let mut bytes = [0; 64];
        let count = self.0.read(&mut bytes).ok().filter(|count| *count > 0)?;
        Some(String::from_utf8_lossy(&bytes[..count]).into_owned())
    }

    /// Whether the node closes the connection, now that it has said all.
    pub(crate) fn is_closed(&mut self) -> bool {
        match self.0.read(&mut [0]) {
            Ok(count) => count == 0,
            Err(error) => error.kind() != io::ErrorKind::WouldBlock,
        }
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

/// The access line of a call or a request has these keys, and no others.
#[track_caller]
pub(crate) fn assert_access_keys(line: &Value) {
    let keys: Vec<_> = line.as_object().expect("an object").keys().map(String::as_str).collect();
    let mut expected = [
        "timestamp",
        "level",
        "target",
        "message",
        "request_id",
        "service",
        "method",
        "path",
        "status",
        "duration_ms",
        "bytes",
        "peer",
    ];
    expected.sort_unstable();
    assert_eq!(keys, expected);
}
