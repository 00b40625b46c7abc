//! Puts the header lines of HTTP/1 responses in order, on their way into a simulated socket.
//!
//! actix-http keeps headers in a map whose order follows from addresses of the stack and of the program
//! (`foldhash`), which no entropy of ours reaches. Lines of different names may stand in any order (RFC 9110,
//! 5.3), so sorting them changes nothing but the trace, which becomes the same in every run.

use std::borrow::Cow;

/// `bytes` with the head of each response in it sorted; the length stays the same.
pub(crate) fn in_order(bytes: &[u8]) -> Cow<'_, [u8]> {
    if !bytes.starts_with(b"HTTP/1.") {
        return Cow::Borrowed(bytes);
    }
    let mut sorted = bytes.to_vec();
    let mut start = 0;
    while let Some(length) = sort_head(&mut sorted[start..]) {
        start += length;
    }
    Cow::Owned(sorted)
}

/// Sorts the head that `bytes` start with; how long the response is, if another may follow.
fn sort_head(bytes: &mut [u8]) -> Option<usize> {
    if !bytes.starts_with(b"HTTP/1.") {
        return None;
    }
    let head_length = bytes.windows(4).position(|window| window == b"\r\n\r\n")? + 2;
    let head = std::str::from_utf8(&bytes[..head_length]).ok()?;
    let mut lines = head.split_inclusive("\r\n");
    let status = lines.next()?;
    let mut lines: Vec<&str> = lines.collect();
    // A stable sort by name: lines of one name keep their order, which does mean something.
    lines.sort_by_cached_key(|line| line.split(':').next().unwrap_or_default().to_ascii_lowercase());
    let body_length = lines.iter().find_map(|line| content_length(line));
    let sorted = [status, &lines.concat()].concat();
    bytes[..head_length].copy_from_slice(sorted.as_bytes());
    let response_length = head_length + 2 + body_length?;
    (response_length < bytes.len()).then_some(response_length)
}

fn content_length(line: &str) -> Option<usize> {
    let (name, value) = line.split_once(':')?;
    if !name.eq_ignore_ascii_case("content-length") {
        return None;
    }
    value.trim().parse().ok()
}

#[cfg(test)]
mod tests {
    use super::in_order;

    #[test]
    fn heads_are_sorted_and_bodies_are_not() {
        let one = b"HTTP/1.1 200 OK\r\nb: 2\r\nContent-Length: 8\r\na: 1\r\n\r\nz: 1\r\na:HTTP/1.1 204 No\r\ny: 1\r\nx: 1\r\n\r\n";
        let sorted = b"HTTP/1.1 200 OK\r\na: 1\r\nb: 2\r\nContent-Length: 8\r\n\r\nz: 1\r\na:HTTP/1.1 204 No\r\nx: 1\r\ny: 1\r\n\r\n";
        assert_eq!(in_order(one).as_ref(), sorted);
    }

    #[test]
    fn what_is_no_response_passes_as_it_is() {
        for bytes in [b"PRI * HTTP/2.0\r\n\r\n".as_slice(), b"HTTP/1.1 200 OK\r\nb: 2\r\na"] {
            assert_eq!(in_order(bytes).as_ref(), bytes);
        }
    }
}
