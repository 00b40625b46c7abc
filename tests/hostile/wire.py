"""HTTP/1.1 and HTTP/2 as bytes, for clients that send what no library would let them send."""

import socket
import struct
import time
from dataclasses import dataclass, field

import hpack

PREFACE = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n"
DATA, HEADERS, PRIORITY, RST, SETTINGS, PUSH, PING, GOAWAY, WINDOW, CONTINUATION = range(10)
END_STREAM, ACK, END_HEADERS, PADDED, PRIORITIZED = 1, 1, 4, 8, 32


def connect(address, timeout=12.0, rcvbuf=None):
    sock = socket.socket()
    if rcvbuf:
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, rcvbuf)
    sock.settimeout(timeout)
    sock.connect(address)
    sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    return sock


def send_what_fits(sock, data):
    """Sends all of `data`, or what a peer takes before it hangs up or stops reading for as long as the timeout."""
    try:
        sock.sendall(data)
        return True
    except OSError:
        return False


def receive(sock, end):
    """What comes next until `end`: b"" is the end of the stream, None that nothing came."""
    left = end - time.monotonic()
    if left <= 0:
        return None
    sock.settimeout(left)
    try:
        return sock.recv(65536)
    except TimeoutError:
        return None
    except OSError:
        return b""


def is_closed_within(sock, seconds):
    """Reads until the peer closes. The time that took, None if it did not."""
    started = time.monotonic()
    while (data := receive(sock, started + seconds)) is not None:
        if not data:
            return time.monotonic() - started
    return None


@dataclass
class Answer:
    """An answer over HTTP/1.1."""

    status: int
    headers: dict
    body: bytes

    def is_problem(self):
        """Whether it has the form of the edge's errors: problem+json, with an id in head and body."""
        kind, identity = self.headers.get("content-type", ""), self.headers.get("x-request-id", "")
        return kind == "application/problem+json" and bool(identity) and identity.encode() in self.body


def answers(sock, count, seconds, heads=()):
    """The final answers that come within `seconds`, `count` at most, and whether the peer closed; those whose numbers
    are in `heads` are to HEAD and have no body. With them the bytes that are no answer."""
    end, seen, found, closed = time.monotonic() + seconds, b"", [], False
    while len(found) < count:
        answer, seen = one_answer(seen, len(found) in heads)
        if answer:
            found += [answer] if answer.status >= 200 else []
            continue
        data = receive(sock, end)
        if not data:
            closed = data == b""
            break
        seen += data
    return found, closed, seen


def one_answer(seen, is_head):
    head, blank, rest = seen.partition(b"\r\n\r\n")
    if not blank:
        return None, seen
    first, *lines = head.decode("latin-1").split("\r\n")
    words = first.split(" ", 2)
    if len(words) < 2 or not first.startswith("HTTP/1.") or not words[1].isdigit():
        return None, seen
    headers = {name.lower(): value.strip() for name, _, value in (line.partition(":") for line in lines)}
    length = 0 if is_head or words[1][0] == "1" else int(headers.get("content-length", 0))
    if len(rest) < length:
        return None, seen
    return Answer(int(words[1]), headers, rest[:length]), rest[length:]


def frame(kind, flags, stream, payload=b""):
    return struct.pack(">I", len(payload))[1:] + struct.pack(">BBI", kind, flags, stream) + payload


def settings(**values):
    """A SETTINGS frame; keys are s1 to s6, or any other number."""
    pairs = (struct.pack(">HI", int(key[1:]), value) for key, value in values.items())
    return frame(SETTINGS, 0, 0, b"".join(pairs))


def literal(text):
    """A string of HPACK without Huffman coding."""
    data = text if isinstance(text, bytes) else text.encode("latin-1")
    return integer(len(data), 7) + data


def integer(value, bits, first=0):
    most = (1 << bits) - 1
    if value < most:
        return bytes([first | value])
    coded, value = [first | most], value - most
    while value >= 128:
        coded, value = [*coded, value % 128 + 128], value // 128
    return bytes([*coded, value])


def block(pairs):
    """A header block that touches no table: what comes before does not matter for it."""
    return b"".join(b"\x10" + literal(name) + literal(value) for name, value in pairs)


def message(payload, flag=0, length=None):
    """A message in gRPC's framing."""
    return struct.pack(">BI", flag, len(payload) if length is None else length) + payload


def name_message(name):
    """`SayHelloRequest` and `ProcessNameRequest`: field 1 is the name."""
    data = name if isinstance(name, bytes) else name.encode()
    return b"\x0a" + varint(len(data)) + data


def varint(value):
    coded = []
    while value >= 128:
        coded, value = [*coded, value % 128 + 128], value // 128
    return bytes([*coded, value])


HELLO = "/app.grpc.Service2/SayHello"


def call_headers(path=HELLO, **changed):
    """The head of a gRPC call. `changed` has other values for names (None: without it), `more` pairs to add."""
    more = changed.pop("more", [])
    names = {":method": "POST", ":scheme": "http", ":path": path, ":authority": "hostile"}
    names |= {"content-type": "application/grpc", "te": "trailers"}
    names |= {name.replace("pseudo_", ":").replace("_", "-"): value for name, value in changed.items()}
    return [(name, value) for name, value in names.items() if value is not None] + more


def call(stream, name="hostile", **changed):
    """The frames of a whole call."""
    head = frame(HEADERS, END_HEADERS, stream, block(call_headers(**changed)))
    return head + frame(DATA, END_STREAM, stream, message(name_message(name)))


@dataclass
class Stream:
    """What came on one stream."""

    headers: dict = field(default_factory=dict)
    data: bytes = b""
    reset: int | None = None
    ended: bool = False
    credit: int = 0  # what the peer lets one send, beyond what it lets one send at first

    @property
    def is_over(self):
        return self.ended or self.reset is not None

    @property
    def code(self):
        """The status of a gRPC call, None where there was none."""
        return int(self.headers["grpc-status"]) if "grpc-status" in self.headers else None

    @property
    def status(self):
        return int(self.headers[":status"]) if ":status" in self.headers else None


class Http2:
    """A connection that notes what comes, and sends what it is told to send. By itself it acknowledges SETTINGS only,
    without which a peer keeps to its first windows."""

    def __init__(self, address, hello=PREFACE + settings(), rcvbuf=None):
        self.sock = connect(address, rcvbuf=rcvbuf)
        self.streams, self.goaway, self.closed, self.pongs = {}, None, False, 0
        self.seen, self.decoder = b"", hpack.Decoder()
        self.credit, self.first_credit = 65_535, 65_535
        self.send(hello)

    def send(self, data):
        return send_what_fits(self.sock, data)

    def stream(self, number):
        return self.streams.setdefault(number, Stream())

    def read(self, until, seconds):
        """Reads until `until()` is true, the connection is over or the time is up. Whether `until()` is true."""
        end = time.monotonic() + seconds
        while not until() and not self.closed:
            data = receive(self.sock, end)
            if data is None:
                break
            self.closed = not data
            self.seen += data
            self._frames()
        return until()

    def read_stream(self, number, seconds=12.0):
        self.read(lambda: self.stream(number).is_over or self.goaway is not None, seconds)
        return self.stream(number)

    def ping(self, seconds=12.0):
        """Whether the peer still answers: when it does, it has dealt with all that was sent before."""
        pongs = self.pongs
        self.send(frame(PING, 0, 0, b"hostile?"))
        return self.read(lambda: self.pongs > pongs, seconds)

    def may_send(self, number, size):
        """Whether the peer has made room for so much on a stream; it is then taken as sent."""
        stream = self.stream(number)
        if min(self.credit, self.first_credit + stream.credit) < size:
            return False
        self.credit, stream.credit = self.credit - size, stream.credit - size
        return True

    def close(self):
        self.sock.close()

    def _frames(self):
        while len(self.seen) >= 9:
            length = int.from_bytes(self.seen[:3], "big")
            if len(self.seen) < 9 + length:
                return
            kind, flags, number = self.seen[3], self.seen[4], int.from_bytes(self.seen[5:9], "big")
            payload, self.seen = self.seen[9 : 9 + length], self.seen[9 + length :]
            self._frame(kind, flags, number, payload)

    def _frame(self, kind, flags, number, payload):
        if kind == GOAWAY:
            self.goaway = int.from_bytes(payload[4:8], "big")
        elif kind == PING and flags & ACK:
            self.pongs += 1
        elif kind == SETTINGS and not flags & ACK:
            self.send(frame(SETTINGS, ACK, 0))
            found = dict(struct.iter_unpack(">HI", payload))
            self.first_credit = found.get(4, self.first_credit)
        elif kind == WINDOW and number == 0:
            self.credit += int.from_bytes(payload, "big")
        elif kind == WINDOW:
            self.stream(number).credit += int.from_bytes(payload, "big")
        elif kind == RST:
            self.stream(number).reset = int.from_bytes(payload, "big")
        elif kind == HEADERS:
            decoded = self.decoder.decode(payload, raw=True)
            self.stream(number).headers |= {n.decode("latin-1"): v.decode("latin-1") for n, v in decoded}
        elif kind == DATA:
            self.stream(number).data += payload
        if kind in (DATA, HEADERS) and flags & END_STREAM:
            self.stream(number).ended = True
