//! The policies of calls in the configuration of the built binary: where each value comes from, what overrides what, and
//! what a wrong one is told.

mod process;

use std::io::Write as _;
use std::process::Command;

use process::{Node, Said, command, output};
use tempfile::NamedTempFile;

const PEER: [&str; 4] = ["--services", "service2", "--peer", "service1=http://a:1,http://b:2"];

fn file(text: &str) -> NamedTempFile {
    let mut file = NamedTempFile::new().expect("a file can be made");
    file.write_all(text.as_bytes()).expect("a file can be written");
    file
}

fn path(file: &NamedTempFile) -> &str {
    file.path().to_str().expect("a path of ASCII")
}

#[track_caller]
fn good(said: Said) -> String {
    assert_eq!((said.code, said.stderr.as_str()), (Some(0), ""), "{said:?}");
    said.stdout
}

/// The value and the origin of a key, as `--explain service1/ProcessName` has them.
#[track_caller]
fn explained(node: &mut Command, key: &str) -> (String, String) {
    let text = good(output(node.args(PEER).args(["--explain", "service1/ProcessName"])));
    let line = text.lines().find_map(|line| line.strip_prefix(key)?.trim_start().strip_prefix("= "));
    let line = line.unwrap_or_else(|| panic!("{key} in {text}")).trim();
    let (value, origin) = line.split_once(' ').expect("a value and its origin");
    (value.to_owned(), origin.trim().to_owned())
}

#[track_caller]
fn assert_wrong(said: &Said, words: &[&str]) {
    assert_eq!((said.code, said.stdout.as_str()), (Some(64), ""), "{said:?}");
    assert_eq!(said.stderr.lines().count(), 1, "{said:?}");
    for word in words {
        assert!(said.stderr.contains(word), "{word} in {said:?}");
    }
}

#[test]
fn what_holds_for_a_call_is_explained_with_where_each_value_comes_from() {
    let file = file("[policy]\nattempts = 4\n[policy.service1]\nbackoff = \"20ms\"\n");
    let mut node = command(&["--config", path(&file), "--policy", "service1.ProcessName.hedge=true"]);
    let node = node.args(["--deadline", "2s"]).env("NODE_POLICY", "attempts=5;service1.budget=20");
    let said = good(output(node.args(PEER).args(["--explain", "service1/ProcessName"])));
    let expected = format!(
        "# /app.grpc.Service1/ProcessName goes over gRPC to http://a:1, http://b:2
# idempotency_level NO_SIDE_EFFECTS: it may be repeated
deadline =       2s             --deadline
attempts =       5              NODE_POLICY, of every call
retry-codes =    UNAVAILABLE    default
backoff =        20ms           {file}, of service1
backoff-max =    1s             default
hedge =          true           --policy, of service1.ProcessName
wait-for-ready = false          default
key =            none           default
budget =         20             NODE_POLICY, of service1
budget-ratio =   0.1            default
breaker =        none           default
max-in-flight =  none           default
health-check =   false          default
",
        file = path(&file)
    );
    assert_eq!(said, expected);
}

#[test]
fn a_call_is_explained_by_its_path_too_as_logs_have_it() {
    let said = |call| good(output(command(&PEER).args(["--explain", call])));
    assert_eq!(said("/app.grpc.Service1/ProcessName"), said("service1/ProcessName"));
}

#[test]
fn a_call_that_goes_by_a_key_is_not_hedged_and_in_memory_there_is_nothing_to_choose() {
    let key = ["--policy", "service1.ProcessName.key=name", "--policy", "hedge=true"];
    let of = |node: &mut Command, what: &str| explained(node, what);
    assert_eq!(of(&mut command(&key), "key").0, "name");
    assert_eq!(of(&mut command(&key), "hedge"), ("false".to_owned(), "not with a key".to_owned()));
    let here = [&key[..], &["--services", "service1,service2"]].concat();
    assert_eq!(of(&mut command(&here), "key"), ("none".to_owned(), "in memory".to_owned()));
    let none = ["--policy", "service1.ProcessName.key=none"];
    assert_eq!(of(command(&none).env("NODE_POLICY", "service1.ProcessName.key=name"), "key").0, "none");
}

#[test]
fn the_narrowest_counts_and_among_the_same_the_flag_before_the_variable_before_the_file() {
    let file = file("policy = [\"service1.attempts=4\", \"service1.ProcessName.backoff=1s\"]");
    let from = ["--config", path(&file)];
    let attempts = |node: &mut Command| explained(node, "attempts").0;
    assert_eq!(attempts(&mut command(&[])), "3");
    assert_eq!(attempts(&mut command(&from)), "4");
    assert_eq!(
        attempts(command(&from).args(["--policy", "attempts=9"])),
        "4",
        "of every call, which is wider"
    );
    assert_eq!(attempts(command(&from).args(["--policy", "service2.attempts=9"])), "4");
    assert_eq!(attempts(command(&from).env("NODE_POLICY", "service1.attempts=5")), "5");
    let both = || {
        let mut node = command(&from);
        node.env("NODE_POLICY", "service1.attempts=5").args(["--policy", "service1.attempts=6"]);
        node
    };
    assert_eq!(attempts(&mut both()), "6");
    assert_eq!(explained(&mut both(), "backoff").0, "1s", "what the flag does not say is still there");
}

#[test]
fn tables_of_the_file_say_the_same_as_flags() {
    let tables = file(
        "[policy]\nattempts = 2\nbudget-ratio = 0.25\n[policy.service1]\nmax-in-flight = 10\n\
         [policy.service1.ProcessName]\nretry-codes = [\"ABORTED\", \"UNAVAILABLE\"]\nhedge = true\n",
    );
    let flags = "attempts=2;budget-ratio=0.25;service1.max-in-flight=10;\
                 service1.ProcessName.retry-codes=ABORTED,UNAVAILABLE;service1.ProcessName.hedge=true";
    let printed = |arguments: &[&str]| {
        let printed = good(output(command(&["--check"]).args(arguments)));
        let line = printed.lines().find_map(|line| line.strip_prefix("policy = ")).map(str::to_owned);
        let line = line.expect("it is printed");
        let back = file(&format!("policy = {line}"));
        let again = good(output(&mut command(&["--check", "--config", path(&back)])));
        assert!(again.contains(&line), "it reads back");
        let mut said: Vec<_> = line.trim_matches(['[', ']']).split("\", \"").map(str::to_owned).collect();
        said.iter_mut().for_each(|said| *said = said.replace('"', ""));
        said.sort();
        said
    };
    assert_eq!(printed(&["--config", path(&tables)]), printed(&["--policy", flags]));
    assert_eq!(printed(&["--policy", flags]).len(), 5);
}

#[test]
fn what_holds_calls_back_is_said_of_a_service_as_a_number_or_a_word() {
    for (key, value) in
        [("breaker", "5"), ("breaker", "50%"), ("max-in-flight", "7"), ("max-in-flight", "adaptive")]
    {
        let said = format!("service1.{key}={value}");
        assert_eq!(explained(command(&[]).args(["--policy", &said]), key).0, value);
        let tables = file(&format!("[policy]\n{key} = \"none\"\n[policy.service1]\n{key} = \"{value}\"\n"));
        let explained = explained(&mut command(&["--config", path(&tables)]), key);
        assert_eq!(explained, (value.to_owned(), format!("{}, of service1", path(&tables))));
    }
}

#[test]
fn a_semicolon_may_end_what_the_environment_says() {
    for said in ["attempts=5;", "attempts=5;backoff=1s; "] {
        assert_eq!(explained(command(&[]).env("NODE_POLICY", said), "attempts").0, "5");
    }
    for wrong in ["attempts=5;;", ";attempts=5", ";"] {
        let said = output(command(&["--check"]).env("NODE_POLICY", wrong));
        assert_wrong(&said, &["invalid value ''", "(in NODE_POLICY)"]);
    }
}

#[test]
fn what_goes_over_memory_is_said_to_be_tried_once() {
    let said = good(output(&mut command(&["--explain", "service1/ProcessName"])));
    assert!(
        said.contains("in memory, where it is tried once")
            && said.contains("attempts =       1              in memory"),
        "{said}"
    );
}

#[test]
fn a_call_that_failed_is_told_with_each_of_its_attempts() {
    let node = Node::start(&[
        "--services",
        "service2",
        "--peer",
        "service1=http://127.0.0.1:1",
        "--policy",
        "backoff=1ms",
    ]);
    let answer = node.http().get("/api/v1/say-hello", "");
    assert_eq!(answer.status, 503);
    let lines = node.stop().lines;
    let failed: Vec<_> = lines.iter().filter(|line| line["message"] == "call failed").collect();
    let [line] = failed[..] else { panic!("one line in {lines:?}") };
    let words =
        [("path", "/app.grpc.Service1/ProcessName"), ("code", "UNAVAILABLE"), ("service", "service2")];
    for (field, word) in words {
        assert_eq!(line[field], word);
    }
    let attempts: Vec<_> = line["attempts"].as_str().expect("a text").split("; ").collect();
    assert_eq!(attempts.len(), 3, "{attempts:?}");
    assert!(attempts.iter().all(|attempt| attempt.contains("UNAVAILABLE after ")), "{attempts:?}");
}

#[test]
fn a_wrong_policy_is_told_its_key_and_what_was_expected_wherever_it_stands() {
    for (policy, expected) in [
        ("attempts", "expected [SERVICE[.METHOD].]KEY=VALUE"),
        ("a.b.c.attempts=1", "expected [SERVICE[.METHOD].]KEY=VALUE"),
        ("tries=1", "tries: unknown key: expected one of deadline, attempts"),
        ("service9.attempts=1", "no service service9: expected one of service1, service2"),
        ("service1.SayHello.attempts=1", "service1 has no method SayHello: expected one of ProcessName"),
        ("attempts=0", "attempts: expected a whole number from 1 to 10"),
        ("backoff=0s", "backoff: expected a duration above zero"),
        ("retry-codes=OK", "retry-codes: expected names of codes like UNAVAILABLE, or none"),
        ("hedge=yes", "hedge: expected true or false"),
        ("budget-ratio=1.5", "budget-ratio: expected a number from 0 to 1"),
        (
            "breaker=0",
            "breaker: expected failures in a row from 1 to 1000, percent of calls like 50%, or none",
        ),
        (
            "breaker=101%",
            "breaker: expected failures in a row from 1 to 1000, percent of calls like 50%, or none",
        ),
        ("service1.ProcessName.breaker=5", "breaker is of a service and not of a method"),
        ("max-in-flight=0", "max-in-flight: expected a whole number from 1 to 4294967295, adaptive or none"),
        ("service1.ProcessName.budget=5", "budget is of a service and not of a method"),
        ("service1.key=name", "key is of a method: expected SERVICE.METHOD.key=VALUE"),
        (
            "service1.ProcessName.key=nam",
            "ProcessName has no field nam that can be a key: expected name, none",
        ),
    ] {
        let invalid = format!("invalid value '{policy}' for '--policy");
        assert_wrong(&output(&mut command(&["--check", "--policy", policy])), &[&invalid, expected]);
        let said = output(command(&["--check"]).env("NODE_POLICY", policy));
        assert_wrong(&said, &[&invalid, expected, "(in NODE_POLICY)"]);
        let file = file(&format!("policy = \"{policy}\""));
        let said = output(&mut command(&["--check", "--config", path(&file)]));
        assert_wrong(&said, &[&invalid, expected, path(&file)]);
    }
    let twice = output(&mut command(&["--check", "--policy", "attempts=1", "--policy", "attempts=2"]));
    assert_wrong(&twice, &["attempts=1", "attempts=2", "expected one of them"]);
    for (call, expected) in [
        ("service1", "expected SERVICE/METHOD"),
        ("service9/ProcessName", "expected one of service1, service2"),
        ("service1/Hello", "service1 has no method Hello: expected one of ProcessName"),
    ] {
        assert_wrong(&output(&mut command(&["--explain", call])), &["--explain", call, expected]);
    }
}
