"""Violations of HTTP/2: a name, what is sent after the preface, and which outcomes are right.

"conn" is a connection error, "stream" the error of one stream, which may always be treated as one of the connection
(RFC 9113, section 5.4.1); "served" that nothing happens. Section numbers are those of RFC 9113.
"""

import wire
from wire import (
    CONTINUATION,
    DATA,
    END_HEADERS,
    END_STREAM,
    GOAWAY,
    HEADERS,
    PADDED,
    PING,
    PRIORITIZED,
    PRIORITY,
    PUSH,
    RST,
    SETTINGS,
    WINDOW,
    frame,
)

CONN = ("conn",)
STREAM = ("stream", "conn")
SERVED = ("served",)
ANY = ("served", "stream", "conn")
CALL = wire.call_headers()
MESSAGE = wire.message(wire.name_message("hostile"))


def head(pairs=CALL, stream=1, flags=END_HEADERS, raw=b""):
    return frame(HEADERS, flags, stream, wire.block(pairs) + raw)


def call(pairs, stream=1):
    return head(pairs, stream) + frame(DATA, END_STREAM, stream, MESSAGE)


def without(name):
    return call([pair for pair in CALL if pair[0] != name])


def changed(name, value):
    return call([(n, value if n == name else v) for n, v in CALL])


def added(*pairs):
    return call(CALL + list(pairs))


FRAMES = [
    # Sections 6.1 to 6.10: frames where they must not be.
    ("DATA on stream 0", frame(DATA, 0, 0, b"x"), CONN),
    ("HEADERS on stream 0", head(stream=0), CONN),
    ("PRIORITY on stream 0", frame(PRIORITY, 0, 0, bytes(5)), CONN),
    ("RST_STREAM on stream 0", frame(RST, 0, 0, bytes(4)), CONN),
    ("CONTINUATION on stream 0", frame(CONTINUATION, END_HEADERS, 0), CONN),
    ("SETTINGS on a stream", frame(SETTINGS, 0, 1), CONN),
    ("PING on a stream", frame(PING, 0, 1, bytes(8)), CONN),
    ("GOAWAY on a stream", frame(GOAWAY, 0, 1, bytes(8)), CONN),
    ("PUSH_PROMISE of a client", head() + frame(PUSH, END_HEADERS, 1, b"\0\0\0\2"), CONN),
    ("an even stream", head(stream=2), CONN),
    ("streams that decrease", wire.call(5) + head(stream=3), STREAM),
    ("DATA on an idle stream", frame(DATA, 0, 1, b"x"), CONN),
    ("RST_STREAM on an idle stream", frame(RST, 0, 1, bytes(4)), CONN),
    ("WINDOW_UPDATE on an idle stream", frame(WINDOW, 0, 1, b"\0\0\0\1"), CONN),
    ("CONTINUATION of nothing", frame(CONTINUATION, END_HEADERS, 1), CONN),
    ("PING inside a head", head(flags=0) + frame(PING, 0, 0, bytes(8)), CONN),
    ("CONTINUATION of another stream", head(flags=0) + frame(CONTINUATION, END_HEADERS, 3), CONN),
    ("an unknown frame inside a head", head(flags=0) + frame(99, 0, 1), CONN),
    ("HEADERS after END_STREAM", wire.call(1) + head(flags=END_HEADERS | END_STREAM), STREAM),
    ("DATA after END_STREAM", wire.call(1) + frame(DATA, 0, 1, b"x"), STREAM),
    ("DATA after RST_STREAM", head() + frame(RST, 0, 1, b"\0\0\0\x08") + frame(DATA, 0, 1, b"x"), ANY),
    ("HEADERS in the middle without END_STREAM", head() + head([("x", "y")]), STREAM),
    # Section 4.2: frames of a size that must not be.
    ("a frame of 16,385 bytes", head() + frame(DATA, 0, 1, b"x" * 16_385), STREAM),
    ("a head of 16,385 bytes", frame(HEADERS, END_HEADERS, 1, b"\0" * 16_385), CONN),
    ("a frame of 16 MiB", head() + b"\xff\xff\xff\0\0\0\0\0\1" + bytes(1000), STREAM),
    ("SETTINGS of 5 bytes", frame(SETTINGS, 0, 0, bytes(5)), CONN),
    ("SETTINGS that acknowledge something", frame(SETTINGS, 1, 0, bytes(6)), CONN),
    ("PING of 7 bytes", frame(PING, 0, 0, bytes(7)), CONN),
    ("WINDOW_UPDATE of 3 bytes", frame(WINDOW, 0, 0, bytes(3)), CONN),
    ("RST_STREAM of 3 bytes", head() + frame(RST, 0, 1, bytes(3)), CONN),
    ("PRIORITY of 4 bytes", head() + frame(PRIORITY, 0, 1, bytes(4)), STREAM),
    ("GOAWAY of 4 bytes", frame(GOAWAY, 0, 0, bytes(4)), CONN),
    ("DATA with more padding than data", head() + frame(DATA, PADDED, 1, b"\xffx"), CONN),
    ("DATA with padding and nothing", head() + frame(DATA, PADDED, 1, b""), CONN),
    ("HEADERS with more padding than head", frame(HEADERS, END_HEADERS | PADDED, 1, b"\xffx"), CONN),
    ("HEADERS with half a priority", frame(HEADERS, END_HEADERS | PRIORITIZED, 1, b"\0\0"), CONN),
    # Section 6.5.2: values that must not be.
    ("ENABLE_PUSH of 2", wire.settings(s2=2), CONN),
    ("INITIAL_WINDOW_SIZE of 2^31", wire.settings(s4=1 << 31), CONN),
    ("MAX_FRAME_SIZE of 100", wire.settings(s5=100), CONN),
    ("MAX_FRAME_SIZE of 2^24", wire.settings(s5=1 << 24), CONN),
    ("HEADER_TABLE_SIZE of 2^32 - 1", wire.settings(s1=(1 << 32) - 1), SERVED),
    ("a setting that nobody knows", wire.settings(s99=1), SERVED),
    ("SETTINGS that nobody waits to be acknowledged", frame(SETTINGS, 1, 0) * 3, ANY),
    ("PING that nobody sent, acknowledged", frame(PING, 1, 0, bytes(8)), SERVED),
    # Section 5.3: what is left of priorities is ignored.
    ("PRIORITY of a stream on itself", frame(PRIORITY, 0, 1, b"\0\0\0\1\0"), ANY),
    (
        "HEADERS that depend on themselves",
        frame(HEADERS, END_HEADERS | PRIORITIZED, 1, b"\0\0\0\1\0" + wire.block(CALL)),
        ANY,
    ),
    # Section 5.5: unknown types and flags are ignored.
    ("a frame of an unknown type", frame(99, 255, 0, b"hello") + frame(99, 255, 7, b"hello"), SERVED),
    ("flags that nobody knows", frame(PING, 0xFE, 0, bytes(8)), SERVED),
    ("the reserved bit of a stream", frame(PING, 0, 1 << 31, bytes(8)), SERVED),
    ("GOAWAY, and then a call", frame(GOAWAY, 0, 0, bytes(8)) + wire.call(1), ANY),
    ("WINDOW_UPDATE of 0", frame(WINDOW, 0, 0, bytes(4)), CONN),
    ("WINDOW_UPDATE of 0 on a stream", head() + frame(WINDOW, 0, 1, bytes(4)), STREAM),
    ("more than the window", head() + frame(DATA, 0, 1, bytes(16_384)) * 5, STREAM),
]

HPACK = [  # RFC 7541; a head that cannot be decoded ends the connection (section 4.3)
    ("an index that is not there", frame(HEADERS, END_HEADERS, 1, b"\xff\x7f"), CONN),
    ("index 0", frame(HEADERS, END_HEADERS, 1, b"\x80"), CONN),
    ("a number that overflows", frame(HEADERS, END_HEADERS, 1, b"\xff" * 20), CONN),
    ("a table that is too large", frame(HEADERS, END_HEADERS, 1, b"\x3f" + b"\xff" * 3 + b"\x7f"), CONN),
    ("a change of the table behind a field", frame(HEADERS, END_HEADERS, 1, wire.block(CALL) + b"\x20"), CONN),
    ("a string beyond the head", frame(HEADERS, END_HEADERS, 1, b"\x10\x7f\x7fx"), CONN),
    ("Huffman's end", frame(HEADERS, END_HEADERS, 1, b"\x10\x84\xff\xff\xff\xff\x01x"), CONN),
    ("Huffman's padding that is none", frame(HEADERS, END_HEADERS, 1, b"\x10\x81\x00\x01x"), CONN),
]

MALFORMED = [  # section 8.1.1: a stream error
    ("a name in capitals", added(("X-Hostile", "y")), STREAM),
    ("an empty name", added(("", "y")), STREAM),
    ("a space in a name", added(("x y", "z")), STREAM),
    ("a zero in a name", added(("x\0", "z")), STREAM),
    ("a name above ASCII", added((b"x\xe9", "z")), STREAM),
    ("a zero in a value", added(("x", "y\0z")), STREAM),
    ("LF in a value", added(("x", "y\nz")), STREAM),
    ("CR in a value", added(("x", "y\rz")), STREAM),
    # Section 8.2.1 says that this is malformed, and that a recipient need not look for it.
    ("a value that begins with a space", added(("x", " y")), ANY),
    ("connection", added(("connection", "close")), STREAM),
    ("keep-alive", added(("keep-alive", "1")), STREAM),
    ("proxy-connection", added(("proxy-connection", "close")), STREAM),
    ("transfer-encoding", added(("transfer-encoding", "chunked")), STREAM),
    ("upgrade", added(("upgrade", "h2c")), STREAM),
    ("te that is not trailers", changed("te", "gzip"), STREAM),
    ("no :method", without(":method"), STREAM),
    ("no :scheme", without(":scheme"), STREAM),
    ("no :path", without(":path"), STREAM),
    ("an empty :path", changed(":path", ""), STREAM),
    ("two of :path", call([(":path", "/")] + CALL), STREAM),
    ("two of :method", call([(":method", "GET")] + CALL), STREAM),
    ("two of :authority", call([(":authority", "x")] + CALL), STREAM),
    (":status in a request", call([(":status", "200")] + CALL), STREAM),
    ("a pseudo-header that nobody knows", call([(":hostile", "x")] + CALL), STREAM),
    ("a pseudo-header behind a field", call(CALL[:3] + [("x", "y")] + CALL[3:]), STREAM),
    ("a method that is none", changed(":method", "P(ST"), STREAM),
    ("a :path that is none", changed(":path", "hello \x01"), STREAM),
    ("an :authority that is none", changed(":authority", "a b"), STREAM),
    ("a user in :authority", changed(":authority", "user@host"), ANY),
    ("a :scheme that is none", changed(":scheme", "h t"), STREAM),
    ("CONNECT with :path", changed(":method", "CONNECT"), STREAM),
    (
        "CONNECT with :protocol",
        call([(":protocol", "websocket")] + [(n, "CONNECT" if n == ":method" else v) for n, v in CALL]),
        STREAM,
    ),
    (
        "a pseudo-header in trailers",
        head() + frame(DATA, 0, 1, MESSAGE) + head([(":path", "/")], flags=END_HEADERS | END_STREAM),
        STREAM,
    ),
    ("a length that is too large", added(("content-length", "9999")), STREAM),
    ("a length that is too small", added(("content-length", "1")), STREAM),
    ("a length that is none", added(("content-length", "x")), STREAM),
    ("two lengths", added(("content-length", "14"), ("content-length", "15")), STREAM),
    ("no head at all", frame(HEADERS, END_HEADERS | END_STREAM, 1), STREAM),
]

GREETINGS = [  # section 3.4: a preface that is none
    ("HEADERS in place of SETTINGS", head(), ANY, wire.PREFACE),
    ("SETTINGS that never come", b"", ("served", "conn"), wire.PREFACE),
    ("a preface with a fault", b"", CONN, wire.PREFACE[:-1] + b"x" + wire.settings()),
    ("HTTP/1.1", b"", CONN, b"GET / HTTP/1.1\r\nhost: hostile\r\n\r\n"),
    ("a TLS hello", b"", CONN, b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03" + bytes(200)),
    ("zeros", b"", CONN, bytes(100)),
    ("SETTINGS alone", b"", CONN, wire.settings()),
]

SHOTS = FRAMES + HPACK + MALFORMED + GREETINGS
