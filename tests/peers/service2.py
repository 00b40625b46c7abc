"""service2 on a foreign stack: gRPC /app.grpc.Service2/SayHello, which asks service1 for the name."""

import argparse
import asyncio

import grpc

import wire
from app.grpc import service1_pb2, service1_pb2_grpc, service2_pb2, service2_pb2_grpc

METHOD = "/app.grpc.Service2/SayHello"
SERVICE1_TIMEOUT_S = 10


class Service2(service2_pb2_grpc.Service2Servicer):
    def __init__(self, service1):
        self.service1 = service1

    async def SayHello(self, request, context):
        async with wire.logged_call("service2", METHOD, context) as request_id:
            context.set_trailing_metadata(wire.request_id_metadata(request_id))
            try:
                answer = await self.service1.ProcessName(
                    service1_pb2.ProcessNameRequest(name=request.name),
                    timeout=SERVICE1_TIMEOUT_S,
                    # The one key the Python system sends: a callee has to understand it alone.
                    metadata=(("request_id", request_id),),
                )
            except grpc.aio.AioRpcError as error:
                await context.abort(error.code(), error.details())
            return service2_pb2.SayHelloResponse(hello=f"Hello, {answer.name}!")


async def serve(address, service1_address):
    async with grpc.aio.insecure_channel(service1_address) as channel:
        service = Service2(service1_pb2_grpc.Service1Stub(channel))

        def register(server):
            service2_pb2_grpc.add_Service2Servicer_to_server(service, server)

        await wire.serve("service2", address, register)


def main():
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--grpc", default="127.0.0.1:50052", metavar="ADDR", help="port 0: any free port")
    parser.add_argument("--service1", default="127.0.0.1:50051", metavar="ADDR")
    options = parser.parse_args()
    asyncio.run(serve(options.grpc, options.service1))


if __name__ == "__main__":
    main()
