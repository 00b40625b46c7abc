//! The request ids that clients send, of every form, and which of them a node takes over.
//!
//! What is legal is said here once more, so that a node which takes over less, or more, is found.

use proptest::prelude::*;
use proptest::strategy::SBoxedStrategy;
use sim::{Request, matching};

/// The longest id that a node takes over, in bytes.
const LENGTH_MAX: usize = 128;

/// Whether a node takes this id over: 1 to 128 visible ASCII characters.
pub(crate) fn is_legal(id: &str) -> bool {
    (1..=LENGTH_MAX).contains(&id.len()) && id.bytes().all(|byte| byte.is_ascii_graphic())
}

/// Whether the node that this request comes to makes an id for it: it has none, or one that is not legal.
pub(crate) fn is_made_by_node(request: &Request) -> bool {
    request.sends_id.as_deref().is_some_and(|id| !is_legal(id))
}

/// Ids of every form, as [`sim::Load::ids`] takes them: mostly the request's own.
pub(crate) fn of_every_form() -> impl Strategy<Value = Option<String>> {
    let ids = prop_oneof![
        3 => matching("[!-~]{2,128}"),
        1 => matching("[0-9A-F]{8}-[0-9A-F]{4}-4[0-9A-F]{3}-[89AB][0-9A-F]{3}-[0-9A-F]{12}"),
        2 => at_limits(),
        2 => Just(String::new()),
        2 => illegal(),
    ];
    prop_oneof![7 => Just(None), 3 => ids.prop_map(Some)]
}

/// Legal ones, as short or as long as may be, or about as long as what is often thought to be enough.
fn at_limits() -> impl Strategy<Value = String> {
    let lengths = prop::sample::select(vec![1, 36, 64, 65, LENGTH_MAX - 1, LENGTH_MAX]);
    (lengths, matching("[!-~]{128}")).prop_map(|(length, id)| id[..length].to_owned())
}

/// Those that a node must replace. None has blanks around it, which HTTP/1.1 takes away before anybody looks.
fn illegal() -> SBoxedStrategy<String> {
    prop_oneof![
        matching("[!-~]{129,300}"),
        matching("[!-~]{1,20}[ \\t][!-~]{1,20}"),
        matching("[!-~]{0,20}[é→][!-~]{0,20}"),
        Just(" ".to_owned()),
    ]
    .sboxed()
}

#[cfg(test)]
mod tests {
    use proptest::strategy::ValueTree;
    use proptest::test_runner::TestRunner;

    use super::*;

    #[test]
    fn every_form_is_drawn_and_most_are_the_requests_own() {
        let mut runner = TestRunner::deterministic();
        let mut draw = || of_every_form().new_tree(&mut runner).expect("nothing is rejected").current();
        let drawn: Vec<_> = (0..400).map(|_| draw()).collect();
        let count = |is: &dyn Fn(&str) -> bool| drawn.iter().flatten().filter(|id| is(id)).count();
        assert!(drawn.iter().filter(|id| id.is_none()).count() > 200);
        assert!(count(&is_legal) > 40 && count(&|id| is_legal(id) && id.len() > 64) > 5);
        assert!(count(&str::is_empty) > 5);
        assert!(count(&|id| id.len() > LENGTH_MAX) > 0 && count(&|id| id.len() == LENGTH_MAX) > 0);
        assert!(count(&|id| !id.is_ascii()) > 0 && count(&|id| id.len() == 1 && is_legal(id)) > 0);
    }
}
