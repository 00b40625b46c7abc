//! The wall clock of this machine, for what has a time that others see, or that outlives the process. It may be set
//! back and forth meanwhile: nothing is measured by it.

use std::time::SystemTime;

#[allow(clippy::disallowed_methods, reason = "this is where the wall clock enters")]
pub(crate) fn wall_clock() -> SystemTime {
    SystemTime::now()
}
