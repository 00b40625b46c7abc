//! Which endpoint is the home of a key: rendezvous hashing (Thaler and Ravishankar, "Using Name-Based Mappings to Increase
//! Hit Rates", 1998).
//!
//! Each caller ranks the endpoints of a key by hashes of both, so that all callers that know the same addresses agree with
//! nothing said between them. When an endpoint goes, only its own keys move, each to the next in its ranking; when it is
//! back, they return. The hashes are the same in every build and on every machine, for callers may differ in both.

use std::cmp::Reverse;

/// The hash of a call's key: of what the field with this number has in its encoded request, or of nothing.
pub(super) fn key_in(request: &[u8], field: u32) -> u64 {
    hash(value_in(request, field))
}

/// FNV-1a, <http://www.isthe.com/chongo/tech/comp/fnv/>.
pub(super) fn hash(bytes: &[u8]) -> u64 {
    let fold = |hash: u64, byte: &u8| (hash ^ u64::from(*byte)).wrapping_mul(0x0000_0100_0000_01b3);
    bytes.iter().fold(0xcbf2_9ce4_8422_2325, fold)
}

/// The indices of the endpoints with these hashes as a key ranks them, its home first.
pub(super) fn ranked(key: u64, endpoints: &[u64]) -> Vec<usize> {
    let mut ranked: Vec<_> = (0..endpoints.len()).collect();
    ranked.sort_by_cached_key(|index| Reverse(mix(key ^ mix(endpoints[*index]))));
    ranked
}

/// Each bit of what comes out depends on each of what goes in, which is not so of FNV: the end of MurmurHash3.
fn mix(mut bits: u64) -> u64 {
    for factor in [0xff51_afd7_ed55_8ccd, 0xc4ce_b9fe_1a85_ec53] {
        bits = (bits ^ (bits >> 33)).wrapping_mul(factor);
    }
    bits ^ (bits >> 33)
}

/// The bytes of a field's value in an encoded message, with the length before them if they have one; nothing if it has
/// none. Of several the last counts (<https://protobuf.dev/programming-guides/encoding/>).
fn value_in(message: &[u8], field: u32) -> &[u8] {
    let (mut rest, mut found) = (message, &message[..0]);
    while let Some((tag, after)) = varint(rest) {
        let size = match tag & 7 {
            0 => varint(after).map(|(_, end)| after.len() - end.len()),
            1 => Some(8),
            2 => varint(after).map(|(length, end)| (after.len() - end.len()).saturating_add(length as usize)),
            5 => Some(4),
            _ => None,
        };
        let Some((value, next)) = size.and_then(|size| after.split_at_checked(size)) else { break };
        if tag >> 3 == u64::from(field) {
            found = value;
        }
        rest = next;
    }
    found
}

/// A number of variable length, and what comes behind it.
fn varint(bytes: &[u8]) -> Option<(u64, &[u8])> {
    let length = 1 + bytes.iter().take(10).position(|byte| byte & 0x80 == 0)?;
    let (number, rest) = bytes.split_at(length);
    let fold = |sum, (index, byte): (usize, &u8)| sum | (u64::from(byte & 0x7f) << (7 * index));
    Some((number.iter().enumerate().fold(0, fold), rest))
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use super::*;

    /// A message with the fields 1 (a text), 2 (a number), 3 (eight bytes), 5 (four bytes) and 1 again.
    const MESSAGE: &[u8] =
        b"\x0a\x01a\x10\xac\x02\x19\x01\x02\x03\x04\x05\x06\x07\x08\x2d\x01\x02\x03\x04\x0a\x02bc";

    #[test]
    fn the_last_value_of_a_field_is_its_key_and_one_that_is_not_there_is_an_empty_one() {
        let values = [1, 2, 3, 4, 5].map(|field| value_in(MESSAGE, field));
        let eight = b"\x01\x02\x03\x04\x05\x06\x07\x08";
        assert_eq!(values, [b"\x02bc", &b"\xac\x02"[..], eight, b"", &eight[..4]]);
        for end in 0..MESSAGE.len() {
            value_in(&MESSAGE[..end], 1);
        }
        value_in(b"\x0a\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff", 1);
    }

    #[test]
    fn a_number_has_as_many_bytes_as_it_needs() {
        for (number, bytes) in
            [(1, &b"\x01"[..]), (300, b"\xac\x02"), (u64::MAX, b"\xff\xff\xff\xff\xff\xff\xff\xff\xff\x01")]
        {
            assert_eq!(varint(&[bytes, b"rest"].concat()), Some((number, &b"rest"[..])));
        }
    }

    /// Those of FNV-1a and of `fmix64` as they were published: callers may be of different builds.
    #[test]
    fn hashes_are_the_same_everywhere() {
        assert_eq!([hash(b""), hash(b"foobar")], [0xcbf2_9ce4_8422_2325, 0x8594_4171_f739_67e8]);
        assert_eq!([mix(0), mix(1)], [0, 0xb456_bcfc_34c2_cb2c]);
    }

    #[test]
    fn keys_are_spread_evenly_and_only_those_of_an_endpoint_that_goes_move() {
        let home = |key: u64, among: &[u64]| among[ranked(key, among)[0]];
        let endpoints = [1, 2, 3, 4].map(|host| hash(format!("http://10.0.0.{host}:50051").as_bytes()));
        let mut shares = BTreeMap::new();
        for key in (0..4000).map(|key| hash(format!("order-{key}").as_bytes())) {
            let before = home(key, &endpoints);
            *shares.entry(before).or_insert(0) += 1;
            let after = home(key, &endpoints[..3]);
            assert!(after == before || before == endpoints[3], "a key of another has moved");
        }
        assert!(shares.values().all(|share| (900..=1100).contains(share)), "{shares:?}");
    }
}
