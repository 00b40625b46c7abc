//! What a caller adds to a call: its metadata, and how much it matters.

use http::HeaderMap;
use transport::Criticality;

/// The metadata entry in which it travels how much a call matters. Handlers do not see it.
const CRITICALITY: &str = "x-criticality";

/// The metadata of a call, all of them, and how much it matters. Two are the same if these are: in which order names come
/// says nothing.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Added(u64);

impl Added {
    /// Of a call on its way out.
    pub(crate) fn to(metadata: &HeaderMap) -> Self {
        let said = metadata.get(CRITICALITY).map(|said| said.as_bytes());
        Self::of(metadata, said.unwrap_or_else(|| Criticality::Default.name().as_bytes()))
    }

    /// Of a call that a handler has.
    pub(crate) fn seen(metadata: &HeaderMap, criticality: Criticality) -> Self {
        Self::of(metadata, criticality.name().as_bytes())
    }

    fn of(metadata: &HeaderMap, criticality: &[u8]) -> Self {
        let entries = metadata.iter().map(|(name, value)| (name.as_str(), value.as_bytes()));
        let entries = entries.filter(|(name, _)| *name != CRITICALITY).chain([(CRITICALITY, criticality)]);
        Self(entries.fold(0, |sum, (name, value)| sum.wrapping_add(hash(name.as_bytes(), value))))
    }
}

/// FNV-1a, <http://www.isthe.com/chongo/tech/comp/fnv/>, of a name and its value.
fn hash(name: &[u8], value: &[u8]) -> u64 {
    let fold = |hash: u64, byte: &u8| (hash ^ u64::from(*byte)).wrapping_mul(0x0000_0100_0000_01b3);
    name.iter().chain(b":").chain(value).fold(0xcbf2_9ce4_8422_2325, fold)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn metadata(entries: &[(&'static str, &'static str)]) -> HeaderMap {
        let mut metadata = HeaderMap::new();
        for (name, value) in entries {
            metadata.append(*name, value.parse().expect("a value of metadata"));
        }
        metadata
    }

    #[test]
    fn what_was_added_is_what_is_seen_in_whichever_order_and_each_value_counts() {
        let sent = metadata(&[("x-a", "1"), ("x-b", "2"), ("x-a", "3"), ("x-criticality", "critical")]);
        let came = metadata(&[("x-b", "2"), ("x-a", "1"), ("x-a", "3")]);
        assert_eq!(Added::to(&sent), Added::seen(&came, Criticality::Critical));
        assert_ne!(Added::to(&sent), Added::seen(&came, Criticality::Default));
        let fewer = metadata(&[("x-b", "2"), ("x-a", "3")]);
        assert_ne!(Added::to(&sent), Added::seen(&fewer, Criticality::Critical));
    }
}
