//! The node as a process: what it binds, how it joins others, and how it ends.

mod process;

use std::io::Write as _;
use std::net::TcpListener;
use std::os::unix::net::UnixListener;
use std::process::Command;
use std::time::Duration;

use process::frames::post;
use process::http2::{ANSWER_1, ANSWER_2, Client, SERVICE_1, SERVICE_2, SlowServer, TEST};
use process::{Connection, Node, SOON, command, output, wait_until};
use serde_json::Value;
use tokio::time::Instant;

const GREETING: &str = "/api/v1/say-hello?name=test";

/// A drain that no test lives to see the end of.
const FOR_EVER: [&str; 2] = ["--drain-timeout", "1h"];

/// Exit code 69, and one line on stderr that has `words`; nothing on stdout, for nothing has started.
#[track_caller]
fn assert_unavailable(arguments: &[&str], words: &[&str]) {
    let said = output(&mut command(arguments));
    assert_eq!((said.code, said.stdout.as_str(), said.stderr.lines().count()), (Some(69), "", 1), "{said:?}");
    for word in words {
        assert!(said.stderr.contains(word), "{word} in {said:?}");
    }
}

/// The lines that belong to one request, by what logged them.
fn targets<'a>(lines: &'a [Value], id: &str) -> Vec<&'a str> {
    let lines = lines.iter().filter(|line| line["request_id"] == id);
    let mut targets: Vec<_> = lines.filter_map(|line| line["target"].as_str()).collect();
    targets.sort_unstable();
    targets
}

#[test]
fn a_node_has_room_for_more_clients_than_its_shell_allows_files() {
    let program = command(&[]).get_program().to_owned();
    let mut limited = Command::new("sh");
    limited.args(["-c", "ulimit -S -n 64; exec \"$0\" \"$@\""]).arg(program);
    let node = Node::spawn(limited.args(["--http", "127.0.0.1:0", "--grpc", "none"]).env_remove("RUST_LOG"));
    let idle: Vec<_> = (0..100).map(|_| node.http()).collect();
    assert_eq!(node.http().get("/healthz", "").status, 200, "beside {}", idle.len());
}

#[test]
fn the_first_line_names_each_address_with_its_real_port() {
    let node = Node::start(&["--workers", "3"]);
    let started: Value = serde_json::from_str(&node.started).expect("JSON");
    assert_eq!(
        (&started["message"], &started["state"], &started["services"]),
        (&"node started".into(), &"started".into(), &"service1,service2".into())
    );
    assert_eq!(started["workers"], 3);
    for key in ["http", "grpc"] {
        let address = node.address(key);
        let port = address.strip_prefix("127.0.0.1:").unwrap_or_else(|| panic!("{address}"));
        assert_ne!(port, "0");
        Connection::open(&address);
    }
    let node = Node::spawn(&mut command(&["--http", "none", "--grpc", "127.0.0.1:0"]));
    assert_eq!(node.address("http"), "none");
    let node = Node::start_at("none", &[]);
    assert_eq!(node.address("grpc"), "none");
    assert_eq!(node.http().get(GREETING, "").body, r#""Hello, TEST!""#);
}

#[test]
fn a_service_that_is_hosted_here_is_not_called_at_its_address() {
    const LIST: [&str; 2] = ["--peer", "service1=http://127.0.0.1:1"];
    let whole = Node::start(&LIST);
    assert_eq!(whole.http().get(GREETING, "").body, r#""Hello, TEST!""#);
    let part = Node::start(&[&["--services", "service2"], &LIST[..]].concat());
    assert_eq!(part.http().get(GREETING, "").status, 503);
}

#[test]
fn an_address_that_cannot_be_bound_is_named_and_nothing_is_half_started() {
    let taken = TcpListener::bind("127.0.0.1:0").expect("a port is free");
    let port = taken.local_addr().expect("an address").port();
    // Ports of this other address of the machine are given out to nobody.
    let (taken, free) = (format!("127.0.0.1:{port}"), format!("127.0.0.2:{port}"));
    assert_unavailable(
        &["--http", &taken, "--grpc", &free],
        &["--http", &taken, "in use", "expected an address"],
    );
    assert_unavailable(
        &["--http", &free, "--grpc", &taken],
        &["--grpc", &taken, "in use", "expected an address"],
    );
    TcpListener::bind(&free).expect("the other address is free");
    assert_unavailable(
        &["--http", &free, "--grpc", "192.0.2.1:1"],
        &["--grpc", "192.0.2.1:1", "expected an address"],
    );
    let folder = tempfile::tempdir().expect("a folder can be made");
    let socket = format!("unix:{}/socket", folder.path().display());
    assert_unavailable(&["--http", &taken, "--grpc", &socket], &["--http"]);
    assert!(!folder.path().join("socket").exists());
    let nowhere = format!("unix:{}/no/folder", folder.path().display());
    assert_unavailable(&["--http", "127.0.0.1:0", "--grpc", &nowhere], &["--grpc", &nowhere]);
}

#[test]
fn a_unix_socket_is_served_and_removed_at_the_end() {
    let folder = tempfile::tempdir().expect("a folder can be made");
    let path = folder.path().join("socket");
    let address = format!("unix:{}", path.display());
    let node = Node::start_at(&address, &[]);
    assert_eq!(node.address("grpc"), address);
    let front = Node::start(&["--services", "service2", "--peer", &node.flag_for("service1")]);
    assert_eq!(front.http().get(GREETING, "").body, r#""Hello, TEST!""#);
    assert_unavailable(&["--http", "127.0.0.1:0", "--grpc", &address], &["--grpc", &address, "in use"]);
    assert_eq!(front.http().get(GREETING, "").body, r#""Hello, TEST!""#, "the live one was not harmed");
    assert!(front.stop().status.success());
    assert!(node.stop().status.success());
    assert!(!path.exists());
}

#[test]
fn only_the_socket_of_a_dead_process_is_replaced() {
    let folder = tempfile::tempdir().expect("a folder can be made");
    let path = folder.path().join("socket");
    let address = format!("unix:{}", path.display());
    let killed = Node::start_at(&address, &[]);
    killed.signal("KILL");
    assert!(!killed.wait().status.success());
    assert!(path.exists());
    let node = Node::start_at(&address, &[]);
    let front = Node::start(&["--services", "service2", "--peer", &node.flag_for("service1")]);
    assert_eq!(front.http().get(GREETING, "").body, r#""Hello, TEST!""#);
    drop((node, front));
    let file = folder.path().join("file");
    std::fs::write(&file, "precious").expect("a file can be written");
    let at_file = format!("unix:{}", file.display());
    assert_unavailable(&["--http", "127.0.0.1:0", "--grpc", &at_file], &["--grpc", &at_file, "in use"]);
    assert_eq!(std::fs::read_to_string(&file).expect("it is there"), "precious");
}

#[test]
fn a_socket_that_took_the_place_of_its_own_is_left_alone() {
    let folder = tempfile::tempdir().expect("a folder can be made");
    let path = folder.path().join("socket");
    let node = Node::start_at(&format!("unix:{}", path.display()), &[]);
    std::fs::remove_file(&path).expect("the node made it");
    let _successor = UnixListener::bind(&path).expect("a folder of our own");
    assert!(node.stop().status.success());
    assert!(path.exists());
}

#[test]
fn a_node_that_ran_out_of_file_descriptors_serves_again_when_there_are_some() {
    let node = command(&["--http", "127.0.0.1:0", "--grpc", "none", "--workers", "1"]);
    let mut limited = Command::new("sh");
    limited.args(["-c", "ulimit -n 48 && exec \"$0\" \"$@\""]).arg(node.get_program()).args(node.get_args());
    node.get_envs().for_each(|(name, _)| {
        limited.env_remove(name);
    });
    let mut node = Node::spawn(&mut limited);
    let connections: Vec<_> = (0..64).map(|_| node.http()).collect();
    let line = node.line_that_says("cannot accept connections");
    assert_eq!((&line["level"], &line["target"]), (&"ERROR".into(), &"node".into()), "{line}");
    drop(connections);
    assert_eq!(node.http().get(GREETING, "").body, r#""Hello, TEST!""#);
    assert!(node.stop().status.success());
}

fn assert_greets_with_one_id(address: &str) {
    let names = Node::start_at(address, &["--services", "service1"]);
    let greetings = Node::start(&["--services", "service2", "--peer", &names.flag_for("service1")]);
    let answer = greetings.http().get(GREETING, "x-request-id: across\r\n");
    assert_eq!((answer.status, answer.body.as_str()), (200, r#""Hello, TEST!""#));
    assert_eq!(answer.header("x-request-id"), Some("across"));
    let fresh = greetings.http().get(GREETING, "").header("x-request-id").expect("an id").to_owned();
    let mut client = Client::open(&greetings.address("grpc"));
    let mut request = post(SERVICE_2);
    request.headers_mut().insert("request_id", "by-grpc".try_into().expect("a value"));
    assert_eq!(client.call(request, TEST).body, ANSWER_2);
    drop(client);
    let (greetings, names) = (greetings.stop().lines, names.stop().lines);
    for id in ["across", &fresh, "by-grpc"] {
        assert_eq!(targets(&greetings, id), ["access", "actors::service2"], "{id}");
        assert_eq!(targets(&names, id), ["access", "actors::service1"], "{id}");
    }
}

#[test]
fn two_processes_answer_with_one_request_id_over_tcp() {
    assert_greets_with_one_id("127.0.0.1:0");
}

#[test]
fn two_processes_answer_with_one_request_id_over_a_unix_socket() {
    let folder = tempfile::tempdir().expect("a folder can be made");
    assert_greets_with_one_id(&format!("unix:{}/socket", folder.path().display()));
}

#[test]
fn a_drain_lets_what_is_in_flight_finish_and_takes_nothing_new() {
    for signal in ["TERM", "INT"] {
        let mut callee = SlowServer::start();
        let arguments = ["--services", "service2", "--workers", "2", "--peer", &callee.flag()];
        let mut node = Node::start(&[&arguments[..], &FOR_EVER].concat());
        // Connections stay with the worker that they were given to; each has its own to the callee.
        let (mut busy, mut idle) = (node.http(), node.http());
        assert_eq!(idle.get("/readyz", "").status, 200);
        busy.send(format!("GET {GREETING} HTTP/1.1\r\nhost: node\r\n\r\n"));
        let call = callee.accept();
        node.signal(signal);
        assert_eq!(node.line_that_says("draining")["state"], "draining");
        assert!(idle.is_closed(), "an idle connection ends at once");
        // Whoever asks now finds nobody, or is told no, but is not told that all is well.
        if let Ok(mut late) = Connection::try_open(&node.address("http")) {
            late.0.write_all(b"GET /readyz HTTP/1.1\r\nhost: node\r\n\r\n").ok();
            assert!(late.said().is_none_or(|said| said.starts_with("HTTP/1.1 503")));
        }
        wait_until(|| Connection::try_open(&node.address("http")).is_err());
        callee.answer(call);
        let answer = busy.answer(true);
        assert_eq!((answer.status, answer.body.as_str()), (200, r#""Hello, TEST!""#), "{signal}");
        assert_eq!(answer.header("connection"), Some("close"));
        assert!(busy.is_closed());
        let ended = node.wait();
        assert_eq!(ended.status.code(), Some(0), "{signal}");
        let last = ended.lines.last().expect("its last line");
        assert_eq!((&last["message"], &last["state"]), (&"node stopped".into(), &"stopped".into()));
    }
}

#[test]
fn a_drain_lets_a_grpc_call_finish_and_says_goaway() {
    let mut callee = SlowServer::start();
    let node = Node::start(&[&["--services", "service2", "--peer", &callee.flag()][..], &FOR_EVER].concat());
    let (mut client, idle) = (Client::open(&node.address("grpc")), Client::open(&node.address("grpc")));
    let mut begun = client.begin(post(SERVICE_2));
    begun.send(TEST, true);
    client.flush();
    let call = callee.accept();
    node.signal("TERM");
    idle.ended();
    callee.answer(call);
    assert_eq!(client.reply(begun).body, ANSWER_2);
    client.ended();
    assert_eq!(node.wait().status.code(), Some(0));
}

#[test]
fn a_node_with_a_delay_serves_who_comes_until_it_is_over_and_says_that_it_is_not_ready() {
    let mut node = Node::start(&["--drain-delay", "1s"]);
    let told = Instant::now();
    node.signal("TERM");
    assert_eq!(node.line_that_says("not ready")["state"], "announced");
    assert_eq!(node.http().get("/readyz", "").status, 503);
    assert_eq!(node.http().get(GREETING, "").status, 200);
    let mut client = Client::open(&node.address("grpc"));
    assert_eq!(client.call(post(SERVICE_1), TEST).body, ANSWER_1);
    client.ended();
    assert!(told.elapsed() >= Duration::from_secs(1), "{:?}", told.elapsed());
    assert_eq!(node.wait().status.code(), Some(0));
}

#[test]
fn a_client_that_asks_nothing_does_not_hold_up_a_drain() {
    // A head that has begun may take its ten seconds.
    let half_a_head = "GET /readyz HTTP/1.1\r\n";
    for (key, said, most) in [
        ("http", "", SOON / 2),
        ("http", half_a_head, SOON * 2),
        ("grpc", "", SOON / 2),
        ("grpc", "PRI * HTTP/2.0\r\n", SOON / 2),
    ] {
        let node = Node::start(&FOR_EVER);
        let mut silent = Connection::open(&node.address(key));
        silent.send(said);
        assert_eq!(node.http().get("/readyz", "connection: close\r\n").status, 200);
        let asked = Instant::now();
        assert_eq!(node.stop().status.code(), Some(0), "{key} {said:?}");
        assert!(asked.elapsed() < most, "{key} {said:?}: {:?}", asked.elapsed());
    }
}

/// Has `silence` hold a connection open, and expects the drain to wait for it and for no longer than it may.
fn assert_cut_off<T>(arguments: &[&str], silence: impl FnOnce(&Node) -> T) {
    let node = Node::start(&[&["--drain-timeout", "300ms"], arguments].concat());
    let _open = silence(&node);
    let asked = Instant::now();
    let ended = node.stop();
    let took = asked.elapsed();
    assert_eq!(ended.status.code(), Some(0));
    assert!(took >= Duration::from_millis(300) && took < SOON / 2, "{took:?}");
    assert!(ended.lines.iter().any(|line| line["level"] == "WARN"), "it is told that something was cut off");
}

#[test]
fn a_client_that_falls_silent_holds_up_a_drain_for_no_longer_than_its_timeout() {
    assert_cut_off(&[], |node| Client::open(&node.address("grpc")));
    assert_cut_off(&[], |node| {
        let mut client = Client::open(&node.address("grpc"));
        let begun = client.begin(post(SERVICE_1));
        client.flush();
        (begun, client)
    });
    let mut callee = SlowServer::start();
    assert_cut_off(&["--services", "service2", "--peer", &callee.flag()], |node| {
        let mut http = node.http();
        http.send(format!("GET {GREETING} HTTP/1.1\r\nhost: node\r\n\r\n"));
        (callee.accept(), http)
    });
}

#[test]
fn a_second_signal_ends_the_node_at_once() {
    for signals in [["TERM", "TERM"], ["TERM", "INT"], ["INT", "TERM"]] {
        let mut callee = SlowServer::start();
        let mut node =
            Node::start(&[&["--services", "service2", "--peer", &callee.flag()][..], &FOR_EVER].concat());
        let mut http = node.http();
        http.send(format!("GET {GREETING} HTTP/1.1\r\nhost: node\r\n\r\n"));
        let _call = callee.accept();
        node.signal(signals[0]);
        node.line_that_says("draining");
        node.signal(signals[1]);
        assert_eq!(node.wait().status.code(), Some(130), "{signals:?}");
        assert!(http.is_closed());
    }
}

#[test]
fn a_filter_chooses_what_is_logged() {
    let node = Node::start(&["--log", "warn,node=info,actors::service1=info"]);
    node.http().get(GREETING, "x-request-id: filtered\r\n");
    assert_eq!(targets(&node.stop().lines, "filtered"), ["actors::service1"]);
    let node =
        Node::spawn(command(&["--http", "127.0.0.1:0", "--grpc", "none"]).env("RUST_LOG", "off,node=info"));
    node.http().get(GREETING, "x-request-id: filtered\r\n");
    assert!(targets(&node.stop().lines, "filtered").is_empty());
}

#[test]
fn log_lines_for_people_have_the_same_facts() {
    let node = Node::start(&["--log-format", "text"]);
    assert!(!node.started.starts_with('{'), "{}", node.started);
    let address = node.started.split_whitespace().find_map(|word| word.strip_prefix("http="));
    let mut http = Connection::open(address.unwrap_or_else(|| panic!("an address in {}", node.started)));
    http.get(GREETING, "x-request-id: for-people\r\n");
    drop(http);
    node.signal("TERM");
    let (status, text) = node.wait_text();
    assert!(status.success());
    let lines: Vec<_> = text.lines().filter(|line| line.contains("request_id=for-people")).collect();
    assert_eq!(lines.len(), 3, "{text}");
    for fact in
        ["service1", "service2", "name=TEST", "method=\"GET\"", "status=200", "path=\"/api/v1/say-hello\""]
    {
        assert!(lines.iter().any(|line| line.contains(fact)), "{fact} in {text}");
    }
}
