"""What a case plays on: two nodes, an honest client beside, and what is measured of them.

`service1` has a node of its own, which `service2` calls over gRPC. The second node is the edge that is attacked.
"""

import subprocess
import sys
import threading
import time
from dataclasses import dataclass
from pathlib import Path

import wire
from node import Failure, Node

HERE = Path(__file__).resolve().parent
READY_MAX_S = 10.0
RELEASE_MAX_S = 5.0
# Connections come and go for others than the attacker: the honest client's new ones.
SPARE_DESCRIPTORS = 4
CASES = []


@dataclass
class Case:
    """One attack, and what is allowed to come of it beyond what every case demands. With `given_up_s` the attacker
    holds its connections, and the node must close them within that time."""

    name: str
    attack: object
    flags: object = ()  # of the nodes, or a function from a binary to them
    peak_mib: float = 256.0
    latency_s: float = 1.0
    given_up_s: float | None = None
    quiet: bool = False
    honest: bool = True
    may_refuse: bool = False  # honest calls, for want of room, with RESOURCE_EXHAUSTED
    unread_log: bool = False
    ends_nodes: bool = False


def case(name, **allowed):
    """Registers a case. Its docstring says what must be true; `quiet` ones mostly wait, and play side by side."""

    def register(attack):
        CASES.append(Case(name, attack, **allowed))
        return attack

    return register


class Honest:
    """The honest client, and what it has seen."""

    def __init__(self, edge, rate):
        words = [sys.executable, "-u", HERE / "honest.py", *("%s:%d" % a for a in (edge.http, edge.grpc)), str(rate)]
        self.calls = []
        self.child = subprocess.Popen(words, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True)
        threading.Thread(target=self._read, daemon=True).start()
        end = time.monotonic() + READY_MAX_S
        # The first calls connect the nodes; what is measured begins after them.
        while len(self.calls) < 8:
            if time.monotonic() > end or self.child.poll() is not None:
                raise Failure(f"the honest client came to nothing before the attack: {self.calls}")
            time.sleep(0.02)

    def _read(self):
        for line in self.child.stdout:
            began, kind, took, wrong = line.rstrip("\n").split(" ", 3)
            self.calls.append((float(began), kind, float(took), wrong))

    def since(self, began):
        return [call for call in list(self.calls) if call[0] + call[2] >= began]

    def stop(self):
        self.child.kill()
        self.child.wait()


class Stage:
    def __init__(self, case, binary, folder):
        self.case, self.binary, self.wrong, self.socks = case, binary, [], []
        self.honest, self.edge, self.callee, self.peak_mib = None, None, None, 0.0
        flags = case.flags(binary) if callable(case.flags) else case.flags
        name = "".join(letter if letter.isalnum() else "-" for letter in case.name)
        callee = ("--services", "service1", "--http", "none", "--grpc", "127.0.0.1:0")
        self.callee = Node(binary, folder / f"{name}-callee.log", *callee, *flags, unread=case.unread_log)
        peer = "service1=http://%s:%d" % self.callee.grpc
        edge = ("--services", "service2", "--http", "127.0.0.1:0", "--grpc", "127.0.0.1:0", "--peer", peer)
        self.edge = Node(binary, folder / f"{name}-edge.log", *edge, *flags, unread=case.unread_log)

    @property
    def nodes(self):
        return [node for node in (self.edge, self.callee) if node]

    def lines_of(self, identity):
        """The lines of the edge's log with this request id; they come a moment after the answer."""
        found = lambda: [line for line in self.edge.lines() if line.get("request_id") == identity]
        within(2.0, found)
        return found()

    def expect(self, is_true, otherwise):
        """Notes what is wrong and goes on, so that one run tells all."""
        if not is_true:
            self.wrong.append(otherwise)

    def rest(self, **how):
        """A connection to the REST edge, which the attacker holds until the case is over."""
        return self._held(wire.connect(self.edge.http, **how), self.edge.http)

    def grpc(self, **how):
        return self._held(wire.Http2(self.edge.grpc, **how), self.edge.grpc)

    def grpc_sock(self, **how):
        """A connection to the gRPC edge on which nothing was said."""
        return self._held(wire.connect(self.edge.grpc, **how), self.edge.grpc)

    def _held(self, thing, address):
        self.socks.append(Held(thing, address))
        return thing

    def let_go(self):
        for thing in self.socks:
            thing.close()
        self.socks.clear()

    def end(self):
        if self.honest:
            self.honest.stop()
        self.let_go()
        for node in self.nodes:
            node.kill()


class Held:
    """A connection of the attacker's, known by its two ports: others may have either of them."""

    def __init__(self, thing, address):
        self.close = thing.close
        self.ports = (getattr(thing, "sock", thing).getsockname()[1], address[1])


@dataclass
class Result:
    case: Case
    wrong: list
    peak_mib: float = 0.0
    latency_s: float | None = None
    release_s: float | None = None
    descriptors: tuple = (0, 0)
    took_s: float = 0.0


def play(case, binary, folder):
    """One case, from fresh nodes to their end."""
    started, stage = time.monotonic(), None
    try:
        stage = Stage(case, binary, folder)
        result = attack(stage)
    except (Failure, OSError, subprocess.SubprocessError) as error:
        result = Result(case, [*(stage.wrong if stage else []), f"{type(error).__name__}: {error}"])
    finally:
        if stage:
            stage.end()
    result.took_s = time.monotonic() - started
    return result


def attack(stage):
    case = stage.case
    if case.honest:
        stage.honest = Honest(stage.edge, rate=5 if case.quiet else 10)
    before, began = stage.edge.descriptors(), time.monotonic()
    case.attack(stage)
    result = Result(case, stage.wrong)
    is_alive = all(node.is_alive for node in stage.nodes)
    stage.expect(is_alive or case.ends_nodes, "a node ended")
    if is_alive:
        released(stage, before, result)
        if stage.honest:
            served_again(stage)
        result.peak_mib = max(node.peak_mib() for node in stage.nodes)
        stage.expect(result.peak_mib <= case.peak_mib, f"memory {result.peak_mib:.0f} of {case.peak_mib:.0f} MiB")
    result.peak_mib = max(stage.peak_mib, result.peak_mib)
    if not case.unread_log:
        errors = [line for node in stage.nodes for line in node.errors()]
        stage.expect(not errors, f"{len(errors)} errors in the log, as {str(errors[:1])[:200]}")
    if stage.honest:
        judge_honest(stage, stage.honest.since(began), result)
    return result


def released(stage, before, result):
    """Waits until the node has let go of the attacker's connections, and then until it has as few descriptors as
    before."""
    began, ports = time.monotonic(), [thing.ports for thing in stage.socks]
    if stage.case.given_up_s is None:
        stage.let_go()
    limit = stage.case.given_up_s or RELEASE_MAX_S
    if within(limit, lambda: not held_by_a_process(ports)):
        result.release_s = time.monotonic() - began
    else:
        stage.expect(
            False, f"{len(held_by_a_process(ports))} of {len(ports)} connections are held after {limit:.0f} s"
        )
    stage.let_go()
    within(RELEASE_MAX_S, lambda: stage.edge.descriptors() <= before + SPARE_DESCRIPTORS)
    result.descriptors = (before, stage.edge.descriptors())
    stage.expect(
        result.descriptors[1] <= before + SPARE_DESCRIPTORS,
        f"{result.descriptors[1]} descriptors after, {before} before",
    )


def within(seconds, is_true):
    end = time.monotonic() + seconds
    while not is_true():
        if time.monotonic() > end:
            return False
        time.sleep(0.05)
    return True


def held_by_a_process(ports):
    """Those connections, by their clients' ports and their servers', of which a process still holds the server's end
    (proc(5): what no process holds has no inode)."""
    wanted, held = set(ports), []
    with open("/proc/net/tcp") as table:
        for line in list(table)[1:]:
            fields = line.split()
            near, far = (int(field.rpartition(":")[2], 16) for field in fields[1:3])
            if (far, near) in wanted and fields[9] != "0":
                held.append((far, near))
    return held


def served_again(stage):
    """When the attacker is gone, honest clients of both sorts are answered as before."""
    over = time.monotonic()
    answered = lambda: {kind for began, kind, _, wrong in list(stage.honest.calls) if began >= over and wrong == "-"}
    stage.expect(within(6.0, lambda: len(answered()) == 2), f"after the attack only {answered()} are answered")


def judge_honest(stage, calls, result):
    refused = ("429 ", "grpc-status b'8'")
    failed = [
        f"{kind}: {wrong}"
        for _, kind, _, wrong in calls
        if wrong != "-" and not (stage.case.may_refuse and wrong.startswith(refused))
    ]
    result.latency_s = max((took for _, _, took, _ in calls), default=None)
    stage.expect(calls, "no honest call was answered")
    stage.expect(not failed, f"{len(failed)} of {len(calls)} honest calls failed, as {str(failed[:1])[:200]}")
    latency = result.latency_s or 0.0
    stage.expect(
        latency <= stage.case.latency_s, f"an honest call took {latency:.2f} s of {stage.case.latency_s:.2f} s"
    )
