//! What a user of the runner sees: this program starts itself, as a user would, in a folder of its own.
//!
//! Started by its own tests it is the program of a user, whose scenarios are in `scenarios.rs`; else it is the tests.

mod scenarios;
mod user;

use std::process::ExitCode;

use libtest_mimic::{Arguments, Trial};

use user::User;

#[expect(clippy::disallowed_methods, reason = "a test or bench drives programs from outside")]
fn main() -> ExitCode {
    if let Some(names) = std::env::var_os(user::SCENARIOS) {
        return scenarios::runner(&names.to_string_lossy()).main();
    }
    let tests: &[(&str, fn())] = &[
        (
            "a_printed_command_names_this_package_and_this_target",
            a_printed_command_names_this_package_and_target,
        ),
        ("help_is_about_the_users_own_command", help_is_about_the_users_own_command),
        ("a_report_is_written_where_the_user_stands", a_report_is_written_where_the_user_stands),
        ("twice_with_a_trace_prints_it", twice_with_a_trace_prints_it),
        ("a_failing_seed_leaves_its_plan_and_a_failing_plan_no_copy", a_failing_plan_leaves_no_copy),
        ("what_takes_two_plays_to_see_is_not_shrunk", what_takes_two_plays_is_not_shrunk),
        ("a_mistake_in_the_set_up_is_told_once_and_kept_nowhere", a_mistake_in_the_set_up_is_told_once),
        ("a_promise_that_meets_nothing_is_named", a_promise_that_meets_nothing_is_named),
        ("a_name_that_no_event_knows_is_told_with_its_promise", a_name_that_no_event_knows_is_told),
        ("a_field_that_no_line_of_its_words_has_fails_the_suite", a_field_that_no_line_has_fails_the_suite),
        ("two_scenarios_of_one_name_are_a_mistake", two_scenarios_of_one_name_are_a_mistake),
        ("a_plan_of_the_graveyard_without_effect_is_stale", a_plan_without_effect_is_stale),
        ("a_plan_of_the_graveyard_names_a_patch_that_is_there", a_plan_names_a_patch_that_is_there),
        ("the_list_names_the_patches_of_each_scenario", the_list_names_the_patches),
        ("a_patch_of_an_unknown_scenario_is_refused", a_patch_of_an_unknown_scenario_is_refused),
    ];
    let trials = tests.iter().map(|(name, test)| {
        let test = *test;
        Trial::test(*name, move || {
            test();
            Ok(())
        })
    });
    libtest_mimic::run(&Arguments::from_args(), trials.collect()).exit_code()
}

const COMMAND: &str = "cargo test -p rehearsal-sim --test tool -- rehearse";

fn a_printed_command_names_this_package_and_target() {
    let ran = User::new("broken").runs("rehearse --seed 7 --scenario broken --no-shrink");
    assert_eq!(ran.code, 1);
    let manifest = concat!("--manifest-path ", env!("CARGO_MANIFEST_DIR"), "/Cargo.toml ");
    let again = format!("{} --scenario broken --seed 7\n", COMMAND.replace("-p ", &format!("{manifest}-p ")));
    assert!(ran.out.contains(&again), "{}", ran.out);
    assert!(ran.out.contains("--plan tests/graveyard/broken-7.toml\n"), "{}", ran.out);
}

fn help_is_about_the_users_own_command() {
    let ran = User::new("calm").runs("rehearse --help");
    assert!(ran.out.contains("--test tool -- rehearse [OPTIONS]"), "{}", ran.out);
    assert!(!ran.out.contains("cargo sim"), "{}", ran.out);
}

fn a_report_is_written_where_the_user_stands() {
    let user = User::new("calm");
    let ran = user.runs("rehearse --seed 1 --scenario calm --report calm.html");
    assert_eq!((ran.code, user.has("calm.html")), (0, true), "{}", ran.err);
    assert!(ran.err.contains("report in calm.html"), "{}", ran.err);
}

fn twice_with_a_trace_prints_it() {
    let user = User::new("calm");
    let ran = user.runs("rehearse --seed 1 --scenario calm --twice --trace --report calm.html");
    assert!(ran.out.contains("sim-000001   begins"), "{}", ran.out);
    assert!(user.text("calm.html").contains("sim-000001"));
}

fn a_failing_plan_leaves_no_copy() {
    let user = User::new("broken");
    user.runs("rehearse --seed 7 --scenario broken");
    assert_eq!(user.files("tests/graveyard"), ["broken-7.toml"]);
    user.write("mine.toml", &user.text("tests/graveyard/broken-7.toml").replace("seed = 7", "seed = 8"));
    let ran = user.runs("rehearse --plan mine.toml");
    assert_eq!((ran.code, user.files("tests/graveyard")), (1, vec!["broken-7.toml".to_owned()]));
    // As the program with a patch plays it, for `--planted --plan`.
    let ran = user.runs("rehearse --as-planted late --for-package . --keep-in kept --plan mine.toml");
    assert_eq!((ran.code, user.has("kept")), (1, false), "{}{}", ran.out, ran.err);
    let ran = user.runs("graveyard");
    assert_eq!(ran.code, 101);
    assert!(ran.out.contains("--plan tests/graveyard/broken-7.toml"), "{}", ran.out);
    assert_eq!(user.files("tests/graveyard"), ["broken-7.toml"]);
}

fn what_takes_two_plays_is_not_shrunk() {
    for arguments in ["rehearse --seed 7 --scenario forgetless --twice", "rehearse --seeds 1 --twice", ""] {
        let ran = User::new("forgetless").runs(arguments);
        assert_ne!(ran.code, 0, "{}", ran.out);
        assert!(ran.out.contains("not shrunk: it takes two plays of a plan to see this\n"), "{}", ran.out);
        let mut commands = ran.out.lines().filter(|line| line.contains(" -- rehearse --"));
        assert!(
            commands.clone().count() == 2 && commands.all(|line| line.ends_with(" --twice")),
            "{}",
            ran.out
        );
    }
}

fn a_mistake_in_the_set_up_is_told_once() {
    for arguments in ["rehearse --seeds 9 --keep-going", ""] {
        let user = User::new("deaf,calm,deaf-too");
        let ran = user.runs(arguments);
        assert_eq!(ran.code, 64, "{}", ran.out);
        let told = ran.out.matches("never listened").count() + ran.err.matches("never listened").count();
        assert_eq!((told, user.has("tests")), (1, false), "{}{}", ran.out, ran.err);
        assert!(!ran.out.contains("shrunk"), "{}", ran.out);
    }
    let user = User::new("astray,calm");
    user.write("tests/graveyard/old.toml", &STALE.replace("calm", "astray"));
    for arguments in ["rehearse --seeds 9", "rehearse --scenario astray --seed 1", "graveyard", ""] {
        let ran = user.runs(arguments);
        let told = "astray is not set up as it must be: service1 refuses its flags";
        let count = ran.out.matches(told).count() + ran.err.matches(told).count();
        assert_eq!((ran.code, count), (64, 1), "{arguments}: {}{}", ran.out, ran.err);
    }
}

fn a_promise_that_meets_nothing_is_named() {
    let user = User::new("calm,vacuous");
    let line = "vacuous: drains lose nothing: there was nothing to judge";
    let ran = user.runs("rehearse --seeds 3");
    assert_eq!((ran.code, ran.err.matches(line).count()), (0, 1), "{}", ran.err);
    let ran = user.runs("");
    assert_eq!((ran.code, ran.err.matches(line).count()), (101, 1), "{}", ran.err);
    // A part of the suite says nothing about the whole.
    assert_eq!(user.runs("rehearse --seeds 3 --scenario vacuous").err.matches(line).count(), 0);
    assert_eq!(user.runs("vacuous").code, 0);
}

fn a_name_that_no_event_knows_is_told() {
    let line = "vacuous: orders are settled: there was nothing to judge in 16 rehearsals: \
        no event has a field \"ordr\" of the type asked for\n";
    let ran = User::new("misspelt").runs("");
    assert_eq!((ran.code, ran.err.matches(line).count()), (101, 1), "{}", ran.err);
    let note = "note: orders are settled: in 16 rehearsals no log line says \"setled\"\n";
    let ran = User::new("misspelt-words").runs("");
    assert_eq!((ran.code, ran.err.matches(note).count()), (0, 1), "{}", ran.err);
}

fn a_field_that_no_line_has_fails_the_suite() {
    let line = "misspelt: settled orders are right: of the log lines whose words it asks for, \
        no event has a field \"ordr\" of the type asked for\n";
    let ran = User::new("misspelt-beside").runs("");
    assert_eq!((ran.code, ran.err.matches(line).count()), (101, 1), "{}", ran.err);
    // The line has such a field, though it never had a value: that may come.
    let note = "note: settled orders are right: in 16 rehearsals no event has a field \"refused\"";
    let ran = User::new("rare").runs("");
    assert_eq!((ran.code, ran.err.matches(note).count()), (0, 1), "{}", ran.err);
}

fn two_scenarios_of_one_name_are_a_mistake() {
    for arguments in ["rehearse --seeds 1", ""] {
        let ran = User::new("calm,broken,calm").runs(arguments);
        let told = "error: two scenarios have the name \"calm\": expected a name for each\n";
        assert_eq!((ran.code, &*ran.err), (64, told), "{}", ran.out);
    }
}

fn a_plan_without_effect_is_stale() {
    let user = User::new("calm");
    user.write("tests/graveyard/old.toml", STALE);
    let ran = user.runs("graveyard");
    assert_eq!(ran.code, 101);
    assert!(ran.out.contains("none of its faults has an effect"), "{}", ran.out);
    assert!(ran.err.contains("old.toml names no patch"), "{}", ran.err);
}

fn a_plan_names_a_patch_that_is_there() {
    let user = User::new("calm");
    let plan = STALE.replace("seed = 1", "seed = 1\nplanted = \"late\"");
    user.write("tests/graveyard/old.toml", &plan);
    let ran = user.runs("graveyard");
    assert!(ran.out.contains("names the patch \"late\", which is not there"), "{}", ran.out);
}

fn the_list_names_the_patches() {
    let user = User::new("calm,broken");
    user.write("tests/planted/late.patch", "# scenario: broken\ndiff --git a/x b/x\n");
    let ran = user.runs("rehearse --list");
    let lines: Vec<_> = ran.out.lines().map(str::trim).collect();
    assert!(lines[0].starts_with("calm ") && lines[1].starts_with("broken "), "{}", ran.out);
    assert_eq!(lines[2], "planted late");
}

fn a_patch_of_an_unknown_scenario_is_refused() {
    let user = User::new("calm");
    user.write("tests/planted/late.patch", "# scenario: clam\ndiff --git a/x b/x\n");
    let ran = user.runs("rehearse --planted");
    assert_eq!(ran.code, 64);
    assert!(ran.err.contains("late.patch: there is no scenario \"clam\""), "{}", ran.err);
}

/// A plan whose one fault is over before the first call.
const STALE: &str = r#"
scenario = "calm"
seed = 1

[network]
latency_min = "0s"
latency_max = "1ms"
yield_percent = 0

[[faults]]
from = "0s"
lasts = "5ms"
kind = "partition"
a = "clients"
b = "server"

[[requests]]
id = 1
at = "100ms"
client = "caller"
kind = "ask"
argument = "a"
deadline = "500ms"
"#;
