"""Attacks on what is kept beside messages: answers that find no window, heads of thousands of fields, the buffers behind them."""

import signal
import time

import http1
import wire
from memory import PERMITS, bound, with_budget
from stage import case

BRIEFLY = 0.002  # is waited for a node that reads no more, in seconds
LARGE_HEAD = http1.GET.rstrip() + b"\r\nx-a: " + b"a" * 60_000 + b"\r\nx-b: " + b"b" * 58_000 + b"\r\n\r\n"


@case("1,500 answered calls without a window on each of 40 connections", flags=with_budget, may_refuse=True)
def stuck_answers(stage):
    """An answer that waits for its window takes memory, although its call is over and its permit another's."""
    bound(stage, 40, PERMITS)
    head = wire.block(wire.call_headers(more=[("grpc-timeout", "1H")]))
    held = [stage.grpc_sock() for _ in range(40)]
    for sock in held:
        sock.settimeout(BRIEFLY)
        wire.send_what_fits(sock, wire.PREFACE + wire.settings(s4=0))
    for first in range(1, 3000, 40):
        calls = b"".join(call(number, head) for number in range(first, first + 40, 2))
        for sock in held:
            wire.send_what_fits(sock, calls)
        # Slowly enough for most of them to have a permit.
        time.sleep(0.1)


def call(number, head):
    said = wire.message(wire.name_message("hostile"))
    return wire.frame(wire.HEADERS, wire.END_HEADERS, number, head) + wire.frame(wire.DATA, wire.END_STREAM, number, said)


@case("10 heads of 846 fields on each of 1,500 connections", flags=with_budget, latency_s=3.0, may_refuse=True)
def many_fields(stage):
    """A field takes memory beside its letters, and heads are held before anybody can refuse them."""
    bound(stage, 1500, PERMITS)
    letters = [bytes([97 + part % 26, 97 + part // 26 % 26]) for part in range(676)]
    fields = [b"z" + name for name in letters] + [b"y" + name for name in letters[:170]]
    block = wire.block(wire.call_headers()) + b"".join(b"\x10\x03" + name + b"\0" for name in fields)
    heads = b"".join(wire.frame(wire.HEADERS, wire.END_HEADERS, number, block) for number in range(1, 21, 2))
    for _ in range(1500):
        wire.send_what_fits(stage.grpc_sock(), wire.PREFACE + wire.settings(s4=0) + heads)
    time.sleep(1.0)


@case("pipelines behind a large head on 2,000 connections", flags=with_budget, latency_s=3.0, may_refuse=True)
def pipelines(stage):
    """What was made for a large head is not filled with requests while answers are not read."""
    bound(stage, 2000)
    requests = LARGE_HEAD + b"GET /metrics HTTP/1.1\r\nhost: hostile\r\n\r\n" * 3_000
    for _ in range(2000):
        sock = stage.rest(rcvbuf=2048)
        sock.settimeout(BRIEFLY)
        wire.send_what_fits(sock, requests)
    time.sleep(1.0)


@case("1,500 requests with large heads to a callee that stands still", flags=with_budget, honest=False)
def heads_in_flight(stage):
    """Of the head of a request that is in flight only that is kept which counts."""
    bound(stage, 1500, PERMITS)
    stage.callee.child.send_signal(signal.SIGSTOP)
    for _ in range(1500):
        wire.send_what_fits(stage.rest(), LARGE_HEAD)
    time.sleep(2.0)
    stage.callee.child.send_signal(signal.SIGCONT)
