//! How much it matters that a call is answered, when a service cannot answer all.

use http::{HeaderMap, HeaderName, HeaderValue};

/// The metadata entry in which it travels.
pub(crate) const CRITICALITY: HeaderName = HeaderName::from_static("x-criticality");

/// How much it matters that a call is answered, when a service cannot answer all. The calls that a handler makes have that of
/// the call that it handles, unless it says another.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Default)]
pub enum Criticality {
    /// Whoever asks can do without: such a call is refused when three quarters of the permits are taken.
    Sheddable,
    /// As calls are of which nothing is said.
    #[default]
    Default,
    /// It matters most. Admission treats it like [`Default`](Self::Default): there are no permits set aside.
    Critical,
}

impl Criticality {
    /// Its name on the wire.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::Sheddable => "sheddable",
            Self::Default => "default",
            Self::Critical => "critical",
        }
    }

    /// What `headers` say of it, if they say anything that is known.
    pub(crate) fn said(headers: &HeaderMap) -> Option<Self> {
        let said = headers.get(CRITICALITY)?.as_bytes();
        [Self::Sheddable, Self::Default, Self::Critical]
            .into_iter()
            .find(|known| known.name().as_bytes() == said)
    }

    /// Says it in `headers`. That it is as usual is left out.
    pub(crate) fn say(self, headers: &mut HeaderMap) {
        if self != Self::Default {
            headers.insert(CRITICALITY, HeaderValue::from_static(self.name()));
        }
    }

    /// How many of `most` permits may be taken when a call like this is let in, itself included.
    pub(crate) fn share(self, most: usize) -> usize {
        match self {
            Self::Sheddable => most - most / 4,
            Self::Default | Self::Critical => most,
        }
    }
}
