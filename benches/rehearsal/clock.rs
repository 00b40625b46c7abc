//! How long work takes, by the wall and by the processor.

use std::fs;
use std::time::Instant;

use crate::error::Error;

/// Seconds that some work took.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Took {
    pub(crate) wall_s: f64,
    /// Of all threads of this program, to a hundredth of a second.
    pub(crate) processor_s: f64,
}

#[allow(clippy::disallowed_methods, reason = "real time is what a benchmark measures")]
pub(crate) fn timed<T>(work: impl FnOnce() -> Result<T, Error>) -> Result<(T, Took), Error> {
    let (processor_s, start) = (processor_s()?, Instant::now());
    let done = work()?;
    let wall_s = start.elapsed().as_secs_f64();
    Ok((done, Took { wall_s, processor_s: self::processor_s()? - processor_s }))
}

/// The kernel's account of this program, threads that have ended included (proc_pid_stat(5), fields 14 and 15).
fn processor_s() -> Result<f64, Error> {
    const TICKS_PER_S: f64 = 100.0;
    let stat = fs::read_to_string("/proc/self/stat").map_err(Error::io("reading /proc/self/stat"))?;
    // The second field is the program's name in brackets, which may hold anything.
    let fields = stat.rsplit_once(')').ok_or(Error::Proc("/proc/self/stat"))?.1;
    let mut ticks = fields.split_whitespace().skip(11).map_while(|field| field.parse::<f64>().ok());
    let (Some(user), Some(system)) = (ticks.next(), ticks.next()) else {
        return Err(Error::Proc("/proc/self/stat"));
    };
    Ok((user + system) / TICKS_PER_S)
}
