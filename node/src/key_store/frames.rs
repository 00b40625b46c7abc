//! How notes stand in the log: each in a frame with its length and a checksum, so that one that was written in part is
//! told from a whole one.

use std::io;

use bytes::{Buf as _, Bytes};
use prost::Message as _;
use transport::store::Note;

/// What a log begins with. A file that begins with anything else is somebody's, and is left alone.
pub(super) const HEAD: &[u8] = b"rehearsal idempotency keys 1\n";

/// The length of a note and the checksum, four bytes each, least significant first.
const FRAME: usize = 8;

/// Writes a note to the end of `log`.
///
/// # Errors
///
/// If it is larger than a frame can be.
pub(super) fn write(note: &Note, log: &mut Vec<u8>) -> io::Result<()> {
    let note = note.encode_to_vec();
    let length = u32::try_from(note.len()).map_err(io::Error::other)?.to_le_bytes();
    log.extend_from_slice(&length);
    log.extend_from_slice(&checksum(&[&length, &note]).to_le_bytes());
    log.extend_from_slice(&note);
    Ok(())
}

/// The notes of a log up to the first that is not whole, and how many bytes come from there.
///
/// # Errors
///
/// If it is no log of this format.
pub(super) fn read(mut log: Bytes) -> io::Result<(Vec<Note>, usize)> {
    let mut notes = Vec::new();
    if !log.is_empty() && !log.starts_with(HEAD) {
        let other = "it is no store of idempotency keys, and is left as it is";
        return Err(io::Error::new(io::ErrorKind::InvalidData, other));
    }
    log.advance(HEAD.len().min(log.len()));
    while let Some((note, length)) = first(&log) {
        notes.push(note);
        log.advance(length);
    }
    Ok((notes, log.len()))
}

/// The first note, if it is whole, and the length of its frame. What it holds is a part of `log`, and no copy.
fn first(log: &Bytes) -> Option<(Note, usize)> {
    let (head, rest) = log.split_at_checked(FRAME)?;
    let (length, sum) = head.split_at(FRAME / 2);
    let size = usize::try_from(number(length)).ok()?;
    let is_whole = checksum(&[length, rest.get(..size)?]) == number(sum);
    let end = FRAME + size;
    is_whole.then(|| Note::decode(log.slice(FRAME..end)).ok()).flatten().map(|note| (note, end))
}

fn number(bytes: &[u8]) -> u32 {
    bytes.iter().rev().fold(0, |number, byte| number << 8 | u32::from(*byte))
}

/// CRC-32 as of IEEE 802.3, which no run of zeros passes here, since the length is among what is summed.
fn checksum(parts: &[&[u8]]) -> u32 {
    let sum = parts.iter().copied().flatten().fold(u32::MAX, |sum, byte| {
        let index = usize::from(sum.to_le_bytes()[0] ^ byte);
        sum >> 8 ^ TABLE[index]
    });
    !sum
}

/// What each byte does to the sum.
const TABLE: [u32; 256] = {
    let (mut table, mut index) = ([0; 256], 0);
    while index < table.len() {
        // No larger than a byte.
        let (mut sum, mut bit) = (index as u32, 0);
        while bit < 8 {
            sum = if sum & 1 == 1 { sum >> 1 ^ 0xEDB8_8320 } else { sum >> 1 };
            bit += 1;
        }
        table[index] = sum;
        index += 1;
    }
    table
};

#[cfg(test)]
mod tests {
    use super::*;

    fn note(key: &str) -> Note {
        Note { service: "tally".to_owned(), key: key.to_owned(), what: None }
    }

    fn log(keys: &[&str]) -> Vec<u8> {
        let mut log = HEAD.to_vec();
        keys.iter().for_each(|key| write(&note(key), &mut log).expect("it is small"));
        log
    }

    #[test]
    fn the_checksum_is_the_one_that_everybody_has() {
        assert_eq!(checksum(&[b"1234", b"56789"]), 0xCBF4_3926);
    }

    #[test]
    fn wherever_a_log_is_cut_off_the_notes_before_are_read_and_none_is_made_up() {
        let whole = log(&["a", "b"]);
        let first = log(&["a"]).len();
        for end in HEAD.len()..whole.len() {
            let (notes, torn) = read(Bytes::copy_from_slice(&whole[..end])).expect("it is a log");
            let whole_notes = usize::from(end >= first);
            assert_eq!(notes, [note("a")][..whole_notes], "cut off at {end}");
            assert_eq!(torn, end - if end >= first { first } else { HEAD.len() });
        }
    }

    #[test]
    fn no_note_is_read_over_a_bit_that_changed_nor_after_it() {
        let whole = log(&["a", "b"]);
        for at in HEAD.len()..log(&["a"]).len() {
            for bit in 0..8 {
                let mut changed = whole.clone();
                changed[at] ^= 1 << bit;
                assert_eq!(read(changed.into()).expect("it is a log").0, [], "bit {bit} of byte {at}");
            }
        }
    }

    #[test]
    fn a_tail_of_zeros_is_no_note() {
        let mut log = log(&["a"]);
        log.extend([0; 64]);
        assert_eq!(read(log.into()).expect("it is a log"), (vec![note("a")], 64));
    }

    #[test]
    fn what_is_somebody_elses_is_no_log() {
        let error = read(Bytes::from_static(b"root:x:0:0")).expect_err("it is no log");
        assert_eq!(error.kind(), io::ErrorKind::InvalidData);
    }
}
