//! How much is told of a text that somebody sent: its beginning, and how much more there was.

use std::borrow::Cow;
use std::fmt;

/// The most that is told of one text, in bytes: of a value in a line of the log, or of what a status repeats.
pub const TOLD_MAX: usize = 1024;

/// What is told of `text`: all of it, or its first [`TOLD_MAX`] bytes with the mark `…(+N bytes)`, where N is what was
/// left out.
#[must_use]
pub fn told(text: &str) -> Cow<'_, str> {
    if text.len() <= TOLD_MAX {
        return Cow::Borrowed(text);
    }
    let mut head = Head::default();
    head.take(text);
    Cow::Owned(head.told().to_owned())
}

/// Takes a text in pieces, and keeps no more of it than is told.
#[derive(Debug, Default)]
pub struct Head {
    kept: String,
    left_out: usize,
}

impl Head {
    /// Begins anew, with nothing.
    pub fn clear(&mut self) {
        self.kept.clear();
        self.left_out = 0;
    }

    /// What is told of all that was taken. To be asked once.
    pub fn told(&mut self) -> &str {
        if self.left_out > 0 {
            self.kept.push_str(&format!("…(+{} bytes)", self.left_out));
        }
        &self.kept
    }

    fn take(&mut self, piece: &str) {
        let room = if self.left_out == 0 { TOLD_MAX - self.kept.len() } else { 0 };
        if piece.len() <= room {
            self.kept.push_str(piece);
            return;
        }
        let (kept, left_out) = piece.split_at(piece.floor_char_boundary(room));
        self.kept.push_str(kept);
        self.left_out += left_out.len();
    }
}

impl fmt::Write for Head {
    fn write_str(&mut self, piece: &str) -> fmt::Result {
        self.take(piece);
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use std::fmt::Write as _;

    use proptest::prelude::*;

    use super::*;

    #[test]
    fn a_text_is_cut_between_letters_and_says_how_much_is_missing() {
        let longest = "x".repeat(TOLD_MAX);
        assert_eq!(told(&longest), longest);
        assert_eq!(told(&format!("{longest}y")), format!("{longest}…(+1 bytes)"));
        let text = format!("{}é", &longest[1..]);
        assert_eq!(told(&text), format!("{}…(+2 bytes)", &longest[1..]));
    }

    proptest! {
        #[test]
        fn a_text_that_comes_in_pieces_is_told_like_one_that_comes_whole(
            pieces in prop::collection::vec("[aé🦀]{0,600}", 0..6)
        ) {
            let mut head = Head::default();
            for piece in &pieces {
                head.write_str(piece).expect("it takes all");
            }
            let whole = pieces.concat();
            prop_assert_eq!(head.told(), told(&whole));
        }
    }
}
