//! From starting the node to its first answer, and the memory it then holds while nothing happens.

use std::time::Duration;

use crate::error::Error;
use crate::field;
use crate::options::Options;
use crate::program::{now, pause};
use crate::progress::Progress;
use crate::samples::sorted;

const STARTS: usize = 9;
const IDLE: Duration = Duration::from_secs(1);

#[derive(Debug)]
pub(crate) struct Start {
    /// Milliseconds, in rising order.
    pub(crate) first_answer_ms: Vec<f64>,
    pub(crate) resident_kib: u64,
}

/// Starts a whole node several times; the last one is left alone for a moment before it is weighed.
pub(crate) fn measure(options: &Options, progress: &mut Progress) -> Result<Start, Error> {
    let starts = if options.short { 1 } else { STARTS };
    let mut first_answer_ms = Vec::new();
    let mut resident_kib = 0;
    for start in 1..=starts {
        progress.say(&format!("start to first answer: {start} of {starts}"));
        let begin = now();
        let (mut node, rest, _) = field::whole_node(options)?;
        node.wait_for_answer(rest, "/api/v1/name?name=test", "{\"name\":\"TEST\"}")?;
        first_answer_ms.push(begin.elapsed().as_secs_f64() * 1e3);
        if start == starts {
            pause(IDLE);
            resident_kib = node.resident_kib()?;
        }
    }
    Ok(Start { first_answer_ms: sorted(first_answer_ms.into_iter()), resident_kib })
}
