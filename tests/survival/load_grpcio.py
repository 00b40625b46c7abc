"""Asks `service2` over gRPC by Google's own stack for Python, and prints what was seen as one line of JSON.

    load_grpcio.py PORT SECONDS CALLS

CALLS calls are under way at a time, all on one channel, as an application's are.
"""

import asyncio
import json
import sys
import time

import grpc

METHOD = "/app.grpc.Service2/SayHello"
# The message {name: "test"}: field 1, four bytes.
MESSAGE = b"\x0a\x04test"
DEADLINE_S = 15


class Seen:
    def __init__(self):
        self.took_ms, self.bad, self.words = [], 0, ""


async def ask(method, until, seen):
    while (begun := time.perf_counter()) < until:
        try:
            await method(MESSAGE, timeout=DEADLINE_S)
        except grpc.aio.AioRpcError as error:
            seen.bad += 1
            seen.words = seen.words or f"{error.code().name} {error.details()}"
        seen.took_ms.append((time.perf_counter() - begun) * 1e3)


async def main(port, seconds, calls):
    seen, until = Seen(), time.perf_counter() + float(seconds)
    async with grpc.aio.insecure_channel(f"127.0.0.1:{port}") as channel:
        method = channel.unary_unary(METHOD)
        await asyncio.gather(*(ask(method, until, seen) for _ in range(int(calls))))
    took = sorted(seen.took_ms)
    at = lambda part: round(took[min(int(len(took) * part), len(took) - 1)], 3)  # noqa: E731
    times = {"p50": at(0.5), "p99": at(0.99), "p999": at(0.999), "max": at(1)}
    print("RESULT", json.dumps({"good": len(took) - seen.bad, "bad": seen.bad, "broken": 0, **times, "words": seen.words}))


asyncio.run(main(*sys.argv[1:]))
