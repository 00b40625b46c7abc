"""Attacks on the REST edge: pipelining, clients that do not read, bodies that do not end, slow heads."""

import socket
import time

import wire
from stage import case, within

PATH = "/api/v1/say-hello?name=hostile"
GET = f"GET {PATH} HTTP/1.1\r\nhost: hostile\r\n\r\n".encode()
HEAD = GET.replace(b"GET", b"HEAD")
LARGE = GET.replace(b"hostile ", b"h" * 6000 + b" ")  # with an answer of this size
CLOSE = GET.replace(b"\r\n\r\n", b"\r\nconnection: close\r\n\r\n")
HELLO = b'"Hello, HOSTILE!"'


def exchange(stage, sent, count, seconds=12.0, heads=()):
    """Sends all in one segment, and reads `count` answers at most."""
    sock = stage.rest()
    wire.send_what_fits(sock, sent)
    return wire.answers(sock, count, seconds, heads)


def told(answers):
    return [(answer.status, answer.body) for answer in answers]


@case("pipelining: HEAD, GET and close in one segment", quiet=True)
def pipelining(stage):
    """Each answer belongs to its own request: that to HEAD has no body, whatever follows it, the one to GET has; and
    `connection: close` of the last request closes after the last answer (RFC 9112, sections 9.3.2 and 9.6)."""
    for words, sent, heads in (
        ("HEAD, GET", HEAD + GET, {0}),
        ("GET, HEAD", GET + HEAD, {1}),
        ("HEAD, HEAD, GET", HEAD + HEAD + GET, {0, 1}),
        ("GET, GET", GET + GET, set()),
    ):
        count = sent.count(b"HTTP/1.1")
        found, closed, rest = exchange(stage, sent, count, 5.0, heads)
        right = [(200, b"" if number in heads else HELLO) for number in range(count)]
        stage.expect(told(found) == right and not rest, f"{words}: {told(found)}, then {rest[:60]!r}")
        stage.expect(not closed, f"{words}: closed")
    found, closed, _ = exchange(stage, GET + CLOSE, 3, 5.0)
    stage.expect(told(found) == [(200, HELLO)] * 2 and closed, f"GET, close: {told(found)}, closed: {closed}")
    stage.expect(
        "close" not in found[0].headers.get("connection", "") if found else False, "the first answer says close"
    )
    found, closed, _ = exchange(stage, CLOSE + GET, 3, 5.0)
    stage.expect(told(found) == [(200, HELLO)] and closed, f"close, GET: {told(found)}, closed: {closed}")


@case("200 clients pipeline and do not read", peak_mib=160)
def unread(stage):
    """Clients that ask for more and more and read nothing cost neither time (less than half a core) nor memory, and
    others do not wait for them."""
    pipeline_and_read_nothing(stage)
    began, used = time.monotonic(), stage.edge.cpu_s()
    time.sleep(5.0)
    share = (stage.edge.cpu_s() - used) / (time.monotonic() - began)
    stage.expect(share < 0.5, f"the node used {share:.2f} of a core while they hung")


def pipeline_and_read_nothing(stage):
    """What they cost the node is to be measured where there are no others."""
    socks = [stage.rest(rcvbuf=4096) for _ in range(200)]
    for sock in socks:
        sock.setblocking(False)
    end = time.monotonic() + 2.0
    while time.monotonic() < end:
        for sock in socks:
            try:
                sock.send(LARGE * 10)
            except OSError:
                continue
        time.sleep(0.1)


@case("a reader of nothing is given up", quiet=True, given_up_s=36)
def unread_is_given_up(stage):
    """A client that reads nothing of its answers is given up after 30 s (and the time to notice)."""
    sock = stage.rest(rcvbuf=4096)
    sock.settimeout(1.0)
    while wire.send_what_fits(sock, LARGE * 10):
        pass


@case("answered requests with bodies that never end", quiet=True, given_up_s=16)
def endless_bodies(stage):
    """A request that was answered before its body has ended does not hold its connection: it is closed after 15 s, body
    or none, and after `connection: close` too. That it drips on does not matter."""
    ways = {
        "silent": b"",
        "silent after close": b"connection: close\r\n",
        "dripping": b"",
        "dripping after close": b"connection: close\r\n",
    }
    socks = {}
    for way, header in ways.items():
        for length in (b"transfer-encoding: chunked\r\n", b"content-length: 1000000\r\n"):
            sock = socks[way, length] = stage.rest()
            sock.sendall(b"POST /nowhere HTTP/1.1\r\nhost: hostile\r\n" + header + length + b"\r\n")
            found, _, _ = wire.answers(sock, 1, 5.0)
            stage.expect([a.status for a in found] in ([404], [400]), f"{way}: {told(found)}")
    end, left = time.monotonic() + 16.0, dict(socks)
    while left and time.monotonic() < end:
        for (way, length), sock in list(left.items()):
            drip = b"1\r\nx\r\n" if b"chunked" in length else b"x"
            is_taken = not way.startswith("dripping") or wire.send_what_fits(sock, drip)
            if not is_taken or wire.receive(sock, time.monotonic() + 0.05) == b"":
                del left[way, length]
    stage.expect(not left, f"not closed: {[f'{way}, {length.decode().strip()}' for way, length in left]}")


@case("malformed requests behind good ones", quiet=True)
def malformed_behind_good(stage):
    """What comes before a malformed request is answered in full; then comes a problem with an id, and the end. Each
    has one line in the access log."""
    for good in (0, 1, 500):
        found, closed, rest = exchange(stage, GET * good + b"hello\r\n\r\n", good + 2)
        first, last = found[:good], found[good:]
        right = sum(told([answer]) == [(200, HELLO)] for answer in first)
        stage.expect(right == good, f"behind {good}: {right} answers are right")
        is_told = [a.status for a in last] == [400] and last[0].is_problem()
        stage.expect(is_told, f"behind {good}: {last or rest[:80]}")
        stage.expect(closed, f"behind {good}: not closed")
    refused = lambda: [line["request_id"] for line in stage.edge.access_lines() if line.get("status") == 400]
    within(2.0, lambda: len(refused()) >= 3)
    stage.expect(
        len(refused()) == len(set(refused())) == 3, f"{len(refused())} access lines for three malformed requests"
    )


@case("heads over the limits", quiet=True)
def large_heads(stage):
    """A target that is too long is 414 (RFC 9110, section 15.5.15), a head that is too large 431 (RFC 6585, section 5),
    also if its target makes it so; each a problem with an id, whether at once or in pieces, and then the end."""
    long, line = (b"GET /" + b"x" * size + b" HTTP/1.1\r\nhost: hostile\r\n\r\n" for size in (70_000, 200_000))
    header = b"GET / HTTP/1.1\r\nhost: hostile\r\nx: " + b"x" * 200_000 + b"\r\n\r\n"
    headers = b"GET / HTTP/1.1\r\nhost: hostile\r\n" + b"x: xxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxx\r\n" * 5000 + b"\r\n"
    heads = ((414, "target", long), (431, "longer target", line), (431, "header", header), (431, "headers", headers))
    for status, what, sent in heads:
        for piece in (len(sent), 4096):
            sock = stage.rest()
            for start in range(0, len(sent), piece):
                if not wire.send_what_fits(sock, sent[start : start + piece]):
                    break
            found, closed, _ = wire.answers(sock, 2, 12.0)
            is_told = [a.status for a in found] == [status] and found[0].is_problem()
            stage.expect(is_told, f"long {what} in pieces of {piece}: {told(found)}, expected {status}")
            stage.expect(closed, f"long {what} in pieces of {piece}: not closed")


@case("clients that half-close", quiet=True)
def half_close(stage):
    """Who has said all that it wants to say may close its side, and is answered (RFC 9112, section 9.6: half-closing
    is legal)."""
    for sent, count in ((GET, 1), (CLOSE, 1), (GET * 20, 20)):
        sock = stage.rest()
        sock.sendall(sent)
        sock.shutdown(socket.SHUT_WR)
        found, closed, _ = wire.answers(sock, count + 1, 12.0)
        stage.expect(told(found) == [(200, HELLO)] * count, f"{len(found)} of {count} answers: {told(found)[:2]}")
        stage.expect(closed, "not closed afterwards")


@case("slow-loris heads on 400 connections", quiet=True, given_up_s=16, peak_mib=160)
def slow_heads(stage):
    """A head that comes byte after byte is cut off after 10 s, with 408 and a problem (RFC 9110, section 15.5.9)."""
    socks = [stage.rest() for _ in range(400)]
    drip(socks, GET[:-2] + b"x: " + b"x" * 200, 11.0)
    found, closed, rest = wire.answers(socks[-1], 2, 2.0)
    stage.expect(
        [a.status for a in found] == [408] and found[0].is_problem() and closed, f"{told(found)} {rest[:80]!r}"
    )


@case("slow bodies on 200 connections", quiet=True, given_up_s=16, peak_mib=160)
def slow_bodies(stage):
    """A body that comes byte after byte to a route that takes none is answered at once, and cut off."""
    socks = [stage.rest() for _ in range(200)]
    head = GET[:-2] + b"content-length: 100000\r\n\r\n"
    for sock in socks:
        sock.sendall(head)
    found, _, _ = wire.answers(socks[0], 1, 5.0)
    stage.expect([a.status for a in found] == [400] and found[0].is_problem(), f"{told(found)}")
    drip(socks, b"x" * 200, 4.0)


def drip(socks, data, seconds):
    """A byte on each socket every half second."""
    for byte in data[: int(seconds * 2)]:
        began = time.monotonic()
        for sock in socks:
            wire.send_what_fits(sock, bytes([byte]))
        time.sleep(max(0.0, began + 0.5 - time.monotonic()))
