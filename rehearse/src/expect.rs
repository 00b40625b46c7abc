//! Which answers are right for a sort of call.

use std::fmt;
use std::sync::Arc;

use transport::Code;

use crate::rpc::JsonMessage;

/// The answers that are right for a sort of call, whatever breaks or does not: `OK`, and what a service says in
/// the line of its work, as that something is sold out. A probe with such an answer has worked.
#[derive(Clone)]
pub struct Expect {
    codes: Vec<Code>,
    asked: Option<Arc<Asked>>,
}

/// The code that a request, as its plan spells it, asks for.
type Asked = dyn Fn(&str) -> Option<Code> + Send + Sync;

impl Expect {
    /// Nothing but `OK`.
    #[must_use]
    pub fn ok() -> Self {
        Self { codes: vec![Code::Ok], asked: None }
    }

    /// This code is right as well.
    #[must_use]
    pub fn or(mut self, code: Code) -> Self {
        self.codes.push(code);
        self
    }

    /// The code that a request itself asks for is right as well: for services that fail as they are told.
    #[must_use]
    pub fn or_as_asked<T: JsonMessage>(
        mut self,
        asked: impl Fn(&T) -> Option<Code> + Send + Sync + 'static,
    ) -> Self {
        self.asked = Some(Arc::new(move |argument| asked(&serde_json::from_str(argument).ok()?)));
        self
    }

    /// What is right for the request that a plan spells as `argument`.
    pub(crate) fn of(&self, argument: &str) -> Vec<Code> {
        let asked = self.asked.as_ref().and_then(|asked| asked(argument));
        self.codes.iter().copied().chain(asked).collect()
    }
}

impl fmt::Debug for Expect {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Expect").field("codes", &self.codes).finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests {
    use probe_contract::AddRequest;

    use super::*;

    #[test]
    fn what_is_not_named_is_not_expected() {
        assert_eq!(Expect::ok().or(Code::NotFound).of("{}"), [Code::Ok, Code::NotFound]);
    }

    #[test]
    fn a_request_may_ask_for_a_code_of_its_own() {
        let aborts = |add: &AddRequest| (add.amount < 0).then_some(Code::Aborted);
        let expect = Expect::ok().or_as_asked(aborts);
        assert_eq!(expect.of(r#"{"amount":"-1"}"#), [Code::Ok, Code::Aborted]);
        assert_eq!(expect.of(r#"{"amount":"1"}"#), [Code::Ok]);
    }
}
