//! Which answers are right for a sort of call.

use transport::Code;

/// The answers that are right for a sort of call, whatever breaks or does not: `OK`, and what a service says in
/// the line of its work, as that something is sold out. A probe with such an answer has worked.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Expect {
    codes: Vec<Code>,
}

impl Expect {
    /// Nothing but `OK`.
    #[must_use]
    pub fn ok() -> Self {
        Self { codes: vec![Code::Ok] }
    }

    /// This code is right as well.
    #[must_use]
    pub fn or(mut self, code: Code) -> Self {
        self.codes.push(code);
        self
    }

    /// Whether `code` is right.
    #[must_use]
    pub fn allows(&self, code: Code) -> bool {
        self.codes.contains(&code)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_not_named_is_not_expected() {
        let expect = Expect::ok().or(Code::NotFound);
        assert!(expect.allows(Code::Ok) && expect.allows(Code::NotFound));
        assert!(!expect.allows(Code::Internal));
    }
}
