//! The configuration of the built binary: where a key comes from, and what a wrong one is told.

mod process;

use std::io::Write as _;

use process::{Said, command, output};
use tempfile::NamedTempFile;

/// Every key, as `--check` prints it.
const KEYS: [&str; 24] = [
    "services",
    "http",
    "grpc",
    "peer",
    "policy",
    "workers",
    "deadline",
    "drain-delay",
    "drain-timeout",
    "keepalive",
    "greeting-timeout",
    "max-calls",
    "max-streams",
    "max-message-size",
    "max-buffered",
    "shed-by-deadline",
    "idempotency-keys-for",
    "max-idempotency-keys",
    "max-idempotency-bytes",
    "idempotency-store",
    "rest-headers",
    "attempts-header",
    "log-format",
    "log",
];

/// Each key with another value than its default.
const CHANGED: &[&str] = &[
    "--services",
    "service2",
    "--http",
    "[::1]:1",
    "--grpc",
    "unix:/tmp/a \"b\".sock",
    "--peer",
    "service1=http://[::1]:1,http://name.example:2,unix:/tmp/c",
    "--policy",
    "attempts=2;service1.ProcessName.retry-codes=ABORTED,UNAVAILABLE",
    "--workers",
    "7",
    "--deadline",
    "1m 30s 5ms",
    "--drain-delay",
    "12s",
    "--drain-timeout",
    "1h",
    "--keepalive",
    "100us",
    "--greeting-timeout",
    "3s",
    "--max-calls",
    "1",
    "--max-streams",
    "7",
    "--max-message-size",
    "4294967295",
    "--max-buffered",
    "1099511627776",
    "--shed-by-deadline",
    "on",
    "--idempotency-keys-for",
    "1d",
    "--max-idempotency-keys",
    "1",
    "--max-idempotency-bytes",
    "1099511627776",
    "--idempotency-store",
    "/var/lib/node/a \"b\"",
    "--rest-headers",
    "X-Tenant,cookie",
    "--attempts-header",
    "X-Attempts",
    "--log-format",
    "text",
    "--log",
    "warn,access=info",
];

const ADDRESS: &str = "expected IP:PORT";
const DURATION: &str = "expected a duration above zero";
const NUMBER: &str = "expected a whole number from 1 to";
const URI: &str = "expected http://HOST:PORT, dns:///NAME:PORT or unix:PATH";

/// A key, a value that it cannot have, and what was expected.
const WRONG: &[(&str, &str, &str)] = &[
    ("services", "service9", "possible values: service1, service2"),
    ("http", "localhost:8080", ADDRESS),
    ("http", "8080", ADDRESS),
    ("http", "unix:/tmp/x", ADDRESS),
    ("grpc", "127.0.0.1", ADDRESS),
    ("grpc", "127.0.0.1:65536", ADDRESS),
    ("grpc", "unix:", "unix:PATH or none"),
    ("peer", "service1", "expected NAME=URI"),
    ("peer", "service9=http://a:1", "expected one of service1, service2"),
    ("peer", "service1=", URI),
    ("peer", "service1=a:1", URI),
    ("peer", "service1=http://a:1,http://b", URI),
    ("peer", "service1=dns://a:1", URI),
    ("peer", "service1=https://a:1", "TLS is not supported"),
    ("workers", "0", NUMBER),
    ("workers", "513", NUMBER),
    ("workers", "many", NUMBER),
    ("deadline", "0s", DURATION),
    ("deadline", "10", DURATION),
    ("drain-delay", "-1s", "expected a duration up to a year, like 0s, 500ms or 10s"),
    ("drain-timeout", "-1s", DURATION),
    ("drain-timeout", "500d", DURATION),
    ("keepalive", " ", DURATION),
    ("greeting-timeout", "0s", DURATION),
    ("max-calls", "-1", NUMBER),
    ("max-streams", "0", NUMBER),
    ("max-message-size", "4MiB", NUMBER),
    ("max-buffered", "0", NUMBER),
    ("max-buffered", "1099511627777", NUMBER),
    ("shed-by-deadline", "yes", "possible values: on, off"),
    ("idempotency-keys-for", "0s", DURATION),
    ("max-idempotency-keys", "0", NUMBER),
    ("max-idempotency-bytes", "64MiB", NUMBER),
    ("rest-headers", "x tenant", "expected names of headers, or none"),
    ("attempts-header", "x attempts", "expected the name of a header, or none"),
    ("attempts-header", "Content-Type", "expected the name of a header that answers do not have anyway"),
    ("attempts-header", "x-request-id", "expected the name of a header that answers do not have anyway"),
    ("attempts-header", "connection", "expected the name of a header that answers do not have anyway"),
    ("log-format", "xml", "possible values: auto, json, text"),
    ("log", "a=b=c", "expected a filter like"),
    ("log", "info,[call]=debug", "expected a filter like"),
    ("log", "access[{peer}]=debug", "expected a filter like"),
    ("log", "info, access=warn", "expected a filter like"),
];

fn file(text: &str) -> NamedTempFile {
    let mut file = NamedTempFile::new().expect("a file can be made");
    file.write_all(text.as_bytes()).expect("a file can be written");
    file
}

fn path(file: &NamedTempFile) -> &str {
    file.path().to_str().expect("a path of ASCII")
}

fn check(arguments: &[&str]) -> Said {
    output(command(&["--check"]).args(arguments))
}

/// What `--check` prints for a configuration that is good.
#[track_caller]
fn checked(said: Said) -> String {
    assert_eq!((said.code, said.stderr.as_str()), (Some(0), ""), "{said:?}");
    said.stdout
}

/// One line on stderr that has every one of `words`, exit code 64, and nothing on stdout.
#[track_caller]
fn assert_wrong(said: &Said, words: &[&str]) {
    assert_eq!((said.code, said.stdout.as_str()), (Some(64), ""), "{said:?}");
    assert!(said.stderr.ends_with('\n') && said.stderr.lines().count() == 1, "{said:?}");
    for word in words {
        assert!(said.stderr.contains(word), "{word} in {said:?}");
    }
}

fn value_in<'a>(printed: &'a str, key: &str) -> &'a str {
    let line = printed.lines().find_map(|line| line.strip_prefix(key)?.strip_prefix(" = "));
    line.unwrap_or_else(|| panic!("{key} in {printed}"))
}

#[test]
fn help_names_every_flag_with_its_default() {
    let help = checked(output(&mut command(&["--help"])));
    let defaults = checked(check(&[]));
    assert_eq!(defaults.lines().filter_map(|line| line.split(" = ").next()).collect::<Vec<_>>(), KEYS);
    for key in KEYS {
        let told =
            help.split(&format!("\n      --{key} <")).nth(1).unwrap_or_else(|| panic!("--{key} in {help}"));
        let told = told.split("\n      --").next().unwrap_or_default();
        let default = value_in(&defaults, key).replace(['"', '[', ']', ' '], "");
        if !default.is_empty() {
            assert!(told.contains(&format!("[default: {default}]")), "{default} in {told}");
        }
        let variable = format!("NODE_{}", key.replace('-', "_").to_uppercase());
        assert!(told.contains(&format!("[env: {variable}=")), "{variable} in {told}");
    }
    for flag in ["--config <FILE>", "--check", "--help", "--version"] {
        assert!(help.contains(flag), "{flag} in {help}");
    }
}

#[test]
fn what_check_prints_reads_as_it_was_written() {
    let defaults = checked(check(&[]));
    for arguments in [&[][..], CHANGED] {
        let printed = checked(check(arguments));
        assert_eq!(arguments.is_empty(), printed == defaults);
        let file = file(&printed);
        assert_eq!(checked(check(&["--config", path(&file)])), printed);
    }
    let printed = checked(check(CHANGED));
    for key in KEYS {
        assert_ne!(value_in(&printed, key), value_in(&defaults, key), "{key} was changed");
    }
}

#[test]
fn a_flag_overrides_the_environment_which_overrides_the_file_which_overrides_the_default() {
    for (key, [default, in_file, in_environment, on_command_line]) in [
        ("http", [r#""127.0.0.1:8080""#, r#""127.0.0.1:1""#, r#""127.0.0.1:2""#, r#""none""#]),
        ("grpc", [r#""127.0.0.1:50051""#, r#""unix:a""#, r#""none""#, r#""127.0.0.1:3""#]),
        ("deadline", [r#""10s""#, r#""1s""#, r#""2ms""#, r#""3m""#]),
        ("log-format", [r#""auto""#, r#""json""#, r#""text""#, r#""auto""#]),
        ("log", [r#""info""#, r#""error""#, r#""warn""#, r#""a=debug""#]),
        ("max-calls", ["1024", "1", "2", "3"]),
        ("max-streams", ["1024", "1", "2", "3"]),
        (
            "rest-headers",
            [r#"["authorization", "traceparent", "tracestate"]"#, "[]", r#"["x-a", "x-b"]"#, r#"["none"]"#],
        ),
        (
            "services",
            [
                r#"["service1", "service2"]"#,
                r#"["service1"]"#,
                r#"["service2", "service1"]"#,
                r#"["service1"]"#,
            ],
        ),
        (
            "peer",
            [
                "[]",
                r#"["service1=http://a:1"]"#,
                r#"["service2=http://b:1", "service1=unix:c"]"#,
                r#"["service1=http://d:1"]"#,
            ],
        ),
    ] {
        let file = file(&format!("{key} = {in_file}\n"));
        let from = ["--config", path(&file)];
        let (separator, name) = (if key == "peer" { ";" } else { "," }, format!("--{key}"));
        let plain = |value: &str| value.replace("\", \"", separator).replace(['[', ']', '"'], "");
        let variable = format!("NODE_{}", key.replace('-', "_").to_uppercase());
        let flag = [name.as_str(), &plain(on_command_line)];
        let is = |command: &mut std::process::Command, expected: &str| {
            let printed = checked(output(command.arg("--check")));
            assert_eq!(value_in(&printed, key), expected);
        };
        is(&mut command(&[]), default);
        is(&mut command(&from), in_file);
        is(command(&[]).env("NODE_CONFIG", path(&file)), in_file);
        is(command(&from).env(&variable, plain(in_environment)), in_environment);
        is(command(&from).env(&variable, plain(in_environment)).args(flag), on_command_line);
        is(command(&from).args(flag), on_command_line);
    }
}

#[test]
fn two_free_ports_are_not_the_same_port() {
    let printed = checked(check(&["--http", "127.0.0.1:0", "--grpc", "127.0.0.1:0"]));
    assert_eq!(value_in(&printed, "http"), value_in(&printed, "grpc"));
}

#[test]
fn a_peer_may_be_named_by_one_flag_for_each_service() {
    let printed = checked(check(&["--peer", "service1=http://a:1", "--peer", "service2=unix:b"]));
    assert_eq!(value_in(&printed, "peer"), r#"["service1=http://a:1", "service2=unix:b"]"#);
}

#[test]
fn rust_log_is_the_default_of_the_filter() {
    let printed = checked(output(command(&["--check"]).env("RUST_LOG", "debug")));
    assert_eq!(value_in(&printed, "log"), r#""debug""#);
    let printed = checked(output(command(&["--check"]).env("RUST_LOG", "debug").env("NODE_LOG", "warn")));
    assert_eq!(value_in(&printed, "log"), r#""warn""#);
    for wrong in ["a=b=c", "app[request]=debug"] {
        assert_wrong(
            &output(command(&["--check"]).env("RUST_LOG", wrong)),
            &["--log", wrong, "expected a filter", "(in RUST_LOG)"],
        );
    }
}

#[test]
fn an_empty_variable_is_none_and_an_empty_flag_is_wrong() {
    let defaults = checked(check(&[]));
    let mut all = command(&["--check"]);
    for key in KEYS.into_iter().chain(["config"]) {
        let variable = format!("NODE_{}", key.replace('-', "_").to_uppercase());
        all.env(&variable, "");
        assert_eq!(checked(output(command(&["--check"]).env(&variable, ""))), defaults, "{variable}");
        assert_wrong(&check(&[&format!("--{key}"), ""]), &[&format!("--{key}")]);
    }
    assert_eq!(checked(output(all.env("RUST_LOG", ""))), defaults);
    let file = file("http = \"127.0.0.1:1\"\n");
    let printed = checked(output(command(&["--check", "--config", path(&file)]).env("NODE_HTTP", "")));
    assert_eq!(value_in(&printed, "http"), r#""127.0.0.1:1""#);
}

#[test]
fn a_flag_that_is_nearly_another_is_told_that_one() {
    let near = ["--deadlin", "2s"];
    assert_wrong(
        &output(&mut command(&near)),
        &["'--deadlin'", "expected --deadline, or another that --help shows"],
    );
    let far = ["--colour"];
    assert_wrong(&output(&mut command(&far)), &["'--colour'", "expected one of those that --help shows"]);
}

#[test]
fn a_wrong_value_is_told_its_key_and_what_was_expected_wherever_it_stands() {
    for (key, value, expected) in WRONG {
        let flag = format!("--{key}");
        let words = [flag.as_str(), value, expected];
        assert_wrong(&check(&[&flag, value]), &words);
        let variable = format!("NODE_{}", key.replace('-', "_").to_uppercase());
        assert_wrong(
            &output(command(&["--check"]).env(&variable, value)),
            &[&words[..], &[&variable]].concat(),
        );
        let file = file(&format!("{key} = \"{value}\"\n"));
        let path = path(&file);
        // A list is not split at its commas there, so the value may be more than what is wrong with it.
        assert_wrong(&check(&["--config", path]), &[flag.as_str(), path, expected]);
    }
}

#[test]
fn keys_that_do_not_go_together_are_told_so() {
    for (arguments, words) in [
        (&["--http", "none", "--grpc", "none"][..], &["--http", "--grpc", "none", "expected an address"][..]),
        (
            &["--http", "127.0.0.1:1", "--grpc", "127.0.0.1:1"],
            &["--http", "--grpc", "127.0.0.1:1", "expected an address for each"],
        ),
        (&["--services", "service2"], &["--peer service1", "service2 calls service1", "expected --peer"]),
        (
            &["--services", "service2", "--peer", "service2=http://a:1"],
            &["--peer service1", "expected --peer"],
        ),
        (
            &["--peer", "service1=http://a:1", "--peer", "service1=http://b:1"],
            &["--peer service1", "twice", "expected once"],
        ),
        (&["--http", "none", "--http", "none"], &["--http", "cannot be used multiple times"]),
        (&["--services"], &["--services", "a value is required"]),
        (&["--nonsense"], &["--nonsense", "expected one of those that --help shows"]),
        (&["-n"], &["-n", "expected"]),
        (&["nonsense"], &["nonsense", "expected"]),
    ] {
        assert_wrong(&check(arguments), words);
        assert_wrong(&output(&mut command(arguments)), words);
    }
}

#[test]
fn a_file_that_cannot_be_used_is_told_why() {
    for (text, words) in [
        ("http = \"x", &["line 1", "expected"][..]),
        ("http = \"none\"\nhttp = \"none\"", &["line 2", "duplicate key"]),
        ("htp = \"none\"", &["unknown key htp", "expected one of services, http"]),
        ("check = true", &["unknown key check", "expected one of"]),
        ("config = \"x\"", &["unknown key config", "expected one of"]),
        ("[http]\nport = 1", &["http", "expected a string or a number"]),
        ("workers = true", &["workers", "expected a string or a number"]),
        ("http = [\"127.0.0.1:1\", \"127.0.0.1:2\"]", &["http", "expected a string or a number"]),
        ("peer = [[\"service1=http://a:1\"]]", &["peer", "expected a string or a number"]),
        ("workers = 0", &["--workers", "'0'", "expected a whole number"]),
        ("services = [\"service1\", \"x\"]", &["--services", "'x'", "possible values"]),
        ("services = []", &["--services", "expected some of service1,service2"]),
    ] {
        let file = file(text);
        let said = check(&["--config", path(&file)]);
        assert_wrong(&said, words);
        assert!(text == "services = []" || said.stderr.contains(path(&file)), "{said:?}");
    }
    for path in ["/nonexistent/file", "/"] {
        assert_wrong(&check(&["--config", path]), &["--config", path, "expected a TOML file"]);
    }
}
