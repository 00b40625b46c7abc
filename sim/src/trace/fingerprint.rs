//! The number that stands for a trace, computed as things happen.

use std::fmt;

use crate::entropy::mix;

/// A hash that takes what it is given piece by piece.
///
/// It need not resist anyone; it must be fast, and the same everywhere.
#[derive(Debug, Clone, Copy, Default)]
pub(crate) struct Fingerprint(u64);

impl Fingerprint {
    pub(crate) fn number(&mut self, value: u64) {
        self.pair(value, 0);
    }

    /// Two numbers at the price of one (wyhash, Wang Yi 2019).
    fn pair(&mut self, one: u64, other: u64) {
        let product =
            u128::from(self.0 ^ one ^ 0x9E37_79B9_7F4A_7C15) * u128::from(other ^ 0xA076_1D64_78BD_642F);
        self.0 = (product >> 64) as u64 ^ product as u64;
    }

    pub(crate) fn bytes(&mut self, bytes: &[u8]) {
        let mut rest = bytes;
        while let Some((one, after)) = rest.split_first_chunk()
            && let Some((other, after)) = after.split_first_chunk()
        {
            self.pair(u64::from_le_bytes(*one), u64::from_le_bytes(*other));
            rest = after;
        }
        let (one, other) = match rest.split_first_chunk() {
            Some((one, after)) => (u64::from_le_bytes(*one), short_word(after)),
            None => (short_word(rest), 0),
        };
        self.pair(one ^ ((bytes.len() as u64) << 56), other);
    }

    /// Hashes a value as it prints.
    pub(crate) fn print(&mut self, value: &impl fmt::Display) {
        fmt::write(self, format_args!("{value}")).expect("a fingerprint takes all that is written to it");
    }

    pub(crate) fn value(self) -> u64 {
        mix(self.0)
    }
}

impl fmt::Write for Fingerprint {
    fn write_str(&mut self, text: &str) -> fmt::Result {
        self.bytes(text.as_bytes());
        Ok(())
    }
}

/// Fewer than eight bytes as a number. No copy, which would be a call: most texts end in such a piece.
fn short_word(bytes: &[u8]) -> u64 {
    bytes.iter().fold(0, |word, byte| (word << 8) | u64::from(*byte))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_bit_changes_the_fingerprint() {
        let fingerprint = |bytes: &[u8]| {
            let mut fingerprint = Fingerprint::default();
            fingerprint.bytes(bytes);
            fingerprint.value()
        };
        assert_ne!(fingerprint(b"12345678"), fingerprint(b"12345679"));
        assert_ne!(fingerprint(b""), fingerprint(b"\0"));
    }
}
