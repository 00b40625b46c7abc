//! A started program: its log, its first answer, its memory. Dropping it ends it.

use std::fs::{self, File, OpenOptions};
use std::io::{self, Read, Write};
use std::net::{Ipv4Addr, SocketAddr, TcpListener, TcpStream};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use crate::error::Error;

const ANSWER_MAX: Duration = Duration::from_secs(10);
const SETTLE_MAX: Duration = Duration::from_secs(30);

#[derive(Debug)]
pub(crate) struct Program {
    title: String,
    child: Child,
    log: PathBuf,
}

impl Program {
    /// Starts `command` with its output appended to a new log file in cargo's folder for such things.
    #[expect(clippy::disallowed_methods, reason = "a test or bench drives programs from outside")]
    pub(crate) fn start(title: &str, command: &mut Command) -> Result<Self, Error> {
        let log = log_path(title);
        File::create(&log).map_err(Error::io(format!("creating {}", log.display())))?;
        let append = || {
            OpenOptions::new()
                .append(true)
                .open(&log)
                .map_err(Error::io(format!("opening {}", log.display())))
        };
        for (name, _) in std::env::vars_os() {
            if name == "RUST_LOG" || name.as_encoded_bytes().starts_with(b"NODE_") {
                command.env_remove(name); // what is measured is the default
            }
        }
        let child = command
            .stdin(Stdio::null())
            .stdout(append()?)
            .stderr(append()?)
            .spawn()
            .map_err(Error::io(format!("starting {title}")))?;
        Ok(Self { title: title.to_owned(), child, log })
    }

    /// Waits until the program answers `path` with a body that holds `wanted`.
    pub(crate) fn wait_for_answer(
        &mut self,
        address: SocketAddr,
        path: &str,
        wanted: &str,
    ) -> Result<(), Error> {
        let start = now();
        loop {
            let reason = match get(address, path) {
                Ok(answer) if answer.starts_with("HTTP/1.1 200") && answer.ends_with(wanted) => {
                    return Ok(());
                }
                Ok(answer) => format!("expected {wanted}, got {answer:.400}"),
                Err(error) => error.to_string(),
            };
            let ended = self.child.try_wait().map_err(Error::io("waiting for a program"))?;
            if ended.is_some() || start.elapsed() > ANSWER_MAX {
                let log = self.log.display().to_string();
                return Err(Error::NoAnswer { title: self.title.clone(), reason, log });
            }
            pause(Duration::from_micros(200));
        }
    }

    /// Waits until the program has written out its log, counts the lines of it, and empties it.
    pub(crate) fn take_log_lines(&self) -> Result<u64, Error> {
        let io = |source| Error::Io { what: format!("reading {}", self.log.display()), source };
        let start = now();
        let mut bytes = fs::metadata(&self.log).map_err(io)?.len();
        loop {
            pause(Duration::from_millis(100));
            let bytes_now = fs::metadata(&self.log).map_err(io)?.len();
            if bytes_now == bytes || start.elapsed() > SETTLE_MAX {
                break;
            }
            bytes = bytes_now;
        }
        let lines = count_lines(&self.log).map_err(io)?;
        OpenOptions::new().write(true).open(&self.log).and_then(|file| file.set_len(0)).map_err(io)?;
        Ok(lines)
    }

    /// Resident memory in KiB, as the kernel counts it.
    pub(crate) fn resident_kib(&self) -> Result<u64, Error> {
        let path = format!("/proc/{}/status", self.child.id());
        let status = fs::read_to_string(&path).map_err(Error::io(format!("reading {path}")))?;
        let field = status.lines().find_map(|line| line.strip_prefix("VmRSS:"));
        field
            .and_then(|value| value.trim().trim_end_matches(" kB").parse().ok())
            .ok_or_else(|| Error::Io { what: path, source: io::ErrorKind::InvalidData.into() })
    }
}

impl Drop for Program {
    fn drop(&mut self) {
        if let Err(error) = self.child.kill().and_then(|()| self.child.wait()) {
            eprintln!("edge: ending {}: {error}", self.title);
        }
    }
}

/// Where a program of this title logs, for a program that opens its log itself.
pub(crate) fn log_path(title: &str) -> PathBuf {
    Path::new(env!("CARGO_TARGET_TMPDIR")).join(format!("edge-{}.log", title.replace(' ', "-")))
}

/// An address of this machine that was free a moment ago.
pub(crate) fn free_address() -> Result<SocketAddr, Error> {
    TcpListener::bind((Ipv4Addr::LOCALHOST, 0))
        .and_then(|listener| listener.local_addr())
        .map_err(Error::io("looking for a free port"))
}

#[allow(clippy::disallowed_methods, reason = "real time is what a benchmark measures")]
pub(crate) fn now() -> Instant {
    Instant::now()
}

#[allow(clippy::disallowed_methods, reason = "this thread has nothing to do but wait for another process")]
pub(crate) fn pause(duration: Duration) {
    std::thread::sleep(duration);
}

fn get(address: SocketAddr, path: &str) -> io::Result<String> {
    let mut stream = TcpStream::connect(address)?;
    stream.set_read_timeout(Some(ANSWER_MAX))?;
    write!(stream, "GET {path} HTTP/1.1\r\nHost: {address}\r\nConnection: close\r\n\r\n")?;
    let mut answer = String::new();
    stream.read_to_string(&mut answer)?;
    Ok(answer)
}

fn count_lines(path: &Path) -> io::Result<u64> {
    let mut file = File::open(path)?;
    let mut buffer = vec![0; 1 << 20];
    let mut lines = 0;
    loop {
        match file.read(&mut buffer)? {
            0 => return Ok(lines),
            count => lines += buffer[..count].iter().filter(|byte| **byte == b'\n').count() as u64,
        }
    }
}
