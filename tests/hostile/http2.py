"""Floods and other abuse of HTTP/2 on the gRPC edge.

A client that abuses the protocol may be cut off (RFC 9113, section 10.5: ENHANCE_YOUR_CALM) or served on; what it must
not do is cost others their time, or the node its memory.
"""

import time

import wire
from stage import case

FLOW_CONTROL_ERROR, CANCEL, ENHANCE_YOUR_CALM, INTERNAL_ERROR = 3, 8, 11, 2


def pour(stage, data, times, http2=None, seconds=6.0):
    """Sends `data` over and over, reads nothing, and stops when the node takes no more of it."""
    http2 = http2 or stage.grpc(rcvbuf=4096)
    http2.sock.settimeout(1.0)
    end = time.monotonic() + seconds
    for _ in range(times):
        if time.monotonic() > end or not http2.send(data):
            break
    return http2


def is_well(stage, http2):
    """After the flood: either cut off for a reason that is the client's, or still served."""
    served = http2.ping(5.0)
    stage.expect(served or http2.goaway != INTERNAL_ERROR, f"GOAWAY {http2.goaway}")
    return served


@case("rapid reset: 40,000 empty calls on two connections", peak_mib=200)
def rapid_reset(stage):
    """Streams that are opened and reset at once (CVE-2023-44487) cost others nothing."""
    for _ in range(2):
        http2 = stage.grpc()
        head = wire.block(wire.call_headers())
        for first in range(1, 40_000, 400):
            numbers = range(first, first + 400, 2)
            if not http2.send(b"".join(opened_and_reset(number, head) for number in numbers)):
                break
        is_well(stage, http2)


def opened_and_reset(number, head, message=b""):
    opened = wire.frame(wire.HEADERS, wire.END_HEADERS, number, head)
    whole = wire.frame(wire.DATA, wire.END_STREAM, number, message) if message else b""
    return opened + whole + wire.frame(wire.RST, 0, number, CANCEL.to_bytes(4, "big"))


@case("rapid reset: 20,000 whole calls", peak_mib=200)
def rapid_reset_of_whole_calls(stage):
    """Calls that are complete and then reset at once cost others nothing; what they hold is given back."""
    http2, head = stage.grpc(), wire.block(wire.call_headers())
    message = wire.message(wire.name_message("hostile"))
    for first in range(1, 40_000, 200):
        numbers = range(first, first + 200, 2)
        if not http2.send(b"".join(opened_and_reset(number, head, message) for number in numbers)):
            break
    is_well(stage, http2)


@case("flood of SETTINGS that nobody reads the answers of", peak_mib=160)
def settings_flood(stage):
    """Each SETTINGS wants an answer; a client that reads none gets no queue of them (CVE-2019-9515)."""
    pour(stage, wire.settings(s4=65535) * 1000, 1000)


@case("flood of PING that nobody reads the answers of", peak_mib=160)
def ping_flood(stage):
    """Each PING wants an answer; a client that reads none gets no queue of them (CVE-2019-9512)."""
    pour(stage, wire.frame(wire.PING, 0, 0, b"hostile!") * 1000, 1000)


@case("flood of empty DATA frames", peak_mib=160)
def empty_data_flood(stage):
    """Frames with nothing in them and without an end cost others nothing (CVE-2019-9518)."""
    http2 = stage.grpc()
    http2.send(wire.frame(wire.HEADERS, wire.END_HEADERS, 1, wire.block(wire.call_headers())))
    pour(stage, wire.frame(wire.DATA, 0, 1) * 1000, 300, http2)
    is_well(stage, http2)


@case("flood of PRIORITY and WINDOW_UPDATE", peak_mib=160)
def small_frames_flood(stage):
    """Frames that mean next to nothing cost others nothing (CVE-2019-9513)."""
    http2 = stage.grpc()
    http2.send(wire.frame(wire.HEADERS, wire.END_HEADERS, 1, wire.block(wire.call_headers())))
    pair = wire.frame(wire.PRIORITY, 0, 1, b"\0\0\0\3\x10") + wire.frame(wire.WINDOW, 0, 1, b"\0\0\0\1")
    pour(stage, pair * 500, 300, http2)
    is_well(stage, http2)


@case("flood of CONTINUATION", peak_mib=160)
def continuation_flood(stage):
    """A head without an end is cut off, and is not kept meanwhile (CVE-2024-27316)."""
    http2 = stage.grpc()
    http2.send(wire.frame(wire.HEADERS, 0, 1, wire.block(wire.call_headers())))
    piece = wire.frame(wire.CONTINUATION, 0, 1, wire.block([("x", "x" * 16000)]))
    pour(stage, piece * 10, 500, http2)
    http2.read(lambda: False, 2.0)
    stage.expect(http2.goaway or http2.closed, "80 MB of one head were taken without a word")


@case("flood of empty CONTINUATION", peak_mib=160)
def empty_continuation_flood(stage):
    """Frames of a head that add nothing to it are cut off too."""
    http2 = stage.grpc()
    http2.send(wire.frame(wire.HEADERS, 0, 1, wire.block(wire.call_headers())))
    pour(stage, wire.frame(wire.CONTINUATION, 0, 1) * 1000, 500, http2)
    http2.read(lambda: False, 2.0)
    stage.expect(http2.goaway or http2.closed, "500,000 frames of one head were taken without a word")


@case("HPACK bomb: small heads that unfold to 64 MB each", peak_mib=160)
def hpack_bomb(stage):
    """A head is bounded by what it unfolds to, and not by what comes over the wire: each is refused (CVE-2016-6581)."""
    http2 = stage.grpc()
    planted = b"\x40" + wire.literal("x") + wire.literal("x" * 4000)
    bomb = wire.block(wire.call_headers()) + planted + b"\xbe" * 16_000
    for number in range(1, 400, 2):
        head = wire.frame(wire.HEADERS, 0, number, bomb[:16_000])
        if not http2.send(
            head + wire.frame(wire.CONTINUATION, wire.END_HEADERS | wire.END_STREAM, number, bomb[16_000:])
        ):
            break
    is_well(stage, http2)
    answered = [stream for stream in http2.streams.values() if stream.code == 0]
    stage.expect(not answered, f"{len(answered)} bombs were taken for calls")


@case("windows that overflow", quiet=True)
def window_overflow(stage):
    """A window above 2^31 - 1 ends its stream, or the connection if it is that one's, with FLOW_CONTROL_ERROR
    (RFC 9113, sections 6.9.1 and 6.9.2)."""
    most = wire.frame(wire.WINDOW, 0, 0, b"\x7f\xff\xff\xff")
    http2 = stage.grpc()
    http2.send(most * 2)
    http2.read(lambda: http2.goaway is not None, 5.0)
    stage.expect(http2.goaway == FLOW_CONTROL_ERROR, f"connection: {http2.goaway}")
    http2 = stage.grpc()
    http2.send(wire.frame(wire.HEADERS, wire.END_HEADERS, 1, wire.block(wire.call_headers())))
    http2.send(wire.frame(wire.WINDOW, 0, 1, b"\x7f\xff\xff\xff") * 2)
    stream = http2.read_stream(1, 5.0)
    stage.expect(FLOW_CONTROL_ERROR in (stream.reset, http2.goaway), f"stream: {stream.reset}, {http2.goaway}")
    http2 = stage.grpc(hello=wire.PREFACE + wire.settings(s4=1 << 31))
    http2.read(lambda: http2.goaway is not None, 5.0)
    # PROTOCOL_ERROR is the general form of it (section 7).
    stage.expect(http2.goaway in (1, FLOW_CONTROL_ERROR), f"SETTINGS: {http2.goaway}")


@case("1,000 answers that never get a window", quiet=True, peak_mib=200)
def zero_window(stage):
    """Answers that their client never makes room for are given up: a second after the default deadline of 10 s (30 s
    where there is none), and others are answered meanwhile."""
    http2 = stage.grpc(hello=wire.PREFACE + wire.settings(s4=0))
    http2.send(b"".join(wire.call(number) for number in range(1, 2001, 2)))
    over = lambda: sum(stream.is_over for stream in http2.streams.values())
    http2.read(lambda: over() >= 1000, 14.0)
    stage.expect(over() == 1000, f"{over()} of 1000 were given up within 14 s")
    stage.expect(http2.ping(), "the connection is lost")


@case("slow-loris prefaces on 400 connections", quiet=True, given_up_s=16, peak_mib=160)
def slow_prefaces(stage):
    """A preface that comes byte after byte is cut off after 10 s."""
    socks = [stage.grpc_sock() for _ in range(400)]
    for byte in wire.PREFACE[:20]:
        began = time.monotonic()
        for sock in socks:
            wire.send_what_fits(sock, bytes([byte]))
        time.sleep(max(0.0, began + 0.5 - time.monotonic()))


@case("slow messages on 500 calls", quiet=True, peak_mib=160)
def slow_messages(stage):
    """A call whose message comes byte after byte ends at its deadline, 10 s where it brings none, with
    DEADLINE_EXCEEDED."""
    http2, numbers = stage.grpc(), range(1, 1001, 2)
    head, message = wire.block(wire.call_headers()), wire.message(b"", length=1000)
    for number in numbers:
        http2.send(wire.frame(wire.HEADERS, wire.END_HEADERS, number, head) + wire.frame(wire.DATA, 0, number, message))
    for _ in range(16):
        http2.send(b"".join(wire.frame(wire.DATA, 0, number, b"x") for number in numbers))
        http2.read(lambda: False, 0.5)
    over = lambda: sum(stream.is_over for stream in http2.streams.values())
    http2.read(lambda: over() == len(numbers), 6.0)
    codes = {http2.stream(number).code for number in numbers}
    stage.expect(codes == {4}, f"codes {codes}, {over()} of {len(numbers)} ended")
