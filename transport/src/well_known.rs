//! `google.protobuf.Timestamp` and `Duration`, where a contract has fields of them: on the wire as everywhere, and in JSON the
//! texts that proto3 has for them ([ProtoJSON](https://protobuf.dev/programming-guides/json/)). Nothing here reads a clock.

use std::fmt;
use std::time::SystemTime;

use serde::{Deserialize, Deserializer, Serialize, Serializer, de, ser};

/// Nanoseconds of a second.
const SECOND: i32 = 1_000_000_000;

/// A point in time. In JSON it is `"2026-11-29T08:00:00.250Z"`, of the years 1 to 9999.
#[derive(Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, prost::Message)]
pub struct Timestamp {
    /// Seconds since the beginning of 1970, UTC; before it they are negative.
    #[prost(int64, tag = "1")]
    pub seconds: i64,
    /// What comes on top of them, in nanoseconds: 0 to 999,999,999, also before 1970.
    #[prost(int32, tag = "2")]
    pub nanos: i32,
}

/// A span of time, also a negative one. In JSON it is `"1.500s"`, of some 10,000 years at most.
#[derive(Clone, Copy, PartialEq, Eq, Hash, prost::Message)]
pub struct Duration {
    /// Whole seconds.
    #[prost(int64, tag = "1")]
    pub seconds: i64,
    /// What comes on top of them, in nanoseconds, with the sign of the span.
    #[prost(int32, tag = "2")]
    pub nanos: i32,
}

/// The span or the time does not fit into the other type.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("out of range")]
pub struct OutOfRange;

impl Timestamp {
    fn is_valid(self) -> bool {
        (-62_135_596_800..=253_402_300_799).contains(&self.seconds) && (0..SECOND).contains(&self.nanos)
    }
}

impl Duration {
    fn is_valid(self) -> bool {
        let one_sign = self.seconds == 0 || self.nanos == 0 || (self.seconds < 0) == (self.nanos < 0);
        self.seconds.unsigned_abs() <= 315_576_000_000
            && (1 - SECOND..SECOND).contains(&self.nanos)
            && one_sign
    }
}

impl TryFrom<SystemTime> for Timestamp {
    type Error = OutOfRange;

    fn try_from(time: SystemTime) -> Result<Self, OutOfRange> {
        let (span, is_before) = match time.duration_since(SystemTime::UNIX_EPOCH) {
            Ok(after) => (after, false),
            Err(before) => (before.duration(), true),
        };
        let Duration { seconds, nanos } = span.try_into()?;
        let time = match (is_before, nanos) {
            (false, _) => Self { seconds, nanos },
            (true, 0) => Self { seconds: -seconds, nanos },
            (true, _) => Self { seconds: -seconds - 1, nanos: SECOND - nanos },
        };
        if time.is_valid() { Ok(time) } else { Err(OutOfRange) }
    }
}

impl TryFrom<Timestamp> for SystemTime {
    type Error = OutOfRange;

    fn try_from(time: Timestamp) -> Result<Self, OutOfRange> {
        let there =
            time.is_valid().then_some(prost_types::Timestamp { seconds: time.seconds, nanos: time.nanos });
        there.and_then(|time| time.try_into().ok()).ok_or(OutOfRange)
    }
}

impl TryFrom<std::time::Duration> for Duration {
    type Error = OutOfRange;

    fn try_from(span: std::time::Duration) -> Result<Self, OutOfRange> {
        let seconds = i64::try_from(span.as_secs()).map_err(|_| OutOfRange)?;
        let span = Self { seconds, nanos: i32::try_from(span.subsec_nanos()).map_err(|_| OutOfRange)? };
        if span.is_valid() { Ok(span) } else { Err(OutOfRange) }
    }
}

impl TryFrom<Duration> for std::time::Duration {
    type Error = OutOfRange;

    fn try_from(span: Duration) -> Result<Self, OutOfRange> {
        if !span.is_valid() {
            return Err(OutOfRange);
        }
        let seconds = u64::try_from(span.seconds).map_err(|_| OutOfRange)?;
        Ok(Self::new(seconds, u32::try_from(span.nanos).map_err(|_| OutOfRange)?))
    }
}

impl Serialize for Timestamp {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        if !self.is_valid() {
            return Err(ser::Error::custom("a timestamp is out of range"));
        }
        serializer.collect_str(&prost_types::Timestamp { seconds: self.seconds, nanos: self.nanos })
    }
}

impl Serialize for Duration {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        if !self.is_valid() {
            return Err(ser::Error::custom("a duration is out of range"));
        }
        serializer.collect_str(&prost_types::Duration { seconds: self.seconds, nanos: self.nanos })
    }
}

impl<'de> Deserialize<'de> for Timestamp {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_str(Text(
            "a time as in \"2026-11-29T08:00:00.250Z\", of the years 1 to 9999",
            |text| {
                let prost_types::Timestamp { seconds, nanos } = text.parse().ok()?;
                Some(Self { seconds, nanos }).filter(|time| time.is_valid())
            },
        ))
    }
}

impl<'de> Deserialize<'de> for Duration {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_str(Text(
            "a number of seconds as in \"1.500s\", 315576000000 at most",
            |text| {
                let prost_types::Duration { seconds, nanos } = text.parse().ok()?;
                Some(Self { seconds, nanos }).filter(|span| span.is_valid())
            },
        ))
    }
}

/// What is read from a text: what is expected, and how it is read.
struct Text<T>(&'static str, fn(&str) -> Option<T>);

impl<T> de::Visitor<'_> for Text<T> {
    type Value = T;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.0)
    }

    fn visit_str<E: de::Error>(self, text: &str) -> Result<T, E> {
        (self.1)(text).ok_or_else(|| E::invalid_value(de::Unexpected::Str(text), &self))
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use serde_json::{from_value, json, to_value};

    use super::*;

    fn at(seconds: i64, nanos: i32) -> Timestamp {
        Timestamp { seconds, nanos }
    }

    fn span(seconds: i64, nanos: i32) -> Duration {
        Duration { seconds, nanos }
    }

    #[test]
    fn a_time_is_the_text_that_proto3_has_for_it() {
        for (time, text) in [
            (at(0, 0), "1970-01-01T00:00:00Z"),
            (at(63_108_020, 21_000_000), "1972-01-01T10:00:20.021Z"),
            (at(-1, 999_999_999), "1969-12-31T23:59:59.999999999Z"),
            (at(-62_135_596_800, 0), "0001-01-01T00:00:00Z"),
            (at(253_402_300_799, 1_000), "9999-12-31T23:59:59.000001Z"),
        ] {
            assert_eq!(to_value(time).expect("it is in range"), json!(text));
            assert_eq!(from_value::<Timestamp>(json!(text)).expect("it is right"), time);
        }
        let with_offset = from_value::<Timestamp>(json!("1970-01-01T01:00:00+01:00"));
        assert_eq!(with_offset.expect("it is right"), at(0, 0));
    }

    #[test]
    fn a_span_is_the_text_that_proto3_has_for_it() {
        for (span, text) in [
            (span(0, 0), "0s"),
            (span(3, 1_000_000), "3.001s"),
            (span(-90, -2_456_301), "-90.002456301s"),
            (span(0, -5_000), "-0.000005s"),
            (span(315_576_000_000, 0), "315576000000s"),
        ] {
            assert_eq!(to_value(span).expect("it is in range"), json!(text));
            assert_eq!(from_value::<Duration>(json!(text)).expect("it is right"), span);
        }
    }

    #[test]
    fn what_is_out_of_range_is_refused_both_ways() {
        for time in
            [at(253_402_300_800, 0), at(-62_135_596_801, 0), at(0, -1), at(0, SECOND), at(i64::MIN, i32::MIN)]
        {
            to_value(time).expect_err("it is out of range");
            SystemTime::try_from(time).expect_err("it is out of range");
        }
        for span in [span(315_576_000_001, 0), span(1, -1), span(-1, 1), span(0, SECOND), span(i64::MIN, 0)] {
            to_value(span).expect_err("it is out of range");
            std::time::Duration::try_from(span).expect_err("it is out of range");
        }
        for text in ["10000-01-01T00:00:00Z", "0000-01-01T00:00:00Z", "yesterday", "2026-02-30T00:00:00Z"] {
            let error = from_value::<Timestamp>(json!(text)).expect_err("it is wrong").to_string();
            assert!(error.contains("expected a time as in"), "{error}");
        }
        for text in ["1", "315576000001s", "--1s", "-9223372036854775808s", "1.-5s"] {
            let error = from_value::<Duration>(json!(text)).expect_err("it is wrong").to_string();
            assert!(error.contains("expected a number of seconds as in"), "{error}");
        }
    }

    proptest! {
        #[test]
        fn a_text_whatever_is_in_it_is_read_or_refused(text in "\\PC*|[-+]?[0-9.:TZs+ -]{0,40}") {
            for json in from_value::<Timestamp>(json!(text)).iter().map(to_value) {
                json.expect("what was read can be written");
            }
            for json in from_value::<Duration>(json!(text)).iter().map(to_value) {
                json.expect("what was read can be written");
            }
        }

        #[test]
        fn a_time_of_this_machine_is_itself_again(seconds in -60_000_000_000_i64..200_000_000_000, nanos in 0..SECOND) {
            let time = SystemTime::try_from(at(seconds, nanos)).expect("it is in range");
            prop_assert_eq!(Timestamp::try_from(time), Ok(at(seconds, nanos)));
        }

        #[test]
        fn a_span_of_this_machine_is_itself_again(seconds in 0..315_576_000_000_u64, nanos in 0..1_000_000_000_u32) {
            let span = std::time::Duration::new(seconds, nanos);
            let there = Duration::try_from(span).expect("it is in range");
            prop_assert_eq!(std::time::Duration::try_from(there), Ok(span));
        }
    }
}
