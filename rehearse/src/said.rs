//! What the flags of nodes say, read as text: what a node makes of them is what is judged, and not what is believed.

use std::time::Duration;

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
    fn a_limit_is_the_one_that_its_own_flag_says_last() {
        let flags = ["--max-calls", "4", "--max-streams", "7", "--max-calls", "5"].map(str::to_owned);
        let said = limits(&flags);
        assert_eq!((said.calls, said.streams), (5, 7));
        assert_eq!(said.message_size, Limits::default().message_size);
    }
}
