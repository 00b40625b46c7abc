//! How long to wait before connecting again: gRPC's connection backoff
//! (<https://github.com/grpc/grpc/blob/master/doc/connection-backoff.md>).

use std::time::Duration;

const FIRST: Duration = Duration::from_secs(1);
const FACTOR: f64 = 1.6;
const JITTER: f64 = 0.2;
const LONGEST: Duration = Duration::from_secs(120);

/// The wait after the `failures`th failure in a row, counted from 1; `chance` is in 0..1.
pub(super) fn wait(failures: u32, chance: f64) -> Duration {
    let exponent = i32::try_from(failures.saturating_sub(1)).unwrap_or(i32::MAX);
    let wait = FIRST.as_secs_f64() * FACTOR.powi(exponent);
    let wait = wait.min(LONGEST.as_secs_f64());
    Duration::from_secs_f64(wait * (1.0 + JITTER * (2.0 * chance - 1.0)))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn waits_grow_by_1_6_up_to_two_minutes() {
        let waits: Vec<_> = (1..=13).map(|failures| wait(failures, 0.5).as_millis()).collect();
        assert_eq!(waits[..3], [1000, 1600, 2560]);
        assert_eq!(waits[11..], [120_000, 120_000]);
        assert_eq!(wait(u32::MAX, 0.5), LONGEST);
    }

    #[test]
    fn waits_vary_by_a_fifth_either_way() {
        assert_eq!(wait(1, 0.0), Duration::from_millis(800));
        assert!(wait(1, 0.999) < Duration::from_millis(1200));
    }
}
