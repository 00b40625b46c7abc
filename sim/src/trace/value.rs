//! The values of log lines, kept in the type in which the program gave them.

use std::fmt;

use crate::trace::fingerprint::Fingerprint;

/// Names and values, in the order in which they were said.
pub type Fields = Vec<(&'static str, Value)>;

/// One value.
#[derive(Debug, Clone, PartialEq)]
pub enum Value {
    /// A number without a sign.
    U64(u64),
    /// A negative number.
    I64(i64),
    /// A number with a fraction.
    F64(f64),
    /// Yes or no.
    Bool(bool),
    /// Anything else, as the program prints it.
    Text(String),
}

impl Value {
    /// The number, if it is one without sign and fraction.
    #[must_use]
    pub fn as_u64(&self) -> Option<u64> {
        match self {
            Self::U64(number) => Some(*number),
            Self::I64(number) => u64::try_from(*number).ok(),
            _ => None,
        }
    }

    /// The number, if it is one without a fraction that fits.
    #[must_use]
    pub fn as_i64(&self) -> Option<i64> {
        match self {
            Self::U64(number) => i64::try_from(*number).ok(),
            Self::I64(number) => Some(*number),
            _ => None,
        }
    }

    /// The number, if it is one of any sort.
    #[must_use]
    pub fn as_f64(&self) -> Option<f64> {
        match self {
            Self::U64(number) => Some(*number as f64),
            Self::I64(number) => Some(*number as f64),
            Self::F64(number) => Some(*number),
            _ => None,
        }
    }

    /// Yes or no, if it is that.
    #[must_use]
    pub fn as_bool(&self) -> Option<bool> {
        if let Self::Bool(value) = self { Some(*value) } else { None }
    }

    /// The text, if it is one.
    #[must_use]
    pub fn as_str(&self) -> Option<&str> {
        if let Self::Text(text) = self { Some(text) } else { None }
    }

    /// Hashes the value without printing it.
    pub(crate) fn hash_into(&self, fingerprint: &mut Fingerprint) {
        match self {
            Self::U64(number) => fingerprint.number(*number),
            Self::I64(number) => fingerprint.number(number.cast_unsigned()),
            Self::F64(number) => fingerprint.number(number.to_bits()),
            Self::Bool(value) => fingerprint.number(u64::from(*value)),
            Self::Text(text) => fingerprint.bytes(text.as_bytes()),
        }
    }
}

impl fmt::Display for Value {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::U64(number) => write!(f, "{number}"),
            Self::I64(number) => write!(f, "{number}"),
            Self::F64(number) => write!(f, "{number}"),
            Self::Bool(value) => write!(f, "{value}"),
            Self::Text(text) => f.write_str(text),
        }
    }
}
