"""service1 on a foreign stack: gRPC /app.grpc.Service1/ProcessName, the name in capitals."""

import argparse
import asyncio

import wire
from app.grpc import service1_pb2, service1_pb2_grpc

METHOD = "/app.grpc.Service1/ProcessName"


class Service1(service1_pb2_grpc.Service1Servicer):
    def __init__(self, silent):
        self.silent = silent

    async def ProcessName(self, request, context):
        async with wire.logged_call("service1", METHOD, context) as request_id:
            if self.silent:
                await asyncio.Event().wait()  # ends when the call is cancelled, and only then
            # Here the id goes back before the message; service2 sends it after. Both are allowed.
            await context.send_initial_metadata(wire.request_id_metadata(request_id))
            return service1_pb2.ProcessNameResponse(name=request.name.upper())


def main():
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--grpc", default="127.0.0.1:50051", metavar="ADDR", help="port 0: any free port")
    parser.add_argument("--silent", action="store_true", help="accept calls and never answer them")
    options = parser.parse_args()

    def register(server):
        service1_pb2_grpc.add_Service1Servicer_to_server(Service1(options.silent), server)

    asyncio.run(wire.serve("service1", options.grpc, register))


if __name__ == "__main__":
    main()
