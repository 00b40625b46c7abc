"""A client that does nothing wrong, in a process of its own, so that attackers do not slow it down.

    honest.py HTTP GRPC RATE

Asks over REST and over gRPC, RATE times a second each, over two connections that it keeps and now and then over a
new one. A line for each call: when it began (the machine's monotonic clock), which sort, how long it took in seconds,
and what was wrong with it. "-" where nothing was.
"""

import os
import sys
import threading
import time

import h2.connection
import h2.events
import h2.settings

import wire

CALL_MAX_S = 5.0
NEW_EACH = 7


class Rest:
    def __init__(self, address):
        self.sock = wire.connect(address, timeout=CALL_MAX_S)

    def call(self):
        self.sock.sendall(b"GET /api/v1/say-hello?name=honest HTTP/1.1\r\nhost: honest\r\nx-request-id: honest\r\n\r\n")
        found, _, _ = wire.answers(self.sock, 1, CALL_MAX_S)
        if not found:
            return "no answer"
        right = found[0].status == 200 and found[0].body == b'"Hello, HONEST!"'
        return "-" if right else f"{found[0].status} {found[0].body!r}"

    def close(self):
        self.sock.close()


class Grpc:
    def __init__(self, address):
        self.sock = wire.connect(address, timeout=CALL_MAX_S)
        self.http2 = h2.connection.H2Connection()
        self.http2.initiate_connection()

    def call(self):
        number = self.http2.get_next_available_stream_id()
        self.http2.send_headers(number, wire.call_headers(more=[("x-request-id", "honest")]))
        self.http2.send_data(number, wire.message(wire.name_message("honest")), end_stream=True)
        self.sock.sendall(self.http2.data_to_send())
        end, data, status = time.monotonic() + CALL_MAX_S, b"", None
        while (came := wire.receive(self.sock, end)) is not None:
            if not came:
                return "connection lost"
            for event in self.http2.receive_data(came):
                if isinstance(event, h2.events.DataReceived):
                    data += event.data
                    self.http2.acknowledge_received_data(event.flow_controlled_length, event.stream_id)
                elif isinstance(event, (h2.events.ResponseReceived, h2.events.TrailersReceived)):
                    status = dict(event.headers).get(b"grpc-status", status)
                elif isinstance(event, h2.events.StreamEnded):
                    right = status == b"0" and data.endswith(b"Hello, HONEST!")
                    return "-" if right else f"grpc-status {status} {data!r}"
                elif isinstance(event, (h2.events.StreamReset, h2.events.ConnectionTerminated)):
                    return type(event).__name__
            self.sock.sendall(self.http2.data_to_send())
        return "no answer"

    def close(self):
        self.sock.close()


def ask(kind, address, rate):
    kept = [None, None]
    for number in range(1 << 60):
        began = time.monotonic()
        is_new = number % NEW_EACH == NEW_EACH - 1
        place = number % 2
        try:
            client = None if is_new else kept[place]
            client = client or kind(address)
            wrong = client.call()
        except OSError as error:
            client, wrong = None, f"{error}"
        took = time.monotonic() - began
        if not is_new:
            kept[place] = client if wrong == "-" else None
        elif client:
            client.close()
        os.write(1, f"{began} {kind.__name__} {took} {wrong}\n".encode())  # whole lines, though two threads write
        time.sleep(max(0.0, began + 1 / rate - time.monotonic()))


def main():
    (http, grpc), rate = ((host, int(port)) for host, port in (a.split(":") for a in sys.argv[1:3])), float(sys.argv[3])
    threading.Thread(target=ask, args=(Rest, http, rate), daemon=True).start()
    ask(Grpc, grpc, rate)


if __name__ == "__main__":
    main()
