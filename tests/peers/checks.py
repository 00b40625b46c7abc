"""The checks of the interoperability run, each a sentence that can be false. Started by `run`."""

import asyncio
import contextlib
import functools
import json
import signal
import subprocess
import sys
import tempfile
import uuid
from pathlib import Path

import client
from processes import HERE, WAIT_MAX_S, Failure, Process

LOOPBACK = "127.0.0.1:0"
# What the silent service1 is given: the node's own deadline, and that of a caller in more of a hurry.
NODE_DEADLINE_S = 1.0
CALLER_DEADLINE_S = 0.5
# grpcio rounds a timeout up to its unit: 1 s goes out as 1010 ms at most.
ROUNDING_MAX_S = 0.02
# A busy machine may be late, but not by so much.
LATE_MAX_S = 3.0

UNDECODABLE = {
    "cut short": "0a05616263",  # field 1 announces five bytes, three follow
    "not UTF-8": "0a02fffe",
    "of another wire type": "0801",
}


class Checks:
    """Counts what holds and what does not; one line of output for each."""

    def __init__(self):
        self.held = 0
        self.failed = 0

    @contextlib.contextmanager
    def check(self, sentence):
        try:
            yield
        except Exception as error:  # whatever a peer can do to a client is a check that does not hold
            self.failed += 1
            kind = "" if isinstance(error, Failure) else f"{type(error).__name__} "
            print(f"FAIL  {sentence}: {kind}{error}")
        else:
            self.held += 1
            print(f"ok    {sentence}")


def main():
    for number in (signal.SIGTERM, signal.SIGHUP):
        signal.signal(number, lambda number, _: sys.exit(128 + number))  # so that the children end, too
    checks = Checks()
    groups = [python_alone]
    for node in sys.argv[1:2]:
        foreign = (foreign_client, foreign_client_over_unix, foreign_service1, foreign_service2, silent_service1)
        groups += [functools.partial(group, node=node) for group in foreign]
    for group in groups:
        try:
            group(checks)
        except Failure as error:  # outside of a check: a process that did not start
            checks.failed += 1
            print(f"FAIL  {error}")
    print(f"{checks.held} checks hold, {checks.failed} do not")
    sys.exit(1 if checks.failed else 0)


def python_alone(checks):
    with python_service1() as service1, python_service2(service1) as service2:
        with checks.check("Python client -> Python service2 -> Python service1 answers"):
            answer = greet(service2.address("grpc"), request_id="py-1")
            expect_answer(answer, "Hello, TEST!", "py-1")
            logged(service1, "py-1")
            logged(service2, "py-1")

        with checks.check("Python client.py prints one JSON object on one line"):
            words = [sys.executable, HERE / "client.py", "grpc", service1.address("grpc"), "service1", "--name", "cli"]
            said = subprocess.run(words, check=True, capture_output=True, text=True, timeout=WAIT_MAX_S).stdout
            expect("lines", len(said.splitlines()), 1)
            expect("reply", json.loads(said)["reply"], "CLI")

        with checks.check("Python service1 answers an unknown method with UNIMPLEMENTED"):
            expect("code", name_of(service1, path="/app.grpc.Service1/NoSuchMethod")["code"], "UNIMPLEMENTED")

    with python_service1("--silent") as silent, python_service2(silent) as service2:
        with checks.check("Python service1 that is silent costs the caller its deadline"):
            answer = greet(service2.address("grpc"), request_id="py-2", deadline_s=CALLER_DEADLINE_S)
            expect("code", answer["code"], "DEADLINE_EXCEEDED")
            expect("code service2 logs", logged(service2, "py-2")["code"], "CANCELLED")


def foreign_client(checks, node):
    with our_service1(node) as service1:
        with checks.check("Python client -> our service1 answers, and logs the request id"):
            expect_answer(name_of(service1, "test", request_id="ours-1"), "TEST", "ours-1")
            logged(service1, "ours-1")

        with checks.check("Python client -> our service1 agrees with Python on what capitals are"):
            for name in ("", "zoë", "straße", "ὀδυσσεύς", "x" * 100_000):
                expect("reply", name_of(service1, name)["reply"], name.upper())

        with checks.check("Python client -> our service1 without a request id gets a fresh UUID"):
            first, second = (request_id_in(name_of(service1, "test")) for _ in range(2))
            expect_uuid(first)
            expect_uuid(second)
            expect("two ids differ", first != second, True)
            logged(service1, first)

        with checks.check("Python client -> our service1 with a request id of 129 characters gets a fresh UUID"):
            expect_uuid(request_id_in(name_of(service1, "test", request_id="x" * 129)))

        with checks.check("Python client -> our service1 with an unknown method or service gets UNIMPLEMENTED"):
            for path in ("/app.grpc.Service1/NoSuchMethod", "/app.grpc.NoSuchService/ProcessName"):
                answer = name_of(service1, "test", request_id="ours-2", path=path)
                expect(f"code of {path}", answer["code"], "UNIMPLEMENTED")
                expect("request id", request_id_in(answer), "ours-2")

        for what, raw in UNDECODABLE.items():
            with checks.check(f"Python client -> our service1 with a message {what} gets INVALID_ARGUMENT"):
                answer = name_of(service1, request_id="ours-3", raw=bytes.fromhex(raw))
                expect("code", answer["code"], "INVALID_ARGUMENT")
                expect("request id", request_id_in(answer), "ours-3")

        stops(checks, service1)


def foreign_client_over_unix(checks, node):
    with tempfile.TemporaryDirectory(prefix="peers-") as folder:
        address = f"unix:{Path(folder) / 'service1.sock'}"
        with Process("our service1", node, "--services", "service1", "--http", "none", "--grpc", address) as service1:
            with checks.check("Python client -> our service1 over a Unix socket, by the authority localhost, answers"):
                answer = run(client.call_grpc(address, "service1", "test", request_id="unix-1"))
                expect_answer(answer, "TEST", "unix-1")
                logged(service1, "unix-1")


def foreign_service1(checks, node):
    with python_service1() as service1, our_service2(node, service1) as service2:
        with checks.check("REST -> our service2 -> Python service1 answers, with one request id in both logs"):
            answer = greet_over_rest(service2, request_id="rest-1")
            expect("status", answer["status"], 200)
            expect("reply", answer["reply"], "Hello, TEST!")
            expect("X-Request-ID", answer["headers"].get("x-request-id"), ["rest-1"])
            expect("content-type", media_type(answer), "application/json")
            logged(service1, "rest-1")
            logged(service2, "rest-1")

        with checks.check("REST -> our service2 -> Python service1 without a request id: one fresh UUID all the way"):
            (fresh,) = greet_over_rest(service2)["headers"].get("x-request-id", [""])
            expect_uuid(fresh)
            logged(service1, fresh)
            logged(service2, fresh)

        with checks.check("Python client -> our service2 -> Python service1 answers, with one request id in both logs"):
            expect_answer(greet(service2.address("grpc"), request_id="grpc-1"), "Hello, TEST!", "grpc-1")
            logged(service1, "grpc-1")
            logged(service2, "grpc-1")

        stops(checks, service2)


def foreign_service2(checks, node):
    with our_service1(node) as service1, python_service2(service1) as service2:
        with checks.check("Python client -> Python service2 -> our service1 answers, with one request id in both logs"):
            expect_answer(greet(service2.address("grpc"), request_id="back-1"), "Hello, TEST!", "back-1")
            logged(service1, "back-1")
            logged(service2, "back-1")


def silent_service1(checks, node):
    deadline = ("--deadline", f"{NODE_DEADLINE_S:.0f}s")
    with python_service1("--silent") as service1, our_service2(node, service1, *deadline) as service2:
        with checks.check("REST -> our service2 -> a silent Python service1: 504 at the deadline"):
            answer = greet_over_rest(service2, request_id="late-1")
            expect("status", answer["status"], 504)
            expect("content-type", media_type(answer), "application/problem+json")
            expect("names its code", "DEADLINE_EXCEEDED" in json.dumps(answer["reply"]), True)
            expect("X-Request-ID", answer["headers"].get("x-request-id"), ["late-1"])
            expect_late(answer, NODE_DEADLINE_S)
            expect_cut_off(service1, "late-1", NODE_DEADLINE_S)

        with checks.check("Python client -> our service2 -> a silent Python service1: DEADLINE_EXCEEDED from our side"):
            # The client sets no deadline, so that only our service2 can have ended the call.
            answer = greet(service2.address("grpc"), request_id="late-2")
            expect("code", answer["code"], "DEADLINE_EXCEEDED")
            expect("request id", request_id_in(answer), "late-2")
            expect_late(answer, NODE_DEADLINE_S)
            expect_cut_off(service1, "late-2", NODE_DEADLINE_S)

        with checks.check("Python client in a hurry: service1 is told the client's remaining time, not the node's"):
            answer = greet(service2.address("grpc"), request_id="late-3", deadline_s=CALLER_DEADLINE_S)
            expect("code", answer["code"], "DEADLINE_EXCEEDED")
            expect_late(answer, CALLER_DEADLINE_S)
            expect_cut_off(service1, "late-3", CALLER_DEADLINE_S)

        stops(checks, service2)


# The processes of the play.


def python_service1(*options):
    return Process.python("service1", "--grpc", LOOPBACK, *options)


def python_service2(service1):
    return Process.python("service2", "--grpc", LOOPBACK, "--service1", service1.address("grpc"))


def our_service1(node):
    return Process("our service1", node, "--services", "service1", "--http", "none", "--grpc", LOOPBACK)


def our_service2(node, service1, *options):
    peer = f"service1=http://{service1.address('grpc')}"
    words = ("--services", "service2", "--http", LOOPBACK, "--grpc", LOOPBACK, "--peer", peer)
    return Process("our service2", node, *words, *options)


# What is asked of them.


def run(call):
    return asyncio.run(call)


def name_of(service1, name="", **options):
    return run(client.call_grpc(service1.address("grpc"), "service1", name, **options))


def greet(address, **options):
    return run(client.call_grpc(address, "service2", "test", **options))


def greet_over_rest(service2, **options):
    return run(client.call_rest(f"http://{service2.address('http')}/api/v1/say-hello?name=test", **options))


# What is expected of their answers and logs.


def expect(what, actual, wanted):
    if actual != wanted:
        raise Failure(f"{what}: expected {wanted!r:.200}, got {actual!r:.200}")


def expect_answer(answer, reply, request_id):
    if answer["code"] != "OK":
        raise Failure(f"expected OK, got {answer['code']}: {answer['details']}")
    expect("reply", answer["reply"], reply)
    expect("request id", request_id_in(answer), request_id)


def request_id_in(answer):
    """The one request id of an answer, which has to stand under both keys, before or after the message."""
    ids = {key: answer["initial"].get(key, []) + answer["trailing"].get(key, []) for key in client.wire.REQUEST_ID_KEYS}
    if any(not values for values in ids.values()) or len({v for values in ids.values() for v in values}) != 1:
        raise Failure(f"expected one request id under both keys, got {ids} (code {answer['code']})")
    return ids["request_id"][0]


def expect_uuid(text):
    try:
        version = uuid.UUID(text).version
    except ValueError:
        version = None
    expect(f"UUID version of {text!r:.60}", version, 4)


def media_type(answer):
    return answer["headers"].get("content-type", [""])[0].partition(";")[0]


def expect_late(answer, deadline_s):
    """Not before its deadline, and not long after."""
    elapsed_s = answer["elapsed_s"]
    if not deadline_s * 0.9 <= elapsed_s <= deadline_s + LATE_MAX_S:
        raise Failure(f"expected an answer at the deadline of {deadline_s} s, got it after {elapsed_s} s")


def expect_cut_off(service1, request_id, deadline_s):
    """Python's service1 was told no more time than its caller's caller had, and saw its call end."""
    line = logged(service1, request_id)
    remaining_s = line["remaining_s"]
    if remaining_s is None or not deadline_s / 2 < remaining_s < deadline_s + ROUNDING_MAX_S:
        raise Failure(f"expected a grpc-timeout of {deadline_s} s or a little less at service1, got {remaining_s} s")
    expect("code service1 logs", line["code"], "CANCELLED")


def logged(process, request_id):
    """The first log line with this request id at its top level."""
    return process.line(f"has request_id {request_id}", lambda line: line.get("request_id") == request_id)


def stops(checks, node):
    """Ends a node as an operator would, and looks at all it has written."""
    with checks.check(f"{node.title} writes nothing but JSON lines, the first without a request id"):
        expect("request_id of the first line", node.lines[0].get("request_id"), None)
        expect("other output", node.other, [])
    with checks.check(f"{node.title} ends with exit code 0 on SIGTERM"):
        code = node.stop()
        if code != 0:
            raise Failure(f"expected exit code 0, got {code}; last said:\n{node.last_words()}")


if __name__ == "__main__":
    main()
