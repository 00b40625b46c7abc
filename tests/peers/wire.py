"""What the Python services share: the stubs, the request id, the log, and the life of a server.

The stubs are generated at run time; the environment variable PEERS_STUBS names their folder.
"""

import asyncio
import contextlib
import json
import os
import signal
import sys
import uuid
from datetime import datetime, timezone

import grpc

sys.path.insert(0, os.environ["PEERS_STUBS"])

REQUEST_ID_KEYS = ("request_id", "x-request-id")


def request_id_of(metadata):
    """The caller's request id, or a fresh one where the caller sent none."""
    values = {key: value for key, value in metadata or ()}
    return next((values[key] for key in REQUEST_ID_KEYS if values.get(key)), str(uuid.uuid4()))


def request_id_metadata(request_id):
    """The request id under both names by which it is known."""
    return tuple((key, request_id) for key in REQUEST_ID_KEYS)


def log(message, **fields):
    """One JSON object on one line of stdout."""
    timestamp = datetime.now(timezone.utc).isoformat()
    print(json.dumps({"timestamp": timestamp, "message": message, **fields}), flush=True)


@contextlib.asynccontextmanager
async def logged_call(service, method, context):
    """Gives the call's request id, and logs one line when the call ends, however it ends.

    `remaining_s` is the time the caller's grpc-timeout left when the call arrived, null without one.
    """
    request_id = request_id_of(context.invocation_metadata())
    remaining_s = context.time_remaining()
    code = "UNKNOWN"
    try:
        yield request_id
        code = "OK"
    except asyncio.CancelledError:
        code = "CANCELLED"
        raise
    except grpc.aio.AbortError:
        code = context.code().name
        raise
    finally:
        log("call", service=service, method=method, code=code, request_id=request_id, remaining_s=remaining_s)


async def serve(service, address, register):
    """Serves until SIGTERM or SIGINT; the first line of stdout names the bound address."""
    server = grpc.aio.server()
    register(server)
    host = address.rpartition(":")[0]
    port = server.add_insecure_port(address)
    await server.start()

    stopped = asyncio.Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        asyncio.get_running_loop().add_signal_handler(number, stopped.set)
    log("listening", service=service, grpc=f"{host}:{port}")

    await stopped.wait()
    await server.stop(grace=None)
