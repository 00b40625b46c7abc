//! Runs a node: reads the configuration, binds, serves, and drains on SIGTERM or SIGINT.

use std::process::ExitCode;

use node::{Config, ConfigError, Node, log};
use tokio::signal::unix::{Signal, SignalKind, signal};

const EX_USAGE: u8 = 64;
const EX_UNAVAILABLE: u8 = 69;
const EX_SOFTWARE: u8 = 70;

/// A tenth of a request's instructions is memory that comes and goes: this allocator has less to do for it.
#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

fn main() -> ExitCode {
    let config = match Config::read(std::env::args_os()) {
        Ok(config) => config,
        Err(ConfigError::Help(text)) => return say(&text),
        Err(ConfigError::Wrong(text)) => return fail(&text, EX_USAGE),
    };
    if config.check {
        return say(&format!("{config}\n"));
    }
    let log_config = config.clone();
    let node = match Node::bind(config) {
        Ok(node) => node,
        Err(error) => return fail(&error.to_string(), EX_UNAVAILABLE),
    };
    let log = log::start(&log_config);
    let runtime = match tokio::runtime::Builder::new_current_thread().enable_all().build() {
        Ok(runtime) => runtime,
        Err(error) => return fail(&error.to_string(), EX_SOFTWARE),
    };
    let outcome = runtime.block_on(async {
        let mut signals = Signals::new()?;
        let node = node.run(async move {
            signals.next().await;
            tokio::spawn(async move {
                signals.next().await;
                std::process::exit(130)
            });
        });
        tokio::select! {
            outcome = node => outcome,
            () = log.report_drops() => unreachable!("it reports for ever"),
        }
    });
    // What waits to be logged is written before the process ends.
    drop(log);
    match outcome {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => fail(&error.to_string(), EX_SOFTWARE),
    }
}

/// The signals that ask a node to stop.
struct Signals {
    terminate: Signal,
    interrupt: Signal,
}

impl Signals {
    fn new() -> std::io::Result<Self> {
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

fn say(text: &str) -> ExitCode {
    use std::io::Write as _;
    // A reader that went away has seen enough.
    std::io::stdout().write_all(text.as_bytes()).ok();
    ExitCode::SUCCESS
}

fn fail(text: &str, code: u8) -> ExitCode {
    eprintln!("node: {text}");
    ExitCode::from(code)
}
