"""Attacks on a node's memory: calls whose message never comes whole, metadata in masses, large values."""

import time
from concurrent.futures import ThreadPoolExecutor

import http1
import http2
import wire
from node import has_flag
from stage import case

# What a node may keep for its clients, where it has a flag for it, in bytes; the flag is for each worker.
WORKERS = 2
BUDGET = 64 * 1024 * 1024
SLACK_MIB = 64
WITHOUT_BUDGET_MIB = 512
IDLE_KIB = 24  # of a connection on which nothing happens, at most
CALL_KIB = 8  # of a call that waits
PERMITS = WORKERS * 1024
HALF = 1_900_000  # of a message that fits: the limit is 4 MiB
CALL_MAX_S = 15.0
PIECE = b"x" * 16_384


def with_budget(binary):
    budget = ("--workers", str(WORKERS), "--max-buffered", str(BUDGET // WORKERS))
    return budget if has_flag(binary, "--max-buffered") else ()


def bound(stage, connections=0, permits=0):
    """Memory may be what the node was told to keep, and a little, and what idle connections and calls cost that have
    permits; where it cannot be told, a fixed bound."""
    is_told = has_flag(stage.binary, "--max-buffered")
    told_mib = BUDGET / 2**20 + SLACK_MIB + (connections * IDLE_KIB + permits * CALL_KIB) / 1024
    stage.case.peak_mib = told_mib if is_told else WITHOUT_BUDGET_MIB


def half_messages(stage, streams, seconds):
    """On one connection, calls that each send half of a large message, as far as the node makes room for it."""
    http2, numbers = stage.grpc(), range(1, 2 * streams, 2)
    head, begun = wire.block(wire.call_headers()), wire.message(b"", length=2 * HALF)
    http2.read(lambda: http2.first_credit != 65_535, 2.0)
    for number in numbers:
        http2.may_send(number, len(begun))
        http2.send(wire.frame(wire.HEADERS, wire.END_HEADERS, number, head) + wire.frame(wire.DATA, 0, number, begun))
    end, left = time.monotonic() + seconds, dict.fromkeys(numbers, HALF)
    while left and time.monotonic() < end and not http2.closed:
        number = next(iter(left))
        sent = b""
        while left[number] > 0 and http2.may_send(number, len(PIECE)):
            sent += wire.frame(wire.DATA, 0, number, PIECE)
            left[number] -= len(PIECE)
        if left[number] <= 0 or http2.stream(number).is_over:
            del left[number]
        elif not sent:
            # Another one, meanwhile: this one may have to wait for its window.
            left[number] = left.pop(number)
        http2.send(sent)
        # Room is made for a stream and for the connection, and either may be short.
        http2.read(lambda: False, 0.002)
    return http2


@case("800 half messages of 2 MB on one connection", flags=with_budget, may_refuse=True)
def half_messages_on_one(stage):
    """Messages that never come whole are bounded in memory together, and not only each."""
    bound(stage)
    http2 = half_messages(stage, 800, 6.0)
    stage.expect(http2.ping(5.0) or http2.goaway is not None, "the connection does not answer")


@case("800 half messages of 2 MB on four connections", flags=with_budget, may_refuse=True)
def half_messages_on_four(stage):
    """Connections do not multiply what is kept."""
    bound(stage)
    with ThreadPoolExecutor(4) as pool:
        list(pool.map(lambda _: half_messages(stage, 200, 6.0), range(4)))


@case("20 x 2,048 calls without a message", flags=with_budget, may_refuse=True)
def calls_without_message(stage):
    """Calls that say nothing are bounded, in number and memory."""
    heads_only(stage, [])


@case("20 x 2,048 calls with 10 KiB of metadata and no message", flags=with_budget, may_refuse=True)
def metadata_without_message(stage):
    """Metadata is bounded in memory together, and not only for each call; what is refused is not kept."""
    heads_only(stage, [(f"x-{part}", "x" * 500) for part in range(20)])


def heads_only(stage, more):
    bound(stage)
    head = wire.block(wire.call_headers(more=more))
    held = [stage.grpc() for _ in range(20)]
    for http2 in held:
        http2.sock.settimeout(2.0)
        for first in range(1, 4096, 256):
            numbers = range(first, first + 256, 2)
            if not http2.send(b"".join(wire.frame(wire.HEADERS, wire.END_HEADERS, n, head) for n in numbers)):
                break
        http2.read(lambda: False, 0.01)
    time.sleep(1.0)


@case("200 calls with names of 1 MB, 16 at a time", flags=with_budget, latency_s=2.0, may_refuse=True)
def large_names(stage):
    """Large values pass through and are answered, or are refused for want of room; they are not kept, and the log cuts
    them. Others wait for no more than what is at work."""
    bound(stage)
    with ThreadPoolExecutor(16) as pool:
        codes = list(pool.map(lambda number: call_with(stage, "x" * 1_000_000, number), range(200)))
    stage.expect(set(codes) <= {0, 8}, f"codes {sorted(set(codes), key=str)}")
    stage.expect(0 in codes, "none was answered")
    longest = max(len(line) for node in stage.nodes for line in node.log_path.read_bytes().splitlines())
    stage.expect(longest < 16 * 1024, f"a line of the log has {longest} bytes")


def call_with(stage, name, number):
    http2 = wire.Http2(
        stage.edge.grpc, hello=wire.PREFACE + wire.settings(s4=2_000_000) + wire.frame(wire.WINDOW, 0, 0, b"\0\x20\0\0")
    )
    data = wire.message(wire.name_message(name))
    http2.read(lambda: http2.first_credit != 65_535, 2.0)
    http2.send(wire.frame(wire.HEADERS, wire.END_HEADERS, 1, wire.block(wire.call_headers())))
    end = time.monotonic() + CALL_MAX_S
    while data and time.monotonic() < end and not http2.closed and not http2.stream(1).is_over:
        piece = data[: len(PIECE)]
        if http2.may_send(1, len(piece)):
            data = data[len(piece) :]
            http2.send(wire.frame(wire.DATA, 0 if data else wire.END_STREAM, 1, piece))
        else:
            http2.read(lambda: False, 0.005)
    stream = http2.read_stream(1)
    http2.close()
    return stream.code if stream.reset is None else f"reset {stream.reset}"


@case("heads without an end on 4,000 connections", flags=with_budget, may_refuse=True)
def heads_without_end(stage):
    """What has come of a request counts before it is one."""
    bound(stage, 4000)
    head = http1.GET.rstrip() + b"\r\n" + b"".join(b"x-%d: %s\r\n" % (part, b"x" * 4000) for part in range(29))
    held = [stage.rest() for _ in range(4000)]
    for sock in held:
        wire.send_what_fits(sock, head)
    time.sleep(1.0)


@case("half HTTP/2 heads on 4,000 connections", flags=with_budget, given_up_s=16, may_refuse=True)
def half_heads(stage):
    """The same for heads in several frames, whose end must come in time."""
    bound(stage, 4000)
    block = wire.block(wire.call_headers(more=[(f"x-{part}", "x" * 1000) for part in range(28)]))
    begun = wire.frame(wire.HEADERS, 0, 1, block[:16_000]) + wire.frame(wire.CONTINUATION, 0, 1, block[16_000:28_000])
    held = [stage.grpc_sock() for _ in range(4000)]
    for sock in held:
        wire.send_what_fits(sock, wire.PREFACE + wire.settings() + begun)
    time.sleep(1.0)


@case("1,000 x 1,000 calls of clients that read nothing", flags=with_budget, may_refuse=True)
def unread_calls(stage):
    """Calls that are refused at once are not kept in masses until their clients have read that."""
    bound(stage, 1000, PERMITS)
    call_and_read_nothing(stage, 1000)
    time.sleep(3.0)


def call_and_read_nothing(stage, connections):
    head = wire.block(wire.call_headers())
    calls = b"".join(wire.frame(wire.HEADERS, wire.END_HEADERS, number, head) for number in range(1, 2000, 2))
    held = [stage.grpc_sock(rcvbuf=2048) for _ in range(connections)]
    for sock in held:
        wire.send_what_fits(sock, wire.PREFACE + wire.settings(s4=0) + calls)


@case("all attacks on memory together", flags=with_budget, latency_s=3.0, may_refuse=True)
def together(stage):
    """One budget for all that is held: whoever comes first, and whatever it is, together they keep no more."""
    attacks = (
        half_messages_on_one,
        half_messages_on_four,
        calls_without_message,
        metadata_without_message,
        lambda stage: call_and_read_nothing(stage, 200),
        http1.pipeline_and_read_nothing,
        http2.rapid_reset_of_whole_calls,
    )
    with ThreadPoolExecutor(len(attacks)) as pool:
        for done in [pool.submit(attack, stage) for attack in attacks]:
            done.result()
    # Those that are begun and not answered yet.
    time.sleep(3.0)
    bound(stage, 500, PERMITS)
