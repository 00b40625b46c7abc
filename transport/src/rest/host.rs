//! What the Host of a request may be: `uri-host [":" port]` (RFC 9110, section 7.2; RFC 3986, section 3.2).

use std::net::Ipv6Addr;

/// Whether this names a host, or nobody: an empty one is allowed where nobody is meant.
pub(super) fn is_host(value: &[u8]) -> bool {
    let ends_name = |byte: &u8| *byte == b':';
    let end = match value.first() {
        Some(b'[') => value.iter().position(|byte| *byte == b']').map(|last| last + 1),
        _ => Some(value.iter().position(ends_name).unwrap_or(value.len())),
    };
    let Some((host, port)) = end.and_then(|end| value.split_at_checked(end)) else { return false };
    (is_name(host) || is_literal(host)) && is_port(port)
}

fn is_port(port: &[u8]) -> bool {
    match port {
        [] => true,
        [b':', digits @ ..] => digits.iter().all(u8::is_ascii_digit),
        _ => false,
    }
}

/// A name, or an IPv4 address, which looks like one.
fn is_name(mut name: &[u8]) -> bool {
    loop {
        name = match name {
            [] => return true,
            [b'%', high, low, rest @ ..] if high.is_ascii_hexdigit() && low.is_ascii_hexdigit() => rest,
            [byte, rest @ ..] if is_plain(*byte) => rest,
            _ => return false,
        };
    }
}

/// What stands for itself: RFC 3986 calls it unreserved or a sub-delimiter.
fn is_plain(byte: u8) -> bool {
    byte.is_ascii_alphanumeric() || b"-._~!$&'()*+,;=".contains(&byte)
}

/// An IPv6 address in brackets, or one of a later version.
fn is_literal(host: &[u8]) -> bool {
    let [b'[', address @ .., b']'] = host else { return false };
    match address {
        [b'v' | b'V', rest @ ..] => is_later(rest),
        _ => str::from_utf8(address).is_ok_and(|address| address.parse::<Ipv6Addr>().is_ok()),
    }
}

fn is_later(address: &[u8]) -> bool {
    let Some(dot) = address.iter().position(|byte| *byte == b'.') else { return false };
    let (version, rest) = (&address[..dot], &address[dot + 1..]);
    let is_version = !version.is_empty() && version.iter().all(u8::is_ascii_hexdigit);
    is_version && !rest.is_empty() && rest.iter().all(|byte| *byte == b':' || is_plain(*byte))
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn a_host_is_a_name_or_an_address_and_perhaps_a_port() {
        for host in [
            "",
            "a",
            "a.b",
            "a_b",
            "A-1.example.",
            "127.0.0.1",
            "a:80",
            "a:",
            ":80",
            "[::1]",
            "[::1]:80",
            "[::ffff:1.2.3.4]",
            "[v1.a:b]",
            "a%20b",
            "!$&'()*+,;=~",
        ] {
            assert!(is_host(host.as_bytes()), "{host}");
        }
        for no_host in [
            "a b",
            "a/b",
            "a@b",
            "a:b",
            "a:80:80",
            "a:-1",
            "a: 80",
            "a,b:c",
            "http://a",
            "a?b",
            "a#b",
            "a\\b",
            "::1",
            "[::1",
            "::1]",
            "[]",
            "[a]",
            "[::1]80",
            "[::1%25eth0]",
            "[v.a]",
            "[v1.]",
            "[v1]",
            "a[::1]",
            "%",
            "%2",
            "%zz",
            "%2z",
            "%z2",
            "\"a\"",
            "<a>",
            "a\tb",
            "\u{e9}",
        ] {
            assert!(!is_host(no_host.as_bytes()), "{no_host}");
        }
    }

    proptest! {
        #[test]
        fn any_name_with_or_without_a_port_is_a_host(
            host in r"([a-zA-Z0-9._~!$&'()*+,;=-]|%[0-9a-fA-F]{2}){1,20}", port in any::<Option<u16>>(),
        ) {
            let host = port.map_or(host.clone(), |port| format!("{host}:{port}"));
            prop_assert!(is_host(host.as_bytes()));
        }

        #[test]
        fn any_address_is_a_host(address in any::<std::net::SocketAddr>()) {
            let ip = address.ip().to_string();
            let ip = if address.is_ipv6() { format!("[{ip}]") } else { ip };
            prop_assert!(is_host(ip.as_bytes()), "{}", ip);
            prop_assert!(is_host(format!("{ip}:{}", address.port()).as_bytes()), "{}", ip);
        }

        #[test]
        fn a_byte_that_no_host_has_makes_it_none(
            before in "[a-z]{0,8}", byte in prop::sample::select(&b" /?#@\\\"<>^`{|}\t\0\x7f\xff"[..]), after in ".{0,8}",
        ) {
            let value = [before.as_bytes(), &[byte], after.as_bytes()].concat();
            prop_assert!(!is_host(&value));
        }
    }
}
