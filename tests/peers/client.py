"""A foreign client: one call over gRPC or REST, told as one JSON object.

    client.py grpc 127.0.0.1:50051 service1 --name test --request-id my-id --deadline 2
    client.py rest 'http://127.0.0.1:8081/api/v1/say-hello?name=test' --request-id my-id
"""

import argparse
import asyncio
import json
import time

import aiohttp
import grpc

import wire
from app.grpc import service1_pb2, service2_pb2

# No call of this client waits longer, whatever it was told, so that a check cannot hang.
PATIENCE_S = 15.0

SERVICES = {
    "service1": (
        "/app.grpc.Service1/ProcessName",
        service1_pb2.ProcessNameRequest,
        lambda wire_bytes: service1_pb2.ProcessNameResponse.FromString(wire_bytes).name,
    ),
    "service2": (
        "/app.grpc.Service2/SayHello",
        service2_pb2.SayHelloRequest,
        lambda wire_bytes: service2_pb2.SayHelloResponse.FromString(wire_bytes).hello,
    ),
}


async def call_grpc(address, service, name="", *, request_id=None, deadline_s=None, path=None, raw=None):
    """One unary call. `path` takes the place of the method's, `raw` that of the encoded request."""
    method, request_type, read_reply = SERVICES[service]
    metadata = wire.request_id_metadata(request_id) if request_id is not None else ()
    # Over a Unix socket grpcio would send the socket's path as :authority, which the h2 crate refuses as
    # malformed (hyperium/h2 pull request 487): PROTOCOL_ERROR before any service is reached.
    channel_options = [("grpc.default_authority", "localhost")] if address.startswith("unix:") else []
    async with grpc.aio.insecure_channel(address, options=channel_options) as channel:
        call = channel.unary_unary(path or method)(
            request_type(name=name).SerializeToString() if raw is None else raw,
            timeout=deadline_s,
            metadata=metadata,
        )
        return await asyncio.wait_for(told(call, read_reply), PATIENCE_S)


async def told(call, read_reply):
    start_s = time.monotonic()
    reply = None
    try:
        reply = read_reply(await call)
    except grpc.aio.AioRpcError:
        pass  # the status is in the call, and told below
    return {
        "reply": reply,
        "code": (await call.code()).name,
        "details": await call.details(),
        "initial": listed(await call.initial_metadata()),
        "trailing": listed(await call.trailing_metadata()),
        "elapsed_s": round(time.monotonic() - start_s, 4),
    }


async def call_rest(url, *, request_id=None):
    """One GET; the reply is the body as parsed JSON, or as text where it is none."""
    headers = {"X-Request-ID": request_id} if request_id is not None else {}
    start_s = time.monotonic()
    async with aiohttp.ClientSession(timeout=aiohttp.ClientTimeout(total=PATIENCE_S)) as session:
        async with session.get(url, headers=headers) as response:
            text = await response.text()
            return {
                "reply": parsed(text),
                "status": response.status,
                "headers": listed((key.lower(), value) for key, value in response.headers.items()),
                "elapsed_s": round(time.monotonic() - start_s, 4),
            }


def listed(pairs):
    """Metadata as JSON: every key with the list of its values, bytes as hexadecimal."""
    result = {}
    for key, value in pairs or ():
        result.setdefault(key, []).append(value.hex() if isinstance(value, bytes) else value)
    return result


def parsed(text):
    try:
        return json.loads(text)
    except ValueError:
        return text


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    protocols = parser.add_subparsers(dest="protocol", required=True)

    over_grpc = protocols.add_parser("grpc", help="one unary call")
    over_grpc.add_argument("address", help="HOST:PORT or unix:PATH")
    over_grpc.add_argument("service", choices=SERVICES)
    over_grpc.add_argument("--name", default="")
    over_grpc.add_argument("--request-id")
    over_grpc.add_argument("--deadline", type=float, metavar="SECONDS", help="none unless given")
    over_grpc.add_argument("--path", help="call this path, for instance one that does not exist")
    over_grpc.add_argument("--raw", type=bytes.fromhex, metavar="HEX", help="send these bytes as the message")

    over_rest = protocols.add_parser("rest", help="one GET")
    over_rest.add_argument("url")
    over_rest.add_argument("--request-id")

    options = parser.parse_args()
    if options.protocol == "rest":
        answer = call_rest(options.url, request_id=options.request_id)
    else:
        answer = call_grpc(
            options.address,
            options.service,
            options.name,
            request_id=options.request_id,
            deadline_s=options.deadline,
            path=options.path,
            raw=options.raw,
        )
    print(json.dumps(asyncio.run(answer)))


if __name__ == "__main__":
    main()
