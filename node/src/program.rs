//! A node as a process: reads the configuration, serves, and drains on SIGTERM or SIGINT.

use std::ffi::OsString;
use std::io;
use std::process::ExitCode;

use tokio::signal::unix::{Signal, SignalKind, signal};

use crate::app::App;
use crate::config::{self, Config, ConfigError, Defaults};
use crate::hooks::Hooks;
use crate::log;
use crate::memory;
use crate::run::run;
use crate::start_error::StartError;
use crate::this_machine::ThisMachine;

const EX_USAGE: u8 = 64;
const EX_UNAVAILABLE: u8 = 69;
const EX_SOFTWARE: u8 = 70;

/// The whole of a node's `main`: reads the configuration, makes the app, and serves it until SIGTERM or SIGINT.
///
/// `Own` holds the flags that this node has besides every node's; `()` is none. They have variables, which begin with
/// the `name` in capitals (`--bank` of `shop` is `SHOP_BANK`), and keys in the file, and are treated like every node's in
/// `--help`, in `--check` and where a value is wrong. `app` is called once, before the rest of the configuration was
/// checked: it should start nothing. `#[command(version)]` on `Own` makes `--version` tell the version of its package.
///
/// # Panics
///
/// If a flag of `Own` is one of every node's.
pub fn main<Own: clap::Args>(name: &'static str, app: impl FnOnce(Own) -> App) -> ExitCode {
    let given = config::Program {
        name,
        arguments: std::env::args_os().collect(),
        variable: &variable,
        defaults: Some(defaults()),
    };
    match given.read(app) {
        Ok(read) if read.is_check => say(&read.printed),
        Ok(read) => serve(name, read.app, read.config),
        Err(ConfigError::Help(text)) => say(&text),
        Err(ConfigError::Wrong(text)) => fail(name, &text, EX_USAGE),
    }
}

fn serve(name: &str, app: App, config: Config) -> ExitCode {
    let log = log::start(&config);
    let runtime = match tokio::runtime::Builder::new_current_thread().enable_all().build() {
        Ok(runtime) => runtime,
        Err(error) => return fail(name, &error.to_string(), EX_SOFTWARE),
    };
    let outcome = runtime.block_on(async {
        let shutdown = shutdown()?;
        tokio::select! {
            outcome = run(app, config, &ThisMachine, Hooks::default(), shutdown) => outcome,
            () = log.report_drops() => unreachable!("it reports for ever"),
        }
    });
    // What waits to be logged is written before the process ends.
    drop(log);
    match outcome {
        Ok(()) => ExitCode::SUCCESS,
        Err(error @ StartError::Bind { .. }) => fail(name, &error.to_string(), EX_UNAVAILABLE),
        Err(error @ StartError::Server(_)) => fail(name, &error.to_string(), EX_SOFTWARE),
    }
}

/// Resolves with the first signal that asks the node to stop. A second one ends the process at once.
#[expect(clippy::disallowed_methods, reason = "signals enter here, outside of any simulation")]
fn shutdown() -> io::Result<impl Future<Output = ()>> {
    let mut signals = Signals::new()?;
    Ok(async move {
        signals.next().await;
        tokio::spawn(async move {
            signals.next().await;
            std::process::exit(130)
        });
    })
}

/// The signals that ask a node to stop.
struct Signals {
    terminate: Signal,
    interrupt: Signal,
}

impl Signals {
    #[expect(clippy::disallowed_methods, reason = "this is where signals enter")]
    fn new() -> io::Result<Self> {
        let terminate = signal(SignalKind::terminate())?;
        Ok(Self { terminate, interrupt: signal(SignalKind::interrupt())? })
    }

    async fn next(&mut self) {
        tokio::select! {
            _ = self.terminate.recv() => {}
            _ = self.interrupt.recv() => {}
        }
    }
}

#[allow(clippy::disallowed_methods, reason = "this is where the environment enters")]
fn variable(name: &str) -> Option<OsString> {
    std::env::var_os(name)
}

fn defaults() -> Defaults {
    let workers = cores();
    Defaults { workers, max_buffered: memory::for_clients(memory::of_this_machine(), workers) }
}

#[allow(clippy::disallowed_methods, reason = "this is where the machine is asked what it has")]
fn cores() -> u16 {
    let cores = std::thread::available_parallelism().map_or(1, std::num::NonZero::get);
    u16::try_from(cores).unwrap_or(u16::MAX).min(config::WORKERS_MAX)
}

fn say(text: &str) -> ExitCode {
    use io::Write as _;
    // A reader that went away has seen enough.
    io::stdout().write_all(text.as_bytes()).ok();
    ExitCode::SUCCESS
}

fn fail(name: &str, text: &str, code: u8) -> ExitCode {
    eprintln!("{name}: {text}");
    ExitCode::from(code)
}
