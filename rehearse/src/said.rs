//! What the flags of nodes say, read as text: what a node makes of them is what is judged, and not what is believed.

use std::str::FromStr as _;
use std::time::Duration;

use node::tracing::Level;
use transport::Limits;

/// The limits that `flags` say, and where they say nothing those of every node.
pub(crate) fn limits(flags: &[String]) -> Limits {
    let every = Limits::default();
    Limits {
        message_size: number(flags, "--max-message-size").unwrap_or(every.message_size),
        calls: number(flags, "--max-calls").unwrap_or(every.calls),
        streams: number(flags, "--max-streams").unwrap_or(every.streams),
    }
}

/// What the log of a node is to have.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Log {
    /// The least important level that is logged, for targets that begin with a text, and for all others where that is empty.
    levels: Vec<(String, Option<Level>)>,
    /// Whether it is text for people, and not JSON.
    pub(crate) is_text: bool,
}

/// What `flags` say of the log. A rehearsed node has no terminal.
pub(crate) fn log(flags: &[String]) -> Log {
    let filter = last(flags, "--log").unwrap_or("info");
    let level = |one: &str| {
        let (target, level) = one.split_once('=').unwrap_or(("", one));
        (target.to_owned(), Level::from_str(level).ok())
    };
    Log {
        levels: filter.split(',').map(level).collect(),
        is_text: last(flags, "--log-format") == Some("text"),
    }
}

impl Log {
    /// Whether it has lines of this target and level: what is said of the longest beginning of the target counts.
    pub(crate) fn has(&self, target: &str, level: Level) -> bool {
        let said = self.levels.iter().filter(|(beginning, _)| target.starts_with(beginning));
        let most = said.max_by_key(|(beginning, _)| beginning.len());
        most.is_some_and(|(_, least)| least.is_some_and(|least| level <= least))
    }
}

/// The duration behind the last flag of this name. One that is none a node has refused.
pub(crate) fn duration(flags: &[String], name: &str) -> Option<Duration> {
    humantime::parse_duration(last(flags, name)?).ok()
}

/// The number behind the last flag of this name.
fn number(flags: &[String], name: &str) -> Option<usize> {
    last(flags, name)?.parse().ok()
}

fn last<'a>(flags: &'a [String], name: &str) -> Option<&'a str> {
    let at = flags.iter().rposition(|flag| flag == name)?;
    flags.get(at + 1).map(String::as_str)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_log_has_what_is_said_of_the_longest_beginning() {
        let flags = ["--log", "warn,access=info,access::more=off"].map(str::to_owned);
        let log = log(&flags);
        assert!(
            log.has("access", Level::INFO) && !log.has("node", Level::INFO) && log.has("node", Level::WARN)
        );
        assert!(!log.has("access::more", Level::ERROR) && !log.is_text);
    }

    #[test]
    fn a_limit_is_the_one_that_its_own_flag_says_last() {
        let flags = ["--max-calls", "4", "--max-streams", "7", "--max-calls", "5"].map(str::to_owned);
        let said = limits(&flags);
        assert_eq!((said.calls, said.streams), (5, 7));
        assert_eq!(said.message_size, Limits::default().message_size);
    }
}
