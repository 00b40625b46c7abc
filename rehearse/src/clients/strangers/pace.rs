//! How soon something comes, and how exact that is.

use std::time::Duration;

use crate::setting::Setting;

/// What comes at once comes within this time, over segments that take a moment.
pub(crate) const SOON: Duration = Duration::from_secs(1);

/// How exact times are over the network.
#[derive(Debug, Clone, Copy)]
pub(super) struct Pace {
    /// What a word there and one back take at most, and those of connecting.
    pub(super) way: Duration,
    /// Hosts take their turns within a tick: what one does at its end, another may see at its beginning.
    pub(super) tick: Duration,
}

impl Pace {
    pub(super) fn of(setting: &Setting) -> Self {
        Self { way: setting.hop() * 4, tick: setting.tick }
    }
}
