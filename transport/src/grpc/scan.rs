//! Which frames pass in a stream of HTTP/2 (RFC 9113, section 4.1), told by their heads alone.

/// A frame begins with three bytes of length, one of type, one of flags and four of its stream.
pub(super) const HEAD_BYTES: usize = 9;

/// How a client begins, before its first frame (RFC 9113, section 3.4).
pub(super) const PREFACE: &[u8] = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n";

/// Types of frames.
pub(super) const DATA: u8 = 0;
pub(super) const HEADERS: u8 = 1;
pub(super) const RST_STREAM: u8 = 3;
pub(super) const SETTINGS: u8 = 4;
pub(super) const CONTINUATION: u8 = 9;

/// Flags of frames.
pub(super) const END_STREAM: u8 = 1;
pub(super) const END_HEADERS: u8 = 4;

/// What the head of a frame says.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Frame {
    pub(super) length: usize,
    pub(super) kind: u8,
    pub(super) flags: u8,
    pub(super) stream: u32,
}

impl Frame {
    pub(super) fn of([a, b, c, kind, flags, stream @ ..]: [u8; HEAD_BYTES]) -> Self {
        let length = u32::from_be_bytes([0, a, b, c]) as usize;
        // The first bit of a stream's number means nothing.
        Self { length, kind, flags, stream: u32::from_be_bytes(stream) & (u32::MAX >> 1) }
    }

    pub(super) fn has(self, flag: u8) -> bool {
        self.flags & flag != 0
    }
}

/// Follows the frames of one direction through the pieces in which they come.
#[derive(Debug, Default)]
pub(super) struct Frames {
    head: [u8; HEAD_BYTES],
    /// How many bytes of the next head are there.
    there: usize,
    /// How many bytes come before it.
    skip: usize,
}

impl Frames {
    /// Of a client, whose preface comes first.
    pub(super) fn of_client() -> Self {
        Self { skip: PREFACE.len(), ..Self::default() }
    }

    /// How many bytes of the last frame have not come.
    pub(super) fn missing(&self) -> usize {
        self.skip
    }

    /// Takes a piece, and tells of each frame whose head ends in it.
    pub(super) fn pass(&mut self, mut piece: &[u8], mut tell: impl FnMut(Frame)) {
        loop {
            let skipped = self.skip.min(piece.len());
            (self.skip, piece) = (self.skip - skipped, &piece[skipped..]);
            if piece.is_empty() {
                return;
            }
            let (head, rest) = piece.split_at(piece.len().min(HEAD_BYTES - self.there));
            self.head[self.there..][..head.len()].copy_from_slice(head);
            (self.there, piece) = (self.there + head.len(), rest);
            if self.there == HEAD_BYTES {
                let frame = Frame::of(self.head);
                (self.there, self.skip) = (0, frame.length);
                tell(frame);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn written(frame: Frame) -> Vec<u8> {
        let mut bytes = (frame.length as u32).to_be_bytes()[1..].to_vec();
        bytes.extend([frame.kind, frame.flags]);
        bytes.extend((frame.stream | 1 << 31).to_be_bytes());
        bytes.resize(HEAD_BYTES + frame.length, 0xAA);
        bytes
    }

    fn frames() -> impl Strategy<Value = Vec<Frame>> {
        let frame = (0..40_usize, any::<u8>(), any::<u8>(), 0..u32::MAX >> 1);
        let frame = frame.prop_map(|(length, kind, flags, stream)| Frame { length, kind, flags, stream });
        prop::collection::vec(frame, 0..8)
    }

    proptest! {
        #[test]
        fn frames_are_told_once_each_however_they_are_cut(frames in frames(), cuts in prop::collection::vec(1..20_usize, 1..9)) {
            let bytes = PREFACE.iter().copied().chain(frames.iter().flat_map(|frame| written(*frame))).collect::<Vec<_>>();
            let (mut told, mut passing, mut rest) = (Vec::new(), Frames::of_client(), &bytes[..]);
            for cut in cuts.iter().cycle() {
                let (piece, after) = rest.split_at(rest.len().min(*cut));
                passing.pass(piece, |frame| told.push(frame));
                rest = after;
                if rest.is_empty() {
                    break;
                }
            }
            prop_assert_eq!(told, frames);
        }

        #[test]
        fn any_bytes_are_the_same_frames_at_once_and_one_by_one(bytes in prop::collection::vec(prop_oneof![Just(0), any::<u8>()], 0..300)) {
            let (mut at_once, mut one_by_one) = (Vec::new(), Vec::new());
            Frames::default().pass(&bytes, |frame| at_once.push(frame));
            let mut passing = Frames::default();
            bytes.iter().for_each(|byte| passing.pass(&[*byte], |frame| one_by_one.push(frame)));
            prop_assert_eq!(at_once, one_by_one);
        }
    }
}
