"""Attacks on the log: nobody reads it, and clients write into it."""

import re
from concurrent.futures import ThreadPoolExecutor

import wire
from stage import case, within

DRAIN_S = 3


@case(
    "a log that nobody reads", flags=("--drain-timeout", f"{DRAIN_S}s"), peak_mib=200, unread_log=True, ends_nodes=True
)
def unread_log(stage):
    """With a standard output that nobody reads the node goes on serving, keeps a bounded part of the log, and ends in
    time when it is told to: with the drain's timeout and 5 s."""
    with ThreadPoolExecutor(2) as pool:
        list(pool.map(lambda _: flood(stage), range(2)))
    stage.peak_mib = stage.edge.peak_mib()
    stage.expect(stage.peak_mib <= stage.case.peak_mib, f"memory {stage.peak_mib:.0f} MiB")
    for title, node in (("edge", stage.edge), ("callee", stage.callee)):
        if title == "edge":
            stage.honest.stop()
            stage.let_go()
        took, code = node.terminate(DRAIN_S + 5.0)
        stage.expect(code is not None, f"the {title} did not end within {took:.1f} s of SIGTERM")


def flood(stage):
    """40,000 requests that are answered with 404, each with a line in the log."""
    line = b"GET /" + b"x" * 200 + b" HTTP/1.1\r\nhost: hostile\r\n\r\n"
    sock = stage.rest()
    for _ in range(100):
        if not wire.send_what_fits(sock, line * 400):
            return stage.expect(False, "the node does not read on")
        found, _, _ = wire.answers(sock, 400, 12.0)
        if len(found) < 400:
            return stage.expect(False, f"the node stands still: {len(found)} of 400 answers")


@case("a text log in which clients write lines", quiet=True, flags=("--log-format", "text"), honest=False)
def text_log(stage):
    """What a client sends can neither begin a line of the log nor steer the terminal of who reads it: new lines, ESC
    and other control characters are escaped."""
    forged = "x\n1999-01-01T00:00:00.000000Z ERROR node: forged\r\x1b[31mred\x1b]0;title\x07\x9b31mend"
    http2 = stage.grpc()
    http2.send(wire.call(1, name=forged))
    stage.expect(http2.read_stream(1).code == 0, "the call is not answered")
    for target in (b"%0aforged%1b[31m", b"\x1b[31m", b"%0d%0a%c2%9b"):
        sock = stage.rest()
        sock.sendall(b"GET /" + target + b" HTTP/1.1\r\nhost: hostile\r\nx-request-id: \x1b[31m\r\n\r\n")
        wire.answers(sock, 1, 5.0)
    said = lambda: b"".join(node.log_path.read_bytes() for node in stage.nodes).decode(errors="replace")
    stage.expect(within(2.0, lambda: "FORGED" in said()), "the name is not in the log at all: nothing was checked")
    strange = [line for line in said().split("\n") if line and not re.match(r"20[2-9]\d-\S+Z +(INFO|WARN) ", line)]
    stage.expect(not strange, f"lines of a client's own: {strange[:2]}")
    steering = {letter for letter in said() if letter != "\n" and (letter < " " or "\x7f" <= letter < "\xa0")}
    stage.expect(not steering, f"control characters in the log: {steering}")
