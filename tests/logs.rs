//! The log of a node, as who reads it sees it, and as who does not.

mod process;

use std::collections::BTreeMap;
use std::io::{Read as _, Write as _};
use std::os::fd::OwnedFd;
use std::os::unix::net::UnixStream;
use std::process::{Command, ExitStatus, Stdio};
use std::time::Duration;

use process::frames::post;
use process::http2::{Client, SERVICE_1};
use process::{Connection, Node, SOON, command};
use serde_json::Value;
use tokio::time::Instant;

/// How much longer than its drain the end of a node may take.
const END_MAX: Duration = Duration::from_secs(2);

/// What is told of one value, in bytes.
const TOLD_MAX: usize = 1024;

/// So many requests leave more lines than a node keeps while nobody reads them: three each, of which two have the name.
const TOO_MANY: usize = 5_000;

/// The most memory of a node that has seen calls with large names, in bytes.
const MEMORY_MAX: u64 = 64 * 1024 * 1024;

fn greeting(name: &str) -> String {
    format!("/api/v1/say-hello?name={name}")
}

/// Asks for so many greetings of a name that is as long as a value is told, without waiting for each.
fn ask(http: &mut Connection, requests: usize) {
    let request = format!("GET {} HTTP/1.1\r\nhost: node\r\n\r\n", greeting(&"x".repeat(TOLD_MAX)));
    for _ in 0..requests / 10 {
        http.send(request.repeat(10));
        for _ in 0..10 {
            assert_eq!(http.answer(true).status, 200);
        }
    }
}

/// A node, and what tells when it has ended without a look at its log.
struct Unread {
    node: Node,
    stderr: UnixStream,
}

impl Unread {
    fn start(arguments: &[&str]) -> Self {
        let (stderr, its) = UnixStream::pair().expect("a pair of sockets can be made");
        stderr.set_read_timeout(Some(SOON)).expect("a timeout can be set");
        let mut node = command(&["--http", "127.0.0.1:0", "--grpc", "127.0.0.1:0"]);
        let node = Node::spawn(node.args(arguments).stderr(OwnedFd::from(its)));
        Self { node, stderr }
    }

    /// Asks the node to stop, waits until it has, and then reads its log.
    fn stop(mut self) -> (Duration, ExitStatus, String) {
        let asked = Instant::now();
        self.node.signal("TERM");
        let mut said = String::new();
        self.stderr.read_to_string(&mut said).expect("it ends soon");
        let took = asked.elapsed();
        assert_eq!(said, "");
        let (status, log) = self.node.wait_text();
        (took, status, log)
    }
}

#[test]
fn a_log_that_nobody_reads_does_not_hold_up_the_end() {
    let unread = Unread::start(&["--drain-timeout", "1s"]);
    let mut http = unread.node.http();
    ask(&mut http, TOO_MANY);
    let (took, status, _) = unread.stop();
    assert_eq!(status.code(), Some(0));
    assert!(took < Duration::from_secs(1) + END_MAX, "{took:?}");
}

#[test]
fn a_log_that_nobody_reads_does_not_hold_up_a_second_signal() {
    let unread = Unread::start(&["--drain-timeout", "1h"]);
    let (mut http, _silent) = (unread.node.http(), Client::open(&unread.node.address("grpc")));
    ask(&mut http, TOO_MANY);
    unread.node.signal("TERM");
    assert!(http.is_closed(), "the drain has begun");
    let (took, status, _) = unread.stop();
    assert_eq!(status.code(), Some(130));
    assert!(took < END_MAX, "{took:?}");
}

#[test]
fn a_log_that_somebody_has_closed_does_not_hold_up_the_end() {
    let mut node = Unread::start(&[]);
    node.node.close_log();
    ask(&mut node.node.http(), 100);
    let (took, status, _) = node.stop();
    assert_eq!(status.code(), Some(0));
    assert!(took < END_MAX, "{took:?}");
}

#[test]
fn words_that_nobody_reads_do_not_hold_up_the_end() {
    let (mut stderr, _nobody_reads) = UnixStream::pair().expect("a pair of sockets can be made");
    stderr.set_nonblocking(true).expect("it can be set");
    while stderr.write(&[b' '; 4096]).is_ok() {}
    stderr.set_nonblocking(false).expect("it can be set");
    let (ours, its) = UnixStream::pair().expect("a pair of sockets can be made");
    ours.set_read_timeout(Some(SOON)).expect("a timeout can be set");
    let mut wrong = command(&["--http", "192.0.2.1:1", "--grpc", "none"]);
    let mut wrong = wrong.stdout(OwnedFd::from(its)).stderr(OwnedFd::from(stderr));
    let mut child = wrong.spawn().expect("the binary was built");
    wrong = wrong.stdout(Stdio::null()).stderr(Stdio::null());
    let said = (&ours).read(&mut [0]).expect("it ends soon");
    assert_eq!((said, child.wait().expect("it was started").code()), (0, Some(69)), "{wrong:?}");
}

#[test]
fn lines_that_do_not_fit_are_dropped_and_counted() {
    let unread = Unread::start(&[]);
    ask(&mut unread.node.http(), TOO_MANY);
    unread.node.signal("TERM");
    let lines = unread.node.wait().lines;
    let dropped: u64 = lines.iter().filter(|line| line["target"] == "node::log").map(count).sum();
    let others = lines.iter().filter(|line| line["target"] != "node::log").count();
    assert!(dropped > 0);
    // Three for each request, and two of the drain.
    assert_eq!(others as u64 + dropped, 3 * TOO_MANY as u64 + 2);
}

fn count(report: &Value) -> u64 {
    assert_eq!(report["level"], "WARN", "{report}");
    report["lines"].as_u64().unwrap_or_else(|| panic!("a number in {report}"))
}

#[test]
fn calls_with_large_names_leave_memory_as_it_was() {
    let unread = Unread::start(&[]);
    let mut client = Client::open(&unread.node.address("grpc"));
    let message = name_message(&"x".repeat(1_000_000));
    for _ in 0..200 {
        assert_eq!(client.call(post(SERVICE_1), &message).code(), Some(0));
    }
    let memory = unread.node.memory();
    assert!(memory < MEMORY_MAX, "{memory} bytes");
}

/// The gRPC message of a request that says `name` in its field 1.
fn name_message(name: &str) -> Vec<u8> {
    let mut message = vec![0x0a];
    let mut length = name.len();
    while length >= 0x80 {
        message.push((length & 0x7f) as u8 | 0x80);
        length >>= 7;
    }
    message.push(u8::try_from(length).expect("less than 0x80"));
    message.extend_from_slice(name.as_bytes());
    let mut framed = vec![0];
    framed.extend_from_slice(&u32::try_from(message.len()).expect("it fits").to_be_bytes());
    framed.extend_from_slice(&message);
    framed
}

#[test]
#[expect(clippy::disallowed_methods, reason = "clients beside the node, outside of any simulation")]
fn every_line_is_there_whole_and_those_of_a_thread_are_in_order() {
    const CLIENTS: usize = 8;
    const REQUESTS: usize = 250;
    let node = Node::start(&["--workers", "4"]);
    let clients = (0..CLIENTS).map(|client| {
        let mut http = node.http();
        std::thread::spawn(move || {
            for request in 0..REQUESTS {
                let answer = http.get(&greeting("a"), &format!("x-request-id: {client}-{request}\r\n"));
                assert_eq!(answer.status, 200);
            }
        })
    });
    // A reader that is slower than the node must not tear lines apart.
    let clients: Vec<_> = clients.collect();
    clients.into_iter().for_each(|client| client.join().expect("all is answered"));
    let lines = node.stop().lines;
    let mut asked = BTreeMap::<&str, Vec<&str>>::new();
    for id in lines.iter().filter_map(|line| line["request_id"].as_str()) {
        let (client, request) = id.split_once('-').expect("an id of this test");
        asked.entry(client).or_default().push(request);
    }
    let expected: Vec<_> = (0..REQUESTS)
        .flat_map(|request| [request.to_string(), request.to_string(), request.to_string()])
        .collect();
    assert_eq!(asked.len(), CLIENTS);
    for (client, requests) in asked {
        assert_eq!(requests, expected, "of client {client}");
    }
}

#[test]
fn what_a_client_sends_is_cut_in_both_formats() {
    let (path, name) = ("/".to_owned() + &"y".repeat(TOLD_MAX), "x".repeat(TOLD_MAX + 1));
    let told =
        [("path", format!("/{}…(+1 bytes)", &path[2..])), ("name", format!("{}…(+1 bytes)", &name[1..]))];
    for format in ["json", "text"] {
        let node = Node::start(&["--log-format", format]);
        let mut http = Connection::open(&address(&node));
        assert_eq!(http.get(&path, "").status, 404);
        assert_eq!(http.get(&greeting(&name.to_lowercase()), "").status, 200);
        drop(http);
        node.signal("TERM");
        let (status, log) = node.wait_text();
        assert!(status.success());
        for (key, value) in &told {
            let value =
                if *key == "name" { value.to_uppercase().replace("BYTES", "bytes") } else { value.clone() };
            assert!(log.contains(&value), "{key} of {value} in {log}");
        }
        assert!(!log.contains(&path) && !log.to_lowercase().contains(&name));
    }
}

#[test]
fn a_log_has_the_format_that_it_is_told_and_is_json_where_no_terminal_reads_it() {
    for (flags, is_json) in [
        (&[][..], true),
        (&["--log-format", "auto"], true),
        (&["--log-format", "json"], true),
        (&["--log-format", "text"], false),
    ] {
        let started = Node::start(flags).started;
        assert_eq!(serde_json::from_str::<Value>(&started).is_ok(), is_json, "{flags:?}: {started}");
    }
}

/// Where REST is served, in either format.
fn address(node: &Node) -> String {
    let (_, rest) = node.started.split_once("http").expect("it names its address");
    let is_part = |letter: &char| letter.is_ascii_digit() || matches!(letter, '.' | ':');
    rest.chars().skip_while(|letter| !letter.is_ascii_digit()).take_while(is_part).collect()
}

#[test]
fn a_client_forges_no_line_and_moves_no_cursor() {
    let node = Node::start(&["--log-format", "text"]);
    let mut http = Connection::open(&address(&node));
    let name = "a%0a2026-01-01T00:00:00.000000Z%20%20INFO%20node:%20forged%1b%5b2J%0d%c2%9b";
    assert_eq!(http.get(&greeting(name), "x-request-id: forger\r\n").status, 200);
    drop(http);
    node.signal("TERM");
    let (_, log) = node.wait_text();
    assert!(log.chars().all(|letter| letter == '\n' || !letter.is_control()), "{log:?}");
    let lines: Vec<_> = log.lines().filter(|line| line.contains("FORGED")).collect();
    assert_eq!(lines.len(), 2, "{log}");
    for line in lines {
        assert!(line.contains(r"name="), "{line}");
        assert!(
            line.contains(r#""A\n2026-01-01T00:00:00.000000Z  INFO NODE: FORGED\u{1b}[2J\r\u{9b}""#),
            "{line}"
        );
    }
}

/// A node that is told by `how` what to do with the signal of a terminal that closes.
fn start_with(how: &str) -> Node {
    let node = command(&["--http", "127.0.0.1:0", "--grpc", "127.0.0.1:0", "--drain-timeout", "1h"]);
    let mut given = Command::new("env");
    given.arg(how).arg(node.get_program()).args(node.get_args());
    node.get_envs().for_each(|(name, _)| {
        given.env_remove(name);
    });
    Node::spawn(&mut given)
}

#[test]
fn a_terminal_that_closes_drains_a_node_however_often_it_says_so() {
    let mut node = start_with("--default-signal=HUP");
    let silent = Client::open(&node.address("grpc"));
    node.signal("HUP");
    node.line_that_says("draining");
    node.signal("HUP");
    silent.ended();
    assert_eq!(node.wait().status.code(), Some(0));
}

#[test]
fn a_node_that_was_started_not_to_hear_of_its_terminal_serves_on() {
    let node = start_with("--ignore-signal=HUP");
    node.signal("HUP");
    assert_eq!(node.http().get(&greeting("a"), "connection: close\r\n").status, 200);
    let lines = node.stop().lines;
    let served = lines.iter().position(|line| line["target"] == "access");
    let drained = lines.iter().position(|line| line["message"] == "draining");
    assert!(served.is_some() && served < drained, "{lines:?}");
}
