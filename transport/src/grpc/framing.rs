//! How large the buffer becomes in which tonic puts messages together, so that it can be counted before it is.
//!
//! tonic makes room for a whole message as soon as it has read how long that will be, and keeps its buffer until the
//! request ends. What counts is therefore what a client announces, and not what has come of it.

use super::codec::HEADER;

/// Follows the messages of one request through the pieces in which they come.
#[derive(Debug)]
pub(super) struct Framing {
    /// Messages of more bytes than this are refused before there is room for them.
    limit: usize,
    /// What has come of the header of the next message.
    header: [u8; HEADER],
    /// How many bytes of the message that is not whole yet are there, with its header.
    there: usize,
    /// How many more it needs, once its header has come.
    missing: usize,
}

impl Framing {
    pub(super) fn new(limit: usize) -> Self {
        Self { limit, header: [0; HEADER], there: 0, missing: 0 }
    }

    /// How many bytes the buffer must hold when `piece` has come: what was left in it, the piece, and what its last
    /// message still needs.
    pub(super) fn room_for(&mut self, piece: &[u8]) -> usize {
        let left = self.there;
        let mut rest = piece;
        while !rest.is_empty() {
            rest = if self.there < HEADER { self.read_header(rest) } else { self.read_message(rest) };
        }
        left + piece.len() + self.missing
    }

    fn read_header<'a>(&mut self, piece: &'a [u8]) -> &'a [u8] {
        let (header, rest) = piece.split_at(piece.len().min(HEADER - self.there));
        self.header[self.there..][..header.len()].copy_from_slice(header);
        self.there += header.len();
        if self.there < HEADER {
            return rest;
        }
        let [_, length @ ..] = self.header;
        let length = usize::try_from(u32::from_be_bytes(length)).unwrap_or(usize::MAX);
        if length > self.limit {
            // This is the last that is read of the request.
            return &[];
        }
        self.missing = length;
        self.end_if_whole();
        rest
    }

    fn read_message<'a>(&mut self, piece: &'a [u8]) -> &'a [u8] {
        let (message, rest) = piece.split_at(piece.len().min(self.missing));
        self.there += message.len();
        self.missing -= message.len();
        self.end_if_whole();
        rest
    }

    fn end_if_whole(&mut self) {
        if self.missing == 0 {
            self.there = 0;
        }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    proptest! {
        #[test]
        fn there_is_room_for_what_has_come_and_for_no_more_than_a_message_besides(
            pieces in prop::collection::vec(prop::collection::vec(prop_oneof![Just(0), 0..4_u8, any::<u8>()], 0..40), 0..9),
            limit in 0..5000_usize,
        ) {
            let (mut framing, mut come) = (Framing::new(limit), 0);
            for piece in pieces {
                come += piece.len();
                let room = framing.room_for(&piece);
                prop_assert!(room >= piece.len() && room <= come + limit, "{room} for {come} with {limit}");
            }
        }
    }

    fn message(length: u32, there: usize) -> Vec<u8> {
        [&[0][..], &length.to_be_bytes(), &vec![1; there]].concat()
    }

    #[test]
    fn room_is_made_for_a_whole_message_when_its_length_is_known() {
        let mut framing = Framing::new(10_000);
        assert_eq!(framing.room_for(&message(5000, 0)[..3]), 3);
        assert_eq!(framing.room_for(&message(5000, 0)[3..]), 5005);
        assert_eq!(framing.room_for(&[1; 4999]), 5005);
        assert_eq!(framing.room_for(&[1]), 5005);
        assert_eq!(framing.room_for(&[0]), 1, "the next message begins with an empty buffer");
    }

    #[test]
    fn a_piece_of_many_messages_needs_room_for_itself_and_the_rest_of_the_last() {
        let mut framing = Framing::new(10_000);
        let piece = [message(7, 7), message(0, 0), message(100, 40)].concat();
        assert_eq!(framing.room_for(&piece), piece.len() + 60);
        assert_eq!(framing.room_for(&[1; 60]), 105);
    }

    #[test]
    fn a_header_that_comes_in_pieces_ends_where_its_message_begins() {
        let (mut framing, message) = (Framing::new(10_000), message(300, 300));
        assert_eq!(framing.room_for(&message[..3]), 3);
        assert_eq!(framing.room_for(&message[3..]), message.len());
        assert_eq!(framing.room_for(&message), message.len(), "the first one is whole");
    }

    #[test]
    fn no_room_is_made_for_a_message_above_the_limit() {
        let mut framing = Framing::new(99);
        assert_eq!(framing.room_for(&message(100, 0)), HEADER);
    }
}
