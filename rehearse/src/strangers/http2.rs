//! Bytes of HTTP/2 (RFC 9113), for what a [`Stranger`](super::Stranger) says.

/// Types of frames.
pub const HEADERS: u8 = 1;
/// Ends a stream at once.
pub const RST_STREAM: u8 = 3;
/// Asks whether the other side is there.
pub const PING: u8 = 6;
/// Says that no more streams are taken.
pub const GOAWAY: u8 = 7;
/// The flag of an answer to PING.
pub const ACK: u8 = 1;

/// The flag of a frame that ends its stream.
pub const END_STREAM: u8 = 1;
/// The flag of a head that is whole.
pub const END_HEADERS: u8 = 4;

/// How a client begins: the preface, and empty SETTINGS.
pub const HELLO: &[u8] = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n\0\0\0\x04\0\0\0\0\0";

/// `CANCEL`, as the payload of RST_STREAM.
pub const CANCEL: &[u8] = &[0, 0, 0, 8];

/// A frame of this type.
///
/// # Panics
/// When the payload is larger than a frame may be.
#[must_use]
pub fn frame(kind: u8, flags: u8, stream: u32, payload: &[u8]) -> Vec<u8> {
    let length = u32::try_from(payload.len()).expect("a payload is small").to_be_bytes();
    let [0, length @ ..] = length else { panic!("a payload is smaller than 16 MiB") };
    [&length[..], &[kind, flags], &stream.to_be_bytes(), payload].concat()
}

/// The head of a call of `path`, whose message is to come.
///
/// # Panics
/// When the path is too long for one byte to say how long.
#[must_use]
pub fn begun(stream: u32, path: &str) -> Vec<u8> {
    frame(HEADERS, END_HEADERS, stream, &head(("POST", path), "application/grpc"))
}

/// The message of a call that was begun, and its end.
///
/// # Panics
/// When the message is larger than a frame may be.
#[must_use]
pub fn message(stream: u32, message: &[u8]) -> Vec<u8> {
    const DATA: u8 = 0;
    let length = u32::try_from(message.len()).expect("a message is small").to_be_bytes();
    frame(DATA, END_STREAM, stream, &[&[0], &length[..], message].concat())
}

/// A unary call of `path` as a whole: its head, its message and its end.
///
/// # Panics
/// When the message is larger than a frame may be.
#[must_use]
pub fn call(stream: u32, path: &str, said: &[u8]) -> Vec<u8> {
    [begun(stream, path), message(stream, said)].concat()
}

/// A request of this method and path that is nothing but its head, and says that its body is of this type.
///
/// # Panics
/// When the path or the type is too long for one byte to say how long.
#[must_use]
pub fn bare(stream: u32, asks: (&str, &str), content_type: &str) -> Vec<u8> {
    frame(HEADERS, END_HEADERS | END_STREAM, stream, &head(asks, content_type))
}

fn head((method, path): (&str, &str), content_type: &str) -> Vec<u8> {
    let fields = [
        (":method", method),
        (":scheme", "http"),
        (":path", path),
        (":authority", "node"),
        ("te", "trailers"),
        ("content-type", content_type),
    ];
    fields.into_iter().flat_map(|(name, value)| field(name, value)).collect()
}

/// A field that no table knows, and that goes into none (RFC 7541, section 6.2.2).
fn field(name: &str, value: &str) -> Vec<u8> {
    let text = |text: &str| {
        let length = u8::try_from(text.len()).ok().filter(|length| *length < 127);
        [&[length.expect("names and values here are short")], text.as_bytes()].concat()
    };
    [vec![0], text(name), text(value)].concat()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_frame_has_its_length_before_it_and_a_field_its_name_and_value() {
        assert_eq!(frame(PING, ACK, 0, b"12345678"), b"\0\0\x08\x06\x01\0\0\0\x0012345678");
        assert_eq!(field("te", "trailers"), b"\0\x02te\x08trailers");
    }
}
