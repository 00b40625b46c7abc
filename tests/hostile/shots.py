"""One violation each, a hundred and more, side by side; the tables are in `shots_*.py`.

What is answered must be an error of the client's, or the connection closed, within 12 s; nothing is the node's own
error; and an honest call on a new connection works right after.
"""

from concurrent.futures import ThreadPoolExecutor

import shots_grpc
import shots_http1
import shots_http2
import wire
from stage import case

AT_ONCE = 24
WAIT_S = 12.0
ECHO = b"GET /healthz HTTP/1.1\r\nhost: honest\r\n\r\n"
INTERNAL_ERROR = 2
# What differs from what an RFC demands and is not ours to mend; whatever stands here must still differ.
KNOWN = {
    "a pseudo-header in trailers": "h2 0.4 leaves it out and goes on (RFC 9113, section 8.1); nothing reads trailers"
}


def play(stage, shots, judge):
    def one(shot):
        judge(stage, *shot)
        honest_after(stage, shot[0])

    with ThreadPoolExecutor(AT_ONCE) as pool:
        list(pool.map(one, shots))


def honest_after(stage, name):
    sock = wire.connect(stage.edge.http)
    sock.sendall(ECHO)
    found, _, _ = wire.answers(sock, 1, 5.0)
    sock.close()
    http2 = wire.Http2(stage.edge.grpc)
    http2.send(wire.call(1))
    code = http2.read_stream(1, 5.0).code
    http2.close()
    stage.expect([a.status for a in found] == [200] and code == 0, f"{name}: an honest call after it fails")


@case(f"{len(shots_http1.SHOTS)} violations of HTTP/1.1", quiet=True)
def http1(stage):
    """Each is answered with an error of the client's in the edge's form, or the connection is closed, and what follows
    it on its connection is never taken for a request where its own end is in doubt."""
    play(stage, shots_http1.SHOTS, http1_shot)


def http1_shot(stage, name, sent, allowed):
    sock = wire.connect(stage.edge.http)
    wire.send_what_fits(sock, sent)
    found, closed, rest = wire.answers(sock, 1, WAIT_S)
    later, ended, _ = wire.answers(sock, 9, 0.5) if found and not closed else ([], closed, b"")
    sock.close()
    said = (
        [a.status for a in found + later]
        + ([f"then {rest[:40]!r}"] if rest else [])
        + (["close"] if closed or ended else [])
    )
    outcome = found[0].status if found else "close" if closed else None
    stage.expect(outcome in allowed, f"{name}: {said}, expected one of {list(allowed)}")
    stage.expect(not (rest and not found and not is_http2(rest)), f"{name}: no HTTP: {rest[:60]!r}")
    stage.expect(all(a.is_problem() for a in found if a.status >= 400), f"{name}: no problem+json with an id")
    smuggled = [a for a in found + later if a.body.startswith(b"alive")]
    stage.expect(not smuggled, f"{name}: what stood behind it was taken for a request of its own")


def is_http2(rest):
    return len(rest) > 8 and rest[3] in (wire.SETTINGS, wire.GOAWAY)


@case(f"{len(shots_http2.SHOTS)} violations of HTTP/2", quiet=True)
def http2(stage):
    """Each ends its stream or its connection with an error that is the client's, or has no effect where the RFC says
    that it is to be ignored."""
    play(stage, shots_http2.SHOTS, http2_shot)


def http2_shot(stage, name, sent, allowed, hello=wire.PREFACE + wire.settings()):
    http2 = wire.Http2(stage.edge.grpc, hello)
    http2.send(sent)
    is_ignored = http2.ping(WAIT_S) and "served" in allowed
    if not is_ignored:
        http2.read(lambda: http2.goaway is not None or any(s.is_over for s in http2.streams.values()), WAIT_S)
    outcome = outcome_of(http2)
    http2.close()
    internal = http2.goaway == INTERNAL_ERROR or any(s.reset == INTERNAL_ERROR for s in http2.streams.values())
    stage.expect(not internal, f"{name}: INTERNAL_ERROR")
    is_right = (outcome in allowed) != (name in KNOWN)
    stage.expect(
        is_right, f"{name}: {outcome}, expected one of {list(allowed)}; {KNOWN.get(name, 'no known deviation')}"
    )


def outcome_of(http2):
    """conn: the connection is over; stream: a stream ended with an error; served: neither."""
    if http2.goaway is not None or http2.closed:
        return "conn"
    failed = [s for s in http2.streams.values() if s.reset is not None or s.code or (s.status or 200) != 200]
    return "stream" if failed else "served"


@case(f"{len(shots_grpc.SHOTS)} violations of gRPC", quiet=True)
def grpc(stage):
    """Each call ends with a status that says whose fault it is, and has a request id."""
    play(stage, shots_grpc.SHOTS, grpc_shot)


def grpc_shot(stage, name, sent, allowed):
    http2 = wire.Http2(stage.edge.grpc)
    http2.send(sent)
    stream = http2.read_stream(1, WAIT_S)
    http2.close()
    # After a whole answer a stream may be reset, so that the client stops sending (RFC 9113, section 8.1).
    if stream.reset is not None and not stream.ended:
        outcome = "internal reset" if stream.reset == INTERNAL_ERROR else "reset"
    elif http2.goaway is not None:
        outcome = f"GOAWAY {http2.goaway}"
    else:
        outcome = stream.code if stream.code is not None else f"http {stream.status}"
    said = f"{name}: {outcome} {stream.headers.get('grpc-message', '')}"
    stage.expect(outcome in allowed, f"{said}, expected one of {list(allowed)}")
    if stream.headers:
        identity = stream.headers.get("x-request-id", "")
        stage.expect(0 < len(identity) <= 128 and "hostile" not in identity, f"{said}: the id is {identity!r}")
