"""What a caller meets that is no sound replica: a slow way to one, a callee that refuses, one that never answers."""

import asyncio
import threading

import h2.config
import h2.connection
import h2.events

UNAVAILABLE = "14"


class Server:
    """Serves on a free port of 127.0.0.1, on a thread of its own, until the program ends."""

    def __init__(self):
        self.loop = asyncio.new_event_loop()
        started = threading.Event()
        threading.Thread(target=self._run, args=(started,), daemon=True).start()
        started.wait()

    def _run(self, started):
        asyncio.set_event_loop(self.loop)
        server = self.loop.run_until_complete(asyncio.start_server(self.serve, "127.0.0.1", 0))
        self.port = server.sockets[0].getsockname()[1]
        started.set()
        self.loop.run_forever()


class Silent(Server):
    """Accepts connections, and says nothing."""

    async def serve(self, reader, _):
        while await reader.read(65536):
            pass


class Slow(Server):
    """Leads to a replica, and lets every byte wait on its way there."""

    def __init__(self, port, delay_s):
        self.to, self.delay_s = port, delay_s
        super().__init__()

    async def serve(self, reader, writer):
        there, back = await asyncio.open_connection("127.0.0.1", self.to)
        await asyncio.gather(self.pump(reader, back, self.delay_s), self.pump(there, writer, 0))

    async def pump(self, reader, writer, delay_s):
        try:
            while data := await reader.read(65536):
                self.loop.call_later(delay_s, writer.write, data)
        except ConnectionError:
            pass  # one side was killed, which the other learns by the end of its connection
        self.loop.call_later(delay_s, writer.close)


class Refusing(Server):
    """Answers every call at once with UNAVAILABLE."""

    async def serve(self, reader, writer):
        connection = h2.connection.H2Connection(h2.config.H2Configuration(client_side=False))
        connection.initiate_connection()
        writer.write(connection.data_to_send())
        while data := await reader.read(65536):
            for event in connection.receive_data(data):
                if isinstance(event, h2.events.RequestReceived):
                    head = [(":status", "200"), ("content-type", "application/grpc")]
                    words = [("grpc-status", UNAVAILABLE), ("grpc-message", "out of order")]
                    connection.send_headers(event.stream_id, head + words, end_stream=True)
                elif isinstance(event, h2.events.DataReceived):
                    connection.acknowledge_received_data(event.flow_controlled_length, event.stream_id)
            writer.write(connection.data_to_send())
            await writer.drain()
