//! The time of a line.

use std::ops::Range;
use std::time::{SystemTime, UNIX_EPOCH};

/// Where the microseconds are in the text of a time.
const MICROS: Range<usize> = 20..26;

/// Writes the time in UTC as in RFC 3339, with microseconds. Keeps the part that changes once a second.
#[derive(Debug)]
pub(super) struct Clock {
    second: u64,
    text: String,
}

impl Default for Clock {
    fn default() -> Self {
        Self { second: u64::MAX, text: String::new() }
    }
}

impl Clock {
    pub(super) fn write(&mut self, now: SystemTime, to: &mut Vec<u8>) {
        // A clock before 1970 is wrong anyway.
        let since = now.duration_since(UNIX_EPOCH).unwrap_or_default();
        if since.as_secs() != self.second {
            self.second = since.as_secs();
            self.text = humantime::format_rfc3339_micros(UNIX_EPOCH + since).to_string();
        }
        let start = to.len();
        to.extend_from_slice(self.text.as_bytes());
        let mut micros = since.subsec_micros();
        for digit in to[start..][MICROS].iter_mut().rev() {
            *digit = b'0' + (micros % 10) as u8;
            micros /= 10;
        }
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use proptest::prelude::*;

    use super::*;

    proptest! {
        #[test]
        fn a_time_is_written_as_humantime_writes_it(times in prop::collection::vec(0..4_000_000_000_000_000_u64, 1..9)) {
            let mut clock = Clock::default();
            for micros in times {
                for micros in [micros, micros + 1] {
                    let (time, mut text) = (UNIX_EPOCH + Duration::from_micros(micros), Vec::new());
                    clock.write(time, &mut text);
                    let expected = humantime::format_rfc3339_micros(time).to_string();
                    prop_assert_eq!(String::from_utf8_lossy(&text), expected);
                }
            }
        }
    }
}
