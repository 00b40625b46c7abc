//! How the time that is left of a deadline travels between machines: the header `grpc-timeout`
//! (<https://github.com/grpc/grpc/blob/master/doc/PROTOCOL-HTTP2.md>).

use std::time::Duration;

use http::HeaderValue;

/// Writes a `grpc-timeout`: at most eight digits, in the finest unit in which they suffice.
pub(crate) fn encode(timeout: Duration) -> HeaderValue {
    const DIGITS: u64 = 100_000_000;
    // As nanoseconds, a `u64` has some five million hours.
    let Ok(nanos) = u64::try_from(timeout.as_nanos()) else {
        return write((timeout.as_secs() / 3600).min(DIGITS - 1), b'H');
    };
    let (value, unit) =
        [(1, b'n'), (1_000, b'u'), (1_000_000, b'm'), (1_000_000_000, b'S'), (60_000_000_000, b'M')]
            .into_iter()
            .map(|(size, unit)| (nanos / size, unit))
            .find(|(value, _)| *value < DIGITS)
            .unwrap_or((nanos / 3_600_000_000_000, b'H'));
    write(value, unit)
}

/// The digits and the unit. By hand: it is on the way of every call.
fn write(mut value: u64, unit: u8) -> HeaderValue {
    let mut text = [0; 9];
    let mut start = text.len() - 1;
    text[start] = unit;
    loop {
        start -= 1;
        text[start] = b'0' + (value % 10) as u8;
        value /= 10;
        if value == 0 {
            break HeaderValue::from_bytes(&text[start..]).expect("digits and a letter are a header value");
        }
    }
}

/// Reads a `grpc-timeout`.
pub(crate) fn parse(value: &HeaderValue) -> Option<Duration> {
    let (unit, digits) = value.as_bytes().split_last()?;
    if digits.is_empty() || digits.len() > 8 || !digits.iter().all(u8::is_ascii_digit) {
        return None;
    }
    let value = std::str::from_utf8(digits).ok()?.parse::<u64>().ok()?;
    match unit {
        b'H' => Some(Duration::from_secs(value * 3600)),
        b'M' => Some(Duration::from_secs(value * 60)),
        b'S' => Some(Duration::from_secs(value)),
        b'm' => Some(Duration::from_millis(value)),
        b'u' => Some(Duration::from_micros(value)),
        b'n' => Some(Duration::from_nanos(value)),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn a_timeout_is_written_in_the_finest_unit_that_needs_no_more_than_eight_digits() {
        for (timeout, written) in [
            (Duration::from_nanos(99_999_999), "99999999n"),
            (Duration::from_nanos(100_000_000), "100000u"),
            (Duration::from_micros(100_000_000), "100000m"),
            (Duration::from_millis(100_000_000), "100000S"),
            (Duration::from_secs(100_000_000), "1666666M"),
            (Duration::from_secs(60 * 100_000_000), "1666666H"),
            (Duration::MAX, "99999999H"),
        ] {
            assert_eq!(encode(timeout), written);
        }
    }

    #[test]
    fn a_timeout_is_read_in_each_of_its_units() {
        let units = [("7n", 7), ("7u", 7_000), ("7m", 7_000_000), ("7S", 7_000_000_000)];
        let longer = [("7M", 7 * 60 * 1_000_000_000), ("7H", 7 * 3600 * 1_000_000_000), ("00000007n", 7)];
        for (written, nanos) in units.into_iter().chain(longer) {
            assert_eq!(
                parse(&HeaderValue::from_static(written)),
                Some(Duration::from_nanos(nanos)),
                "{written}"
            );
        }
    }

    #[test]
    fn a_malformed_timeout_is_none() {
        for bad in ["", "S", "10", "123456789S", "-1S", "1s", "1 S", "1.5S"] {
            assert_eq!(parse(&HeaderValue::from_static(bad)), None, "{bad}");
        }
    }

    proptest! {
        #[test]
        fn whatever_a_caller_sends_is_a_timeout_of_eight_digits_or_none(
            bytes in prop_oneof![prop::collection::vec(any::<u8>(), 0..20), "[0-9]{0,9}[HMSmunx]?".prop_map(String::into_bytes)]
        ) {
            // What is no header's value never comes so far.
            let Ok(value) = HeaderValue::from_bytes(&bytes) else { return Ok(()) };
            let longest = Duration::from_secs(99_999_999 * 3600);
            prop_assert!(parse(&value).is_none_or(|timeout| timeout <= longest));
        }

        #[test]
        fn a_timeout_survives_the_wire_and_never_grows(secs in 0..u64::MAX / 4, nanos in 0..1_000_000_000u32) {
            let timeout = Duration::new(secs, nanos);
            let header = encode(timeout);
            prop_assert!(header.len() <= 9);
            let back = parse(&header).expect("what was encoded parses");
            prop_assert!(back <= timeout);
            let representable = timeout < Duration::from_secs(99_999_999 * 3600);
            // Eight digits keep at least seven significant ones, and the next unit is at most 3600 times coarser.
            prop_assert!(!representable || timeout - back <= timeout / 1000 + Duration::from_nanos(1));
        }
    }
}
