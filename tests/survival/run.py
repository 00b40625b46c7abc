"""The cases, the load, and the table. See `run` for how it is started."""

import argparse
import json
import os
import signal
import socket
import subprocess
import sys
import threading
import time
from pathlib import Path

HERE = Path(__file__).resolve().parent
sys.path.insert(0, str(HERE.parent / "hostile"))

from callees import Refusing, Silent, Slow  # noqa: E402
from node import Failure, Node  # noqa: E402

URL = "http://127.0.0.1:%d/api/v1/say-hello?name=test"
NODE, PEER, GRPCIO = "node", "axum, tonic", "node, over gRPC"
CONNECTIONS = 16
WARM_UP_S = 2.0
# One that hardly answers would take hours.
PEER_MAX_S = 30.0
SLOW_S = 0.05
# A node asks a name every ten seconds.
NAMES_S = 30.0
# Longer than the least time between two questions of a name.
MOVE_S = 2.0
HOSTS = "127.0.0.1 localhost\n"


class Replica:
    """A node with service1 that is started again where it was."""

    def __init__(self, scene, host="127.0.0.1", port=None):
        self.scene, self.host, self.port = scene, host, port or free_port(host)
        self.start()

    def start(self):
        log = self.scene.folder / f"replica-{self.host}-{self.port}.log"
        flags = ["--services", "service1", "--http", "none", "--grpc", f"{self.host}:{self.port}", "--log", "warn,node=info"]
        self.node = Node(self.scene.options.node, log, *flags)

    def signal(self, number):
        self.node.child.send_signal(number)

    def roll(self):
        self.signal(signal.SIGTERM)
        self.node.child.wait(40)
        self.start()

    @property
    def address(self):
        return f"http://{self.host}:{self.port}"


class Scene:
    """One case on one side: replicas, the caller before them, and what is done to them meanwhile."""

    def __init__(self, options, side):
        self.options, self.side = options, side
        self.folder = options.folder / side
        self.folder.mkdir(parents=True, exist_ok=True)
        self.replicas, self.hosts, self.caller = [], None, None

    def replica(self, **where):
        self.replicas.append(Replica(self, **where))
        return self.replicas[-1]

    def write_hosts(self, *addresses):
        self.hosts = self.hosts or self.folder / "hosts"
        # In place: the file that the caller sees is this one.
        self.hosts.write_text(HOSTS + "".join(f"{address} replicas.test\n" for address in addresses))

    def start_caller(self, addresses, *flags):
        port = free_port("127.0.0.1")
        if self.side != PEER:
            (asked, other) = ("--grpc", "--http") if self.side == GRPCIO else ("--http", "--grpc")
            words = [self.options.node, "--services", "service2", asked, f"127.0.0.1:{port}", other, "none"]
            words += ["--peer", "service1=" + ",".join(addresses), "--log", "warn", "--log-format", "json", *flags]
        else:
            words = [self.options.peer, "peer", "axum-front", "--listen", f"127.0.0.1:{port}", "--workers", "2"]
            words += [word for address in addresses for word in ("--service1", address.replace("dns:///", "http://"))]
        if self.hosts:
            script = 'mount --bind "$0" /etc/hosts && exec "$@"'
            words = ["unshare", "--mount", "bash", "-c", script, self.hosts, *words]
        with open(self.folder / "caller.log", "w") as log:
            self.caller = subprocess.Popen(words, stdin=subprocess.DEVNULL, stdout=log, stderr=log)
        await_port(port)
        self.port = port

    def end(self):
        for process in [self.caller, *(replica.node.child for replica in self.replicas)]:
            if process and process.poll() is None:
                process.kill()
            if process:
                process.wait()

    def drive(self, seconds):
        words = ["wrk", "-t1", f"-c{CONNECTIONS}", f"-d{seconds:.0f}s", "--timeout", "15s", "-s", HERE / "load.lua", URL % self.port]
        if self.side == GRPCIO:
            words = [sys.executable, HERE / "load_grpcio.py", str(self.port), str(seconds), str(CONNECTIONS)]
        return subprocess.run(words, capture_output=True, text=True, check=True).stdout

    def play(self, disturb, seconds=8.0):
        """Drives the caller until it was asked as often as wanted, and so long at least, and disturbs it meanwhile."""
        rate = result_of(self.drive(WARM_UP_S))["good"] / WARM_UP_S
        if rate == 0 and self.side != PEER:
            raise Failure("the caller answers nothing, before anything is done to it")
        wanted = self.options.requests / rate * 1.3 if rate else PEER_MAX_S
        seconds = max(seconds, wanted if self.side != PEER else min(wanted, PEER_MAX_S))
        begun = threading.Timer(seconds / 4, disturb)
        begun.start()
        said = self.drive(seconds)
        begun.join()
        return result_of(said)


def killed(scene):
    """`kill -9` of one of two"""
    one, two = scene.replica(), scene.replica()
    scene.start_caller([one.address, two.address])
    return scene.play(lambda: one.signal(signal.SIGKILL))


def rolled(scene):
    """SIGTERM of each of two in turn, each started again: the second as soon as the first is ready"""
    one, two = scene.replica(), scene.replica()
    scene.start_caller([one.address, two.address])
    return scene.play(lambda: [replica.roll() for replica in (one, two)])


def rolled_by_time(scene):
    """SIGTERM of each of two in turn, four times each, one every half second, each started again"""
    one, two = scene.replica(), scene.replica()
    scene.start_caller([one.address, two.address])
    return scene.play(lambda: every(0.5, [one.roll, two.roll] * 4))


def stopped(scene):
    """SIGSTOP of one of two (the node hedges)"""
    one, two = scene.replica(), scene.replica()
    scene.start_caller([one.address, two.address], "--policy", "hedge=true")
    return scene.play(lambda: one.signal(signal.SIGSTOP))


def slow(scene):
    """One of five is 50 ms slow"""
    replicas = [scene.replica() for _ in range(5)]
    way = Slow(replicas[0].port, SLOW_S)
    scene.start_caller([f"http://127.0.0.1:{way.port}", *(replica.address for replica in replicas[1:])])
    return scene.play(lambda: None)


def refusing(scene):
    """One of two refuses at once"""
    scene.start_caller([scene.replica().address, f"http://127.0.0.1:{Refusing().port}"])
    return scene.play(lambda: None)


def silent(scene):
    """One of two accepts, and never answers"""
    scene.start_caller([scene.replica().address, f"http://127.0.0.1:{Silent().port}"])
    return scene.play(lambda: None)


def names(scene):
    """A name loses one of two addresses, and regains it"""
    port = free_port("127.0.0.2")
    one, two = scene.replica(host="127.0.0.2", port=port), scene.replica(host="127.0.0.3", port=port)
    scene.write_hosts(one.host, two.host)
    scene.start_caller([f"dns:///replicas.test:{port}"])

    def move():
        scene.write_hosts(one.host)
        two.roll()
        scene.write_hosts(one.host, two.host)

    return scene.play(move, seconds=NAMES_S)


def moved(scene):
    """A name leads to one address, then only to the other, and two seconds later back; where it does not lead is restarted"""
    port = free_port("127.0.0.2")
    one, two = scene.replica(host="127.0.0.2", port=port), scene.replica(host="127.0.0.3", port=port)
    scene.write_hosts(one.host)
    scene.start_caller([f"dns:///replicas.test:{port}"])

    def move(gone, there):
        scene.write_hosts(there.host)
        gone.roll()

    return scene.play(lambda: every(MOVE_S, [lambda: move(one, two), lambda: move(two, one)]))


CASES = [killed, rolled, rolled_by_time, stopped, slow, refusing, silent, names, moved]


def every(seconds, acts):
    """Does one after the other, each so long after the one before was begun, or when that is done."""
    for act in acts:
        due = time.monotonic() + seconds
        act()
        time.sleep(max(0.0, due - time.monotonic()))


def result_of(said):
    line = next(line for line in said.splitlines() if line.startswith("RESULT "))
    return json.loads(line.removeprefix("RESULT "))


def free_port(host):
    with socket.socket() as listener:
        listener.bind((host, 0))
        return listener.getsockname()[1]


def await_port(port):
    end = time.monotonic() + 10
    while time.monotonic() < end:
        with socket.socket() as client:
            if client.connect_ex(("127.0.0.1", port)) == 0:
                return
        time.sleep(0.02)
    raise Failure(f"nobody listens on {port}")


def row(case, side, result):
    failed = result["bad"] + result["broken"]
    times = " | ".join(f"{result[key]:.1f}" for key in ("p50", "p99", "p999", "max"))
    return f"| {case.__doc__} | {side} | {result['good'] + failed:,} | {failed:,} | {times} |"


def main():
    parser = argparse.ArgumentParser(description="See tests/survival/run.")
    parser.add_argument("folder", type=Path)
    parser.add_argument("node")
    parser.add_argument("--peer", help="the program of the bench `edge`, for axum and tonic beside the node")
    parser.add_argument("--grpcio", action="store_true", help="ask over gRPC by grpcio, in place of REST by wrk")
    parser.add_argument("--requests", type=int, default=100_000, help="at least so many for each case and side")
    parser.add_argument("cases", nargs="*", help=", ".join(case.__name__ for case in CASES))
    options = parser.parse_intermixed_args()
    chosen = [case for case in CASES if not options.cases or case.__name__ in options.cases]
    print("| what happens | caller | requests | failed | p50 ms | p99 ms | p99.9 ms | most ms |\n|---|---|---|---|---|---|---|---|")
    failures = []
    for case in chosen:
        for side in [GRPCIO] if options.grpcio else [NODE, *([PEER] if options.peer else [])]:
            scene = Scene(options, side)
            try:
                result = case(scene)
            finally:
                scene.end()
            print(row(case, side, result))
            if side != PEER and result["bad"] + result["broken"] > 0:
                failures.append(f"{case.__name__}: {result['words']}")
    for failure in failures:
        print(failure, file=sys.stderr)
    sys.exit(1 if failures else 0)


main()
