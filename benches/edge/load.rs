//! The load: `wrk` with one thread and a hundred connections.

use std::io;
use std::process::{Command, Stdio};
use std::time::Duration;

use crate::error::Error;

/// What one side did in one round.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Sample {
    pub(crate) requests: u64,
    pub(crate) requests_per_s: f64,
}

pub(crate) fn find_wrk() -> Result<(), Error> {
    match Command::new("wrk").arg("-v").stdout(Stdio::null()).stderr(Stdio::null()).status() {
        Ok(_) => Ok(()), // wrk's own exit code for -v is 1
        Err(error) if error.kind() == io::ErrorKind::NotFound => Err(Error::NoWrk),
        Err(source) => Err(Error::Io { what: "starting wrk".into(), source }),
    }
}

/// Drives `url`; an answer other than 2xx or a broken connection is an error, for speed does not count then.
pub(crate) fn drive(url: &str, duration: Duration) -> Result<Sample, Error> {
    let output = Command::new("wrk")
        .args(["-t1", "-c100", &format!("-d{}s", duration.as_secs()), url])
        .output()
        .map_err(Error::io("starting wrk"))?;
    let said = String::from_utf8_lossy(&output.stdout);
    if !output.status.success() {
        return Err(Error::Load(String::from_utf8_lossy(&output.stderr).trim().to_owned()));
    }
    if let Some(line) = said.lines().find(|line| line.contains("Non-2xx") || line.contains("Socket errors")) {
        return Err(Error::Load(format!("{url}: {}", line.trim())));
    }
    parse(&said).ok_or_else(|| Error::Load(format!("cannot read its answer: {said}")))
}

/// Reads `119811 requests in 1.10s, 14.51MB read` and `Requests/sec: 108925.45`.
fn parse(said: &str) -> Option<Sample> {
    let requests = said.lines().find_map(|line| line.split_once(" requests in "))?.0;
    let requests_per_s = said.lines().find_map(|line| line.trim().strip_prefix("Requests/sec:"))?;
    Some(Sample {
        requests: requests.trim().parse().ok()?,
        requests_per_s: requests_per_s.trim().parse().ok()?,
    })
}
