//! Idempotency keys over the end of a process: a node with a store of them is killed, and started again.
//!
//! This program is also that node, when it is started under another name: no other has a service whose calls can be
//! counted from outside.

#[path = "../process/mod.rs"]
mod process;

use std::fs::{self, OpenOptions};
use std::io::Write as _;
use std::os::unix::process::CommandExt as _;
use std::path::{Path, PathBuf};
use std::process::{Command, ExitCode};

use actix::{Actor, Context, Handler};
use libtest_mimic::{Arguments, Trial};
use node::App;
use probe_contract::Balance;
use probe_contract::tally::{Enter, Tally};
use process::{Answer, Connection, Node, Said, output, wait_until};
use serde_json::Value;
use tempfile::TempDir;
use transport::{Call, Reply, Serve};

fn main() -> ExitCode {
    if std::env::args().next().is_some_and(|name| name == NODE) {
        return node::main(NODE, |own: Own| {
            App::new().service_in_node(move |()| FileActor { entered: own.entered.clone() })
        });
    }
    let trial = |(name, claim): (&str, fn())| {
        Trial::test(name, move || {
            claim();
            Ok(())
        })
    };
    libtest_mimic::run(&Arguments::from_args(), CLAIMS.iter().copied().map(trial).collect()).exit_code()
}

const CLAIMS: &[(&str, fn())] = &[
    ("an_answer_outlives_a_kill_and_its_call_is_not_handled_again", an_answer_outlives_a_kill),
    ("a_call_that_a_kill_cut_off_is_not_handled_again_and_nobody_knows_what_it_came_to", nobody_knows),
    ("another_call_under_a_key_of_before_the_kill_is_refused", another_call_is_refused),
    ("an_end_of_the_store_that_was_written_in_part_is_left_out_and_told", a_torn_end_is_left_out),
    ("a_store_belongs_to_one_process", one_process),
    ("a_store_that_cannot_be_used_is_told_with_its_key_path_and_reason", cannot_be_used),
    ("a_file_that_is_somebody_elses_is_left_alone", somebody_elses),
    ("without_a_store_a_kill_takes_all", without_a_store),
];

/// The name under which this program is a node.
const NODE: &str = "node-that-is-killed";

/// The flags of that node, besides every node's.
#[derive(Debug, Clone, clap::Args)]
struct Own {
    /// The file that has a line for each call that was handled
    #[arg(long)]
    entered: PathBuf,
}

/// Enters amounts in a file, where they are counted. Over an amount of 0 it takes for ever.
struct FileActor {
    entered: PathBuf,
}

impl Actor for FileActor {
    type Context = Context<Self>;
}

impl Serve for FileActor {
    type Contract = Tally;
}

impl Handler<Call<Enter>> for FileActor {
    type Result = Reply<Enter>;

    fn handle(&mut self, call: Call<Enter>, _: &mut Context<Self>) -> Self::Result {
        let file = OpenOptions::new().append(true).create(true).open(&self.entered);
        writeln!(file.expect("the folder is there"), "{}", call.request.amount).expect("there is room");
        let total = entered(&self.entered).len().try_into().expect("they are few");
        call.answer(async move |entry| match entry.amount {
            0 => std::future::pending().await,
            amount => Ok(Balance { before: amount, total }),
        })
    }
}

/// What was entered, by whichever process.
fn entered(file: &Path) -> Vec<String> {
    fs::read_to_string(file).unwrap_or_default().lines().map(str::to_owned).collect()
}

/// A folder with a store and the file of what was entered, and the processes that use them one after the other.
struct World(TempDir);

impl World {
    fn new() -> Self {
        Self(tempfile::tempdir().expect("a folder can be made"))
    }

    fn path(&self, name: &str) -> PathBuf {
        self.0.path().join(name)
    }

    fn command(&self, flags: &[&str]) -> Command {
        let mut command = Command::new(std::env::current_exe().expect("this program is a file"));
        command.arg0(NODE).args(["--http", "127.0.0.1:0", "--grpc", "none"]).arg("--entered");
        command.arg(self.path("entered")).args(flags);
        command
    }

    /// A node whose store is the file of this name.
    fn stored(&self, name: &str, flags: &[&str]) -> Command {
        let mut command = self.command(flags);
        command.arg("--idempotency-store").arg(self.path(name));
        command
    }

    fn start(&self) -> Node {
        Node::spawn(&mut self.stored("keys", &[]))
    }

    fn entered(&self) -> Vec<String> {
        entered(&self.path("entered"))
    }
}

/// Enters `amount` under a key.
fn enter(node: &Node, key: &str, amount: i64) -> Answer {
    let mut http = node.http();
    begin(&mut http, key, amount);
    http.answer(true)
}

fn begin(http: &mut Connection, key: &str, amount: i64) {
    let body = format!("{{\"amount\":\"{amount}\"}}");
    http.send(format!(
        "POST /tally/a HTTP/1.1\r\nhost: node\r\nidempotency-key: {key}\r\ncontent-type: application/json\r\n\
         content-length: {}\r\n\r\n{body}",
        body.len()
    ));
}

fn kill(node: Node) {
    node.signal("KILL");
    node.wait_text();
}

fn an_answer_outlives_a_kill() {
    let world = World::new();
    let node = world.start();
    let first = enter(&node, "k", 3);
    assert_eq!((first.status, first.body.as_str()), (200, r#"{"before":"3","total":"1"}"#));
    kill(node);
    for _ in 0..2 {
        let node = world.start();
        let again = enter(&node, "k", 3);
        assert_eq!((again.status, again.body), (200, first.body.clone()));
        kill(node);
    }
    assert_eq!(world.entered(), ["3"]);
}

fn nobody_knows() {
    let world = World::new();
    let node = world.start();
    let mut http = node.http();
    begin(&mut http, "k", 0);
    wait_until(|| world.entered() == ["0"]);
    kill(node);
    for _ in 0..2 {
        let node = world.start();
        let again = enter(&node, "k", 0);
        assert_eq!((again.status, &again.json()["code"]), (409, &"ABORTED".into()), "{again:?}");
        assert!(again.body.contains("the outcome of the call is unknown"), "{again:?}");
        assert_eq!(enter(&node, "other", 1).status, 200);
        kill(node);
    }
    assert_eq!(world.entered(), ["0", "1"]);
}

fn another_call_is_refused() {
    let world = World::new();
    let node = world.start();
    enter(&node, "k", 3);
    let before = enter(&node, "k", 4);
    kill(node);
    let after = enter(&world.start(), "k", 4);
    assert_eq!((after.status, &after.json()["code"]), (400, &"FAILED_PRECONDITION".into()));
    assert_eq!(after.json()["detail"], before.json()["detail"]);
    assert_eq!(world.entered(), ["3"]);
}

fn a_torn_end_is_left_out() {
    let world = World::new();
    let node = world.start();
    enter(&node, "k", 3);
    kill(node);
    let mut store = OpenOptions::new().append(true).open(world.path("keys")).expect("it is there");
    store.write_all(&[200, 0, 0, 0, 1, 2, 3, 4, 5]).expect("there is room");
    drop(store);
    let mut node = world.start();
    let warned: Value = serde_json::from_str(&node.started).expect("JSON");
    assert_eq!(warned["message"], "the end of the idempotency store was not whole", "{warned}");
    assert_eq!((&warned["level"], &warned["bytes"]), (&"WARN".into(), &9.into()));
    node.started = node.line_that_says("node started").to_string();
    assert_eq!(enter(&node, "k", 3).status, 200);
    assert_eq!(enter(&node, "other", 4).status, 200);
    kill(node);
    let node = world.start();
    assert!(node.started.contains("node started"), "the end was not left behind: {}", node.started);
    assert_eq!(enter(&node, "other", 4).status, 200);
    assert_eq!(world.entered(), ["3", "4"]);
}

/// Exit code 69, and one line on stderr with these words and with what was expected.
#[track_caller]
fn assert_unavailable(said: &Said, words: &[&str]) {
    assert_eq!((said.code, said.stdout.as_str(), said.stderr.lines().count()), (Some(69), "", 1), "{said:?}");
    for word in words.iter().chain(&["--idempotency-store", "expected a file of this node's own"]) {
        assert!(said.stderr.contains(word), "{word} in {said:?}");
    }
}

fn one_process() {
    let world = World::new();
    let node = world.start();
    let path = world.path("keys");
    let words = [path.to_str().expect("ASCII"), "another process has it"];
    assert_unavailable(&output(&mut world.stored("keys", &[])), &words);
    assert_eq!(enter(&node, "k", 3).status, 200);
    assert!(node.stop().status.success());
    assert_eq!(enter(&world.start(), "k", 3).status, 200);
    assert_eq!(world.entered(), ["3"]);
}

fn cannot_be_used() {
    let world = World::new();
    let at = |name: &str| world.path(name).to_str().expect("ASCII").to_owned();
    fs::create_dir(world.path("folder")).expect("a folder can be made");
    assert_unavailable(&output(&mut world.stored("folder", &[])), &[&at("folder"), "Is a directory"]);
    fs::write(world.path("file"), "").expect("a file can be written");
    assert_unavailable(&output(&mut world.stored("file/keys", &[])), &[&at("file/keys")]);
    assert_unavailable(
        &output(&mut world.command(&["--idempotency-store", "/"])),
        &[" /: ", "no name of a file"],
    );
}

fn somebody_elses() {
    let world = World::new();
    fs::write(world.path("diary"), "dear diary").expect("a file can be written");
    assert_unavailable(&output(&mut world.stored("diary", &[])), &["no store of idempotency keys"]);
    assert_eq!(fs::read_to_string(world.path("diary")).expect("it is there"), "dear diary");
}

fn without_a_store() {
    let world = World::new();
    let start = || Node::spawn(&mut world.command(&[]));
    let node = start();
    enter(&node, "k", 3);
    kill(node);
    assert_eq!(enter(&start(), "k", 3).body, r#"{"before":"3","total":"2"}"#);
    assert_eq!(world.entered(), ["3", "3"]);
}
