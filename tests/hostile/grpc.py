"""Attacks on the gRPC edge by calls: metadata over the limits, unknown methods, heads without end."""

import time

import wire
from stage import case

RESOURCE_EXHAUSTED, UNIMPLEMENTED = 8, 12


@case("metadata over the limits", quiet=True)
def metadata_limits(stage):
    """More than 8 KiB of metadata is RESOURCE_EXHAUSTED with the request id, 20 KB is refused in whatever way HTTP/2
    has for it (RFC 9113, section 10.5.1: 431, or treated as malformed), and the connection lives in both cases."""
    http2 = stage.grpc()
    for number, size in ((1, 7_000), (3, 9_000), (5, 20_000), (7, 60_000), (9, 100)):
        more = [("x-request-id", f"id-{size}")] + [(f"x-{part}", "x" * 500) for part in range(size // 500)]
        head = wire.block(wire.call_headers(more=more))
        pieces = [head[start : start + 16_000] for start in range(0, len(head), 16_000)]
        http2.send(
            b"".join(
                wire.frame(
                    wire.CONTINUATION if at else wire.HEADERS,
                    wire.END_HEADERS if at + 1 == len(pieces) else 0,
                    number,
                    piece,
                )
                for at, piece in enumerate(pieces)
            )
            + wire.frame(wire.DATA, wire.END_STREAM, number, wire.message(wire.name_message("hostile")))
        )
        stream = http2.read_stream(number)
        said = f"{size} bytes: status {stream.status}, code {stream.code}, reset {stream.reset}, GOAWAY {http2.goaway}"
        if size in (100, 7_000):
            stage.expect(stream.code == 0, said)
        elif size == 9_000:
            stage.expect(stream.code == RESOURCE_EXHAUSTED, said)
            stage.expect(stream.headers.get("x-request-id") == f"id-{size}", f"{said}: {stream.headers}")
        else:
            stage.expect(stream.status == 431 or stream.code == RESOURCE_EXHAUSTED or stream.reset is not None, said)
        stage.expect(http2.goaway is None and not http2.closed, said)


@case("an unknown method with a path of 12 KB", quiet=True)
def long_unknown_path(stage):
    """The answer is UNIMPLEMENTED with the request id, and short: it does not say the path again, nor does the log."""
    http2 = stage.grpc()
    http2.send(wire.call(1, path="/" + "x" * 12_000, more=[("x-request-id", "long-path")]))
    stream = http2.read_stream(1)
    size = sum(len(name) + len(value) for name, value in stream.headers.items())
    stage.expect(stream.code == UNIMPLEMENTED, f"code {stream.code}, reset {stream.reset}")
    stage.expect(stream.headers.get("x-request-id") == "long-path", f"no id: {str(stream.headers)[:200]}")
    stage.expect(size < 2048, f"the head of the answer has {size} bytes")
    longest = max((len(str(line)) for line in stage.lines_of("long-path")), default=0)
    stage.expect(0 < longest < 4096, f"the line in the log has {longest} bytes")


@case("calls for unknown methods, 8,000", peak_mib=200)
def unknown_methods(stage):
    """Paths that are never the same twice leave nothing behind."""
    http2 = stage.grpc()
    for first in range(1, 16_000, 400):
        http2.send(b"".join(wire.call(number, path=f"/hostile/{number}") for number in range(first, first + 400, 2)))
        http2.read_stream(first + 398)
        if http2.goaway is not None or http2.closed:
            break
    over = sum(stream.code == UNIMPLEMENTED for stream in http2.streams.values())
    stage.expect(over == 8_000, f"{over} of 8000 were answered, GOAWAY {http2.goaway}")


@case("8 x 1,024 heads without a message, and again, as often as one is over")
def permits_held(stage):
    """Who does not say what it wants keeps its permits only as long as nobody else needs them."""
    head = wire.block(wire.call_headers(more=[("grpc-timeout", "1H")]))
    held = [(stage.grpc(), iter(range(1, 2**20, 2))) for _ in range(8)]
    for http2, numbers in held:
        http2.begun = 0
    end = time.monotonic() + 6.0
    while time.monotonic() < end:
        for http2, numbers in held:
            more = 1024 - http2.begun + sum(stream.is_over for stream in http2.streams.values())
            heads = [wire.frame(wire.HEADERS, wire.END_HEADERS, next(numbers), head) for _ in range(max(more, 0))]
            http2.begun += len(heads)
            http2.send(b"".join(heads))
            http2.read(lambda: False, 0.01)
    over = sum(stream.code == RESOURCE_EXHAUSTED for http2, _ in held for stream in http2.streams.values())
    stage.expect(over > 0, "none of them was refused, so there was room for all")
