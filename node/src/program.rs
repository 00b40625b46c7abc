//! A node as a process: reads the configuration, serves, and drains on SIGTERM, SIGINT or SIGHUP.

use std::convert::Infallible;
use std::ffi::OsString;
use std::hint::black_box;
use std::io::{self, Write as _};
use std::process::ExitCode;
use std::sync::{Arc, mpsc};
use std::time::Duration;

use tokio::signal::unix::{Signal, SignalKind, signal};
use tokio::time::sleep;

use crate::app::App;
use crate::config::{self, Config, ConfigError, Defaults};
use crate::descriptors;
use crate::hooks::Hooks;
use crate::log::{self, Log};
use crate::memory;
use crate::run::run;
use crate::start_error::StartError;
use crate::this_machine::ThisMachine;

const EX_USAGE: u8 = 64;
const EX_UNAVAILABLE: u8 = 69;
const EX_SOFTWARE: u8 = 70;

/// How often memory that was freed is given back to the machine.
const GIVE_BACK_EVERY: Duration = Duration::from_secs(2);

/// A block of so many bytes shares its pages with no other.
const OF_ITS_OWN: usize = 2 * 1024 * 1024;

/// How long a second signal waits for the last lines of the log.
const AT_ONCE: Duration = Duration::from_millis(100);

/// How long the end waits for somebody to read why it came.
const LAST_WORDS: Duration = Duration::from_secs(1);

/// The whole of a node's `main`: reads the configuration, makes the app, and serves it until SIGTERM, SIGINT or
/// SIGHUP.
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
        Ok(config::Read { explained: Some(explained), .. }) => say(&explained),
        Ok(read) if read.is_check => say(&read.printed),
        Ok(read) => serve(name, read.app, read.config),
        Err(ConfigError::Help(text)) => say(&text),
        Err(ConfigError::Wrong(text)) => fail(name, &text, EX_USAGE),
    }
}

fn serve(name: &str, app: App, config: Config) -> ExitCode {
    descriptors::raise_limit();
    let log = match log::start(&config) {
        Ok(log) => Arc::new(log),
        Err(error) => return fail(name, &error.to_string(), EX_SOFTWARE),
    };
    let runtime = match tokio::runtime::Builder::new_current_thread().enable_all().build() {
        Ok(runtime) => runtime,
        Err(error) => return fail(name, &error.to_string(), EX_SOFTWARE),
    };
    let machine = ThisMachine { dead_after: Some(config.keepalive().timeout) };
    let outcome = runtime.block_on(async {
        let shutdown = shutdown(log.clone())?;
        tokio::select! {
            outcome = run(app, config, &machine, Hooks::default(), shutdown) => outcome,
            never = give_back_memory() => match never {},
        }
    });
    // What waits to be logged is written before the process ends, and what runs for the second signal is over.
    drop(runtime);
    drop(log);
    match outcome {
        Ok(()) => ExitCode::SUCCESS,
        Err(error @ (StartError::Bind { .. } | StartError::Store { .. })) => {
            fail(name, &error.to_string(), EX_UNAVAILABLE)
        }
        Err(error @ StartError::Server(_)) => fail(name, &error.to_string(), EX_SOFTWARE),
    }
}

/// Gives memory back to the machine that was freed before nobody called any more. mimalloc looks for it a second after it
/// was freed, but only where it is called, and where a block goes that has pages of its own.
async fn give_back_memory() -> Infallible {
    loop {
        sleep(GIVE_BACK_EVERY).await;
        drop(black_box(Vec::<u8>::with_capacity(OF_ITS_OWN)));
    }
}

/// Resolves with the first signal that asks the node to stop. SIGTERM or SIGINT ends the process at once from then on; a
/// terminal that closes may send SIGHUP twice.
#[expect(clippy::disallowed_methods, reason = "signals enter here, outside of any simulation")]
fn shutdown(log: Arc<Log>) -> io::Result<impl Future<Output = ()>> {
    let mut signals = Signals::new()?;
    Ok(async move {
        signals.first().await;
        tokio::spawn(async move {
            signals.second().await;
            log.flush(AT_ONCE);
            std::process::exit(130)
        });
    })
}

/// The signals that ask a node to stop.
struct Signals {
    terminate: Signal,
    interrupt: Signal,
    /// None where whoever started the node has it ignored, as nohup(1) does.
    hangup: Option<Signal>,
}

impl Signals {
    #[expect(clippy::disallowed_methods, reason = "this is where signals enter")]
    fn new() -> io::Result<Self> {
        let hangup = if is_hangup_ignored() { None } else { Some(signal(SignalKind::hangup())?) };
        let terminate = signal(SignalKind::terminate())?;
        Ok(Self { terminate, interrupt: signal(SignalKind::interrupt())?, hangup })
    }

    async fn first(&mut self) {
        let Self { terminate, interrupt, hangup } = self;
        tokio::select! {
            _ = terminate.recv() => {}
            _ = interrupt.recv() => {}
            Some(_) = async { hangup.as_mut()?.recv().await } => {}
        }
    }

    async fn second(&mut self) {
        tokio::select! {
            _ = self.terminate.recv() => {}
            _ = self.interrupt.recv() => {}
        }
    }
}

/// Linux tells in a mask (`proc(5)`); where nothing tells, it is not.
fn is_hangup_ignored() -> bool {
    let status = std::fs::read_to_string("/proc/self/status").unwrap_or_default();
    let mask = status.lines().find_map(|line| line.strip_prefix("SigIgn:"));
    let mask = mask.and_then(|mask| u64::from_str_radix(mask.trim(), 16).ok());
    mask.is_some_and(|mask| mask & 1 != 0)
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
    // A reader that went away has seen enough.
    io::stdout().write_all(text.as_bytes()).ok();
    ExitCode::SUCCESS
}

fn fail(name: &str, text: &str, code: u8) -> ExitCode {
    let line = format!("{name}: {text}\n");
    within(LAST_WORDS, move || {
        // Whoever closed it wants to hear nothing.
        io::stderr().write_all(line.as_bytes()).ok();
    });
    ExitCode::from(code)
}

/// Does `work`, and waits for it no longer than `limit`. It is left behind then.
#[allow(clippy::disallowed_methods, reason = "whoever reads what a program says may hold it up for ever")]
fn within(limit: Duration, work: impl Fn() + Send + Clone + 'static) {
    let (done, is_done) = mpsc::channel();
    let copy = work.clone();
    let thread = std::thread::Builder::new().spawn(move || {
        copy();
        done.send(()).ok();
    });
    match thread {
        Ok(_) => drop(is_done.recv_timeout(limit)),
        Err(_) => work(),
    }
}
