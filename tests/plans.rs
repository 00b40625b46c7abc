//! What holds of the reader of plans whatever it is given.

use proptest::prelude::*;
use proptest::sample::{Index, select};
use sim::Plan;

/// Plans that were kept, as their files.
fn kept() -> Vec<String> {
    let folder = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/graveyard");
    let files = std::fs::read_dir(folder).expect("the graveyard is there");
    let mut texts: Vec<_> =
        files.map(|file| std::fs::read_to_string(file?.path())).map(|text| text.expect("a plan")).collect();
    texts.sort();
    texts
}

/// Plans in which a few places say something else.
fn close_to_a_plan() -> impl Strategy<Value = String> {
    let change = (any::<Index>(), 0..20_usize, "([0-9]{0,25}(ns|ms|s|h)?|\\PC{0,5}|[\\[\\]{}\"=\n]{0,3})");
    (select(kept()), prop::collection::vec(change, 0..4)).prop_map(|(text, changes)| {
        let mut letters: Vec<char> = text.chars().collect();
        for (at, count, instead) in changes {
            let from = at.index(letters.len() + 1);
            let until = (from + count).min(letters.len());
            letters.splice(from..until, instead.chars());
        }
        letters.into_iter().collect()
    })
}

proptest! {
    #[test]
    fn a_file_whatever_is_in_it_is_a_plan_that_can_be_printed_and_kept_or_is_refused(
        text in prop_oneof![1 => any::<String>(), 4 => close_to_a_plan()]
    ) {
        if let Ok(plan) = Plan::from_toml(&text) {
            prop_assert!(!plan.to_string().is_empty());
            let kept = plan.to_toml().expect("what was read can be written");
            prop_assert_eq!(Plan::from_toml(&kept).map_err(|error| error.to_string()), Ok(plan), "{}", kept);
        }
    }
}
