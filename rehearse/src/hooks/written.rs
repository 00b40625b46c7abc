//! What a rehearsed node would write to its log.

use std::cell::RefCell;
use std::collections::BTreeMap;
use std::time::UNIX_EPOCH;

use node::log::LogStyle;
use node::tracing::Event;

thread_local! {
    /// By host: a rehearsal has its thread for itself.
    static STYLES: RefCell<BTreeMap<String, LogStyle>> = const { RefCell::new(BTreeMap::new()) };
}

/// The node that runs on `host` from now on logs in this style.
pub(crate) fn has_style(host: &str, style: LogStyle) {
    STYLES.with_borrow_mut(|styles| styles.insert(host.to_owned(), style));
}

/// The line of `event` in the log of the node on `host`, if it has one there. Its time is the first second of 1970: a clock
/// that was read for it would count as one that the node reads.
pub(crate) fn written(host: &str, event: &Event<'_>) -> Option<String> {
    STYLES.with_borrow(|styles| styles.get(host)?.line(event, UNIX_EPOCH))
}
