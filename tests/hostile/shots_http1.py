"""Violations of HTTP/1.1: a name, what is sent, and which outcomes are right: statuses, "close" without an answer.

Section numbers are those of RFC 9112 unless another one is named. Where an RFC leaves the choice, all of it stands.
"""

PATH = b"/api/v1/say-hello?name=hostile"
SMUGGLED = b"GET /healthz HTTP/1.1\r\nhost: hostile\r\n\r\n"
BAD = (400, "close")
LENIENT = (200, 400, "close")
OTHER_VERSION = (400, 505, "close")


def line(text):
    """A request with this line and nothing wrong below it."""
    return text + b"\r\nhost: hostile\r\n\r\n"


def head(fields, method=b"GET"):
    """A request with these fields beside Host; its line is right."""
    return method + b" " + PATH + b" HTTP/1.1\r\nhost: hostile\r\n" + fields + b"\r\n\r\n"


def body(fields, data, method=b"POST"):
    """A request with a body, and another one behind it, which is never one if the end of the body is in doubt."""
    return head(fields, method) + data + SMUGGLED


def chunked(data, method=b"POST"):
    return body(b"transfer-encoding: chunked", data, method)


def bare(fields):
    """A request that brings its own Host, or none."""
    return b"GET " + PATH + b" HTTP/1.1\r\n" + fields + b"\r\n"


# The route takes GET only, so what is right in its framing is 405.
NO_BODY = (400, 405, 413, "close")

LINES = [
    ("no request", b"hello\r\n\r\n", BAD),
    ("an SSH banner", b"SSH-2.0-OpenSSH_9.6\r\n\r\n", BAD),
    ("a TLS hello", b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03" + bytes(200), BAD),
    ("nothing but zeros", bytes(1000), BAD),
    ("all bytes", bytes(range(256)) * 4, BAD),
    ("a head that never ends", b"GET " + PATH + b" HTTP/1.1\r\nhost: hos", (408, "close")),
    ("half a line", b"GE", (408, "close")),
    ("an empty method", line(b" " + PATH + b" HTTP/1.1"), BAD),
    ("a method in small letters", line(b"get " + PATH + b" HTTP/1.1"), (400, 405, 501, "close")),
    ("a method that nobody knows", line(b"BREW " + PATH + b" HTTP/1.1"), (405, 501)),
    (
        "a method of 10,000 letters",
        line(b"A" * 10_000 + b" " + PATH + b" HTTP/1.1"),
        (400, 405, 414, 431, 501, "close"),
    ),
    ("a method that is no token", line(b"G(T " + PATH + b" HTTP/1.1"), BAD),
    ("a method with a zero", line(b"GE\0T " + PATH + b" HTTP/1.1"), BAD),
    ("no version", line(b"GET " + PATH), OTHER_VERSION),
    # Section 3: a lenient parser may take any run of whitespace.
    ("two spaces", line(b"GET  " + PATH + b"  HTTP/1.1"), LENIENT),
    ("tabs", line(b"GET\t" + PATH + b"\tHTTP/1.1"), LENIENT),
    ("a space behind the line", line(b"GET " + PATH + b" HTTP/1.1 "), LENIENT),
    ("a word too many", line(b"GET " + PATH + b" x HTTP/1.1"), BAD),
    # RFC 9110, section 2.5: a higher minor version is to be taken for the highest that is known.
    ("HTTP/1.2", line(b"GET " + PATH + b" HTTP/1.2"), (200, 400, 505, "close")),
    ("HTTP/2.0", line(b"GET " + PATH + b" HTTP/2.0"), OTHER_VERSION),
    ("HTTP/3", line(b"GET " + PATH + b" HTTP/3"), OTHER_VERSION),
    ("HTTP/0.9", line(b"GET " + PATH + b" HTTP/0.9"), OTHER_VERSION),
    ("HTTP/11.1", line(b"GET " + PATH + b" HTTP/11.1"), OTHER_VERSION),
    ("HTTP/+1.1", line(b"GET " + PATH + b" HTTP/+1.1"), OTHER_VERSION),
    ("HTTP/1,1", line(b"GET " + PATH + b" HTTP/1,1"), OTHER_VERSION),
    ("http/1.1 in small letters", line(b"GET " + PATH + b" http/1.1"), OTHER_VERSION),
    ("HTTP/1.1 with a tail", line(b"GET " + PATH + b" HTTP/1.1x"), OTHER_VERSION),
    ("a control character in the target", line(b"GET /\x01 HTTP/1.1"), (400, 404, "close")),
    ("a zero in the target", line(b"GET /\0 HTTP/1.1"), BAD),
    ("bytes above ASCII in the target", line(b"GET /\xff\xfe HTTP/1.1"), (400, 404, "close")),
    ("bytes above ASCII in the query", line(b"GET " + PATH + b"\xff HTTP/1.1"), LENIENT),
    ("a fragment", line(b"GET " + PATH + b"#x HTTP/1.1"), (200, 400, 404, "close")),
    ("a target that is no path", line(b"GET api/v1 HTTP/1.1"), (400, 404, "close")),
    ("dots in the path", line(b"GET /../../etc/passwd HTTP/1.1"), (400, 404)),
    ("encoded dots in the path", line(b"GET /%2e%2e/%2e%2e/etc/passwd HTTP/1.1"), (400, 404)),
    ("an encoded zero in the path", line(b"GET /%00 HTTP/1.1"), (400, 404)),
    ("a broken escape in the path", line(b"GET /%zz HTTP/1.1"), (400, 404)),
    ("a broken escape in the query", line(b"GET /api/v1/say-hello?name=%zz HTTP/1.1"), (400,)),
    ("no UTF-8 in the query", line(b"GET /api/v1/say-hello?name=%ff HTTP/1.1"), (400,)),
    ("the same field twice", line(b"GET /api/v1/say-hello?name=a&name=b HTTP/1.1"), (200, 400)),
    ("10,000 fields", line(b"GET /api/v1/say-hello?" + b"a=b&" * 10_000 + b" HTTP/1.1"), (200, 400, 414, 431)),
    # Section 3.2.2: a server must accept the absolute form.
    ("the absolute form", line(b"GET http://hostile" + PATH + b" HTTP/1.1"), (200,)),
    ("the absolute form of another host", line(b"GET http://other" + PATH + b" HTTP/1.1"), (200, 400, 421)),
    ("the absolute form of ftp", line(b"GET ftp://hostile" + PATH + b" HTTP/1.1"), (200, 400, 404, 421)),
    ("the authority form", line(b"GET hostile:80 HTTP/1.1"), (400, 404, "close")),
    ("the asterisk form of GET", line(b"GET * HTTP/1.1"), (400, 404, "close")),
    ("the asterisk form of OPTIONS", line(b"OPTIONS * HTTP/1.1"), (200, 204, 400, 404, 405)),
    ("CONNECT", line(b"CONNECT hostile:80 HTTP/1.1"), (400, 404, 405, 501, "close")),
    ("TRACE", line(b"TRACE " + PATH + b" HTTP/1.1"), (405, 501)),
    # Section 2.2: at least one empty line before a request should be ignored.
    ("an empty line first", b"\r\n" + line(b"GET " + PATH + b" HTTP/1.1"), LENIENT),
    ("1,000 empty lines first", b"\r\n" * 1000 + line(b"GET " + PATH + b" HTTP/1.1"), LENIENT),
    ("a space first", b" " + line(b"GET " + PATH + b" HTTP/1.1"), BAD),
    # Section 2.2: a single LF may be taken for the end of a line.
    ("lines that end with LF", line(b"GET " + PATH + b" HTTP/1.1").replace(b"\r\n", b"\n"), LENIENT),
    ("lines that end with CR", line(b"GET " + PATH + b" HTTP/1.1").replace(b"\r\n", b"\r"), (400, 408, "close")),
    ("HTTP/2 with prior knowledge", b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n\0\0\0\x04\0\0\0\0\0", OTHER_VERSION),
]

FIELDS = [
    ("a field without a colon", head(b"hello"), BAD),
    ("a field without a name", head(b": x"), BAD),
    # Section 5.1: no whitespace between name and colon; a server must refuse it.
    ("a space before the colon", head(b"x : y"), BAD),
    ("a tab before the colon", head(b"x\t: y"), BAD),
    ("a space in a name", head(b"x y: z"), BAD),
    ("a zero in a name", head(b"x\0: y"), BAD),
    ("a name that is no token", head(b"x(y): z"), BAD),
    ("a name above ASCII", head(b"x\xe9: y"), BAD),
    # RFC 9110, section 5.5: such a character is refused, or replaced by a space; CR, LF and zero must be.
    ("a zero in a value", head(b"x: y\0z"), LENIENT),
    ("a CR in a value", head(b"x: y\rz"), LENIENT),
    ("a control character in a value", head(b"x: y\x01z"), LENIENT),
    ("DEL in a value", head(b"x: y\x7fz"), LENIENT),
    ("a value above ASCII", head(b"x: \xff\xfe"), LENIENT),
    # Section 5.2: a folded line is refused, or unfolded.
    ("a folded value", head(b"x: y\r\n z"), LENIENT),
    # Section 2.2: whitespace before the first field is refused, or the line ignored.
    ("a folded first field", bare(b" x: y\r\nhost: hostile\r\n"), LENIENT),
    ("1,000 fields", head(b"\r\n".join(b"x%d: y" % n for n in range(1000))), (200, 400, 431, "close")),
    ("a field of 60,000 bytes", head(b"cookie: " + b"x" * 60_000), (200, 400, 431, "close")),
    # Section 3.2: no Host, more than one, or one that is none, must be 400.
    ("no Host", bare(b""), (400,)),
    ("two Hosts", bare(b"host: a\r\nhost: b\r\n"), (400,)),
    ("the same Host twice", bare(b"host: a\r\nhost: a\r\n"), (400,)),
    ("a Host with a space", bare(b"host: a b\r\n"), (400,)),
    ("a Host with a path", bare(b"host: a/b\r\n"), (400,)),
    ("a Host with a user", bare(b"host: a@b\r\n"), (400,)),
    ("a Host with a port that is none", bare(b"host: a:b\r\n"), (400,)),
    ("an empty Host", bare(b"host:\r\n"), (200, 400)),
    ("an id that is none", head(b"x-request-id: hostile hostile"), (200,)),
    ("an id that is too long", head(b"x-request-id: " + b"hostile" * 100), (200,)),
    ("Connection that names Host", head(b"connection: host"), LENIENT),
    # RFC 9110, section 7.8: an upgrade that is not known is ignored.
    ("an upgrade to a WebSocket", head(b"connection: upgrade\r\nupgrade: websocket"), (200, 400, 426)),
    (
        "an upgrade to h2c",
        head(b"connection: upgrade, http2-settings\r\nupgrade: h2c\r\nhttp2-settings: AAMAAABk"),
        (200, 400),
    ),
    # RFC 9110, section 10.1.1: an expectation that is none may be refused with 417.
    ("an expectation that nobody knows", head(b"expect: the-unexpected"), (200, 400, 417)),
    ("100-continue and no body", head(b"expect: 100-continue\r\ncontent-length: 5", b"POST"), NO_BODY + (408, 417)),
]

# What is too large for a number may be called so in any way.
LENGTHS = [
    (f"content-length: {value.decode()}", body(b"content-length: " + value, b"hello"), NO_BODY + (431,))
    for value in (
        b"-1",
        b"+5",
        b"5x",
        b"0x5",
        b"5 5",
        b"1e3",
        b"5.0",
        b"",
        b"5,6",
        b"99999999999999999999999",
        b"18446744073709551615",
        b"9223372036854775808",
        b"\x0b5",
    )
]

BODIES = [
    # Section 6.3: several lengths that differ must be refused, equal ones may be taken for one.
    ("two lengths", body(b"content-length: 5\r\ncontent-length: 6", b"hello"), NO_BODY),
    ("a length and chunks", body(b"content-length: 5\r\ntransfer-encoding: chunked", b"0\r\n\r\n"), NO_BODY),
    ("chunks and a length", body(b"transfer-encoding: chunked\r\ncontent-length: 4", b"0\r\n\r\n"), NO_BODY),
    ("less than the length", head(b"content-length: 100", b"POST") + b"hello", NO_BODY + (408,)),
    ("gzip that is not chunked", body(b"transfer-encoding: gzip", b"hello"), NO_BODY + (501,)),
    ("chunked before gzip", body(b"transfer-encoding: chunked, gzip", b"0\r\n\r\n"), NO_BODY + (501,)),
    ("chunked twice", body(b"transfer-encoding: chunked, chunked", b"0\r\n\r\n"), NO_BODY + (501,)),
    (
        "chunked in two fields",
        body(b"transfer-encoding: chunked\r\ntransfer-encoding: chunked", b"0\r\n\r\n"),
        NO_BODY + (501,),
    ),
    ("an encoding that nobody knows", body(b"transfer-encoding: xchunked", b"0\r\n\r\n"), NO_BODY + (501,)),
    ("identity", body(b"transfer-encoding: identity", b"hello"), NO_BODY + (501,)),
    ("chunked with a parameter", body(b"transfer-encoding: chunked;q=1", b"0\r\n\r\n"), NO_BODY + (501,)),
    ("a vertical tab before chunked", body(b"transfer-encoding: \x0bchunked", b"0\r\n\r\n"), NO_BODY + (501,)),
    ("a space behind transfer-encoding", body(b"transfer-encoding : chunked", b"0\r\n\r\n"), NO_BODY),
    # Section 6.1: in HTTP/1.0 this is faulty framing; what follows is not to be read.
    ("chunks in HTTP/1.0", chunked(b"0\r\n\r\n").replace(b"HTTP/1.1", b"HTTP/1.0", 1), NO_BODY + (505,)),
    ("a size that is none", chunked(b"zz\r\nhello\r\n0\r\n\r\n"), NO_BODY),
    ("a negative size", chunked(b"-5\r\nhello\r\n0\r\n\r\n"), NO_BODY),
    ("a size with a plus", chunked(b"+5\r\nhello\r\n0\r\n\r\n"), NO_BODY),
    ("a size with 0x", chunked(b"0x5\r\nhello\r\n0\r\n\r\n"), NO_BODY),
    ("a space before a size", chunked(b" 5\r\nhello\r\n0\r\n\r\n"), NO_BODY),
    ("no size", chunked(b"\r\nhello\r\n0\r\n\r\n"), NO_BODY),
    ("a size that overflows", chunked(b"fffffffffffffffff\r\nhello\r\n0\r\n\r\n"), NO_BODY),
    ("the largest size", chunked(b"ffffffffffffffff\r\nhello\r\n0\r\n\r\n"), NO_BODY),
    ("a chunk that is longer than it says", chunked(b"5\r\nhello!\r\n0\r\n\r\n"), NO_BODY),
    ("a chunk without its end", chunked(b"5\r\nhello0\r\n\r\n"), NO_BODY),
    ("an extension of 200,000 bytes", chunked(b"5;" + b"x" * 200_000 + b"\r\nhello\r\n"), NO_BODY),
    ("an extension with a bare LF", chunked(b"5;x\nhello\r\n0\r\n\r\n"), NO_BODY),
    ("a size that ends with CR", chunked(b"5\rhello\r\n0\r\n\r\n"), NO_BODY),
    ("trailers without end", chunked(b"0\r\n" + b"x: y\r\n" * 40_000), NO_BODY + (431,)),
    ("a trailer without a colon", chunked(b"0\r\nhello\r\n\r\n"), NO_BODY),
    ("a chunk that never ends", head(b"transfer-encoding: chunked", b"POST") + b"ffff\r\nhello", NO_BODY + (408,)),
    ("a body for GET", body(b"content-length: 5\r\nconnection: close", b"hello", b"GET"), (400, 413, "close")),
    ("chunks for GET that are none", chunked(b"zz\r\n", b"GET"), (400, 413, "close")),
]

# A body that cannot be read to its end leaves nothing behind it, save for one whose end is certain; those answer
# 405 with the connection open, and then what follows is a request. These shots are never so.
SHOTS = LINES + FIELDS + LENGTHS + BODIES
