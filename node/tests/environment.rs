//! A rehearsal reads its flags and nothing of the environment that it happens to run in.

mod orders;

use std::process::Command;

use node::Config;
use orders::{Orders, app};

const TEST: &str = "flags_alone_are_a_configuration_whatever_is_in_the_environment";

/// Set in the process that looks.
const INSIDE: &str = "REHEARSAL_INSIDE";

#[test]
#[expect(clippy::disallowed_methods, reason = "a test or bench drives programs from outside")]
fn flags_alone_are_a_configuration_whatever_is_in_the_environment() {
    if std::env::var_os(INSIDE).is_none() {
        let mut again = Command::new(std::env::current_exe().expect("this program has a path"));
        again.args(["--exact", TEST]).env(INSIDE, "1");
        again
            .env("NODE_MAX_MESSAGE_SIZE", "4")
            .env("NODE_CONFIG", "/nonexistent/file")
            .env("RUST_LOG", "a=b=c");
        assert!(again.status().expect("it starts").success());
        return;
    }
    let none: [&str; 0] = [];
    let config = Config::from_flags(&app(|| Orders), &none).expect("it reads");
    assert_eq!(
        (config.max_message_size, config.workers, config.log.as_str(), config.services.join(",")),
        (4 * 1024 * 1024, 2, "info", "orders".to_owned())
    );
}
