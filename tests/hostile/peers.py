"""Callees that are no friends: ports on which something else is spoken."""

import socket
import threading
import time

import wire
from node import Node
from stage import case

# gRPC's backoff begins with 1 s and grows by 1.6, with a fifth of chance: in 5 s a worker tries at 0, 0.8, 2.1 and
# 4.1 s at the soonest. There are two workers.
ATTEMPTS_MAX = 8
LOAD_S = 5.0
DEADLINE_S = 1


class Stranger:
    """A port that accepts, says `banner`, answers whatever comes with `reply`, and counts."""

    def __init__(self, banner, reply, hangs_up):
        self.listener = socket.create_server(("127.0.0.1", 0), backlog=200)
        self.attempts, self.banner, self.reply, self.hangs_up = [], banner, reply, hangs_up
        threading.Thread(target=self._accept, daemon=True).start()

    def _accept(self):
        while True:
            try:
                sock, _ = self.listener.accept()
            except OSError:
                return
            self.attempts.append(time.monotonic())
            threading.Thread(target=self._speak, args=(sock,), daemon=True).start()

    def _speak(self, sock):
        with sock:
            wire.send_what_fits(sock, self.banner)
            end = time.monotonic() + 20.0
            while wire.receive(sock, end) and not self.hangs_up:
                wire.send_what_fits(sock, self.reply)


STRANGERS = {
    "SSH": (b"SSH-2.0-OpenSSH_9.6\r\n", b"", False),
    "HTTP/1.1": (b"", b"HTTP/1.1 400 Bad Request\r\ncontent-length: 0\r\nconnection: close\r\n\r\n", False),
    "nothing": (b"", b"", True),
    "garbage": (bytes(range(256)) * 4, b"", False),
}


@case("callees that speak something else, under load", quiet=True, honest=False)
def strangers(stage):
    """A callee's port on which something else is spoken is tried again no sooner than gRPC's backoff allows, however
    many calls want to go there; each of them is told that the service is unavailable, and soon."""
    with_all = [threading.Thread(target=meet, args=(stage, title, *stranger)) for title, stranger in STRANGERS.items()]
    for thread in with_all:
        thread.start()
    for thread in with_all:
        thread.join()


def meet(stage, title, banner, reply, hangs_up):
    stranger = Stranger(banner, reply, hangs_up)
    peer = "service1=http://127.0.0.1:%d" % stranger.listener.getsockname()[1]
    log = stage.edge.log_path.with_name(f"stranger-{''.join(filter(str.isalnum, title))}.log")
    flags = (
        "--services",
        "service2",
        "--http",
        "127.0.0.1:0",
        "--grpc",
        "127.0.0.1:0",
        "--deadline",
        f"{DEADLINE_S}s",
        "--peer",
        peer,
    )
    node = Node(stage.binary, log, *flags)
    try:
        wrong, slowest = load(node)
        attempts = len(stranger.attempts)
        stage.expect(not wrong, f"{title}: answers {wrong}")
        stage.expect(
            0 < attempts <= ATTEMPTS_MAX, f"{title}: {attempts} attempts in {LOAD_S:.0f} s, {ATTEMPTS_MAX} at most"
        )
        stage.expect(slowest < DEADLINE_S + 1, f"{title}: an answer took {slowest:.2f} s")
        stage.expect(not node.errors(), f"{title}: errors in the log")
    finally:
        node.kill()
        stranger.listener.close()


def load(node):
    """Requests over REST, a hundred a second over four connections: the statuses that are wrong, the slowest."""
    request = b"GET /api/v1/say-hello?name=x HTTP/1.1\r\nhost: hostile\r\n\r\n"
    socks = [wire.connect(node.http) for _ in range(4)]
    wrong, slowest, end = set(), 0.0, time.monotonic() + LOAD_S
    while time.monotonic() < end:
        began = time.monotonic()
        for sock in socks:
            sock.sendall(request)
        for sock in socks:
            found, _, _ = wire.answers(sock, 1, 5.0)
            wrong |= {a.status for a in found if a.status not in (503, 504)} or (set() if found else {None})
        slowest = max(slowest, time.monotonic() - began)
        time.sleep(max(0.0, began + 0.04 - time.monotonic()))
    for sock in socks:
        sock.close()
    return wrong, slowest
