"""Violations of gRPC over sound HTTP/2: a name, what is sent on stream 1, and which outcomes are right.

Outcomes are codes, "http STATUS" for what is no gRPC at all, and "reset" for a stream error that is the client's.
The documents are gRPC's PROTOCOL-HTTP2.md, statuscodes.md and compression.md.
"""

import gzip

import wire
from wire import DATA, END_HEADERS, END_STREAM, HEADERS, call_headers, frame, message, name_message

OK, INVALID_ARGUMENT, DEADLINE_EXCEEDED, RESOURCE_EXHAUSTED, UNIMPLEMENTED, INTERNAL = 0, 3, 4, 8, 12, 13
BAD = (INVALID_ARGUMENT,)
NOT_GRPC = ("http 415",)
WRONG_METHOD = ("http 405",)
UNKNOWN = (UNIMPLEMENTED,)
# statuscodes.md: a request that cannot be parsed is INTERNAL; what ends in the middle is so in tonic and in grpc-java.
CUT_OFF = (INTERNAL, INVALID_ARGUMENT, UNIMPLEMENTED, "reset")
MIB = 1 << 20


def call(data=message(name_message("x")), end=END_STREAM, **changed):
    return frame(HEADERS, END_HEADERS, 1, wire.block(call_headers(**changed))) + frame(DATA, end, 1, data)


def with_field(name, *values):
    return call(more=[(name, value) for value in values])


HEADS = [
    ("no content-type", call(content_type=None), NOT_GRPC),
    ("content-type JSON", call(content_type="application/json"), NOT_GRPC),
    ("an empty content-type", call(content_type=""), NOT_GRPC),
    ("gRPC-Web", call(content_type="application/grpc-web"), NOT_GRPC),
    ("content-type with a tail", call(content_type="application/grpcx"), NOT_GRPC),
    ("content-type in capitals", call(content_type="APPLICATION/GRPC"), (OK, *NOT_GRPC)),
    (
        "a format that nobody knows",
        call(content_type="application/grpc+hostile"),
        (OK, INVALID_ARGUMENT, UNIMPLEMENTED, *NOT_GRPC),
    ),
    *(
        (method, call(pseudo_method=method), WRONG_METHOD)
        for method in ("GET", "PUT", "HEAD", "OPTIONS", "DELETE", "BREW")
    ),
    # PROTOCOL-HTTP2.md: te must be there, to find proxies that do not pass it on.
    ("no te", call(te=None), (OK, INVALID_ARGUMENT, "http 400")),
    ("no :authority", call(pseudo_authority=None), (OK, INVALID_ARGUMENT, "reset")),
    ("an :authority of another", call(pseudo_authority="example.com:1"), (OK, INVALID_ARGUMENT)),
    (":scheme ftp", call(pseudo_scheme="ftp"), (OK, INVALID_ARGUMENT, "reset")),
    ("the path /", call(path="/"), UNKNOWN),
    ("the path *", call(path="*"), (*UNKNOWN, INVALID_ARGUMENT, "reset")),
    ("a path without a slash", call(path="app.grpc.Service2/SayHello"), (*UNKNOWN, INVALID_ARGUMENT, "reset")),
    ("a path of three parts", call(path="/app.grpc.Service2/SayHello/x"), UNKNOWN),
    ("a service without a method", call(path="/app.grpc.Service2/"), UNKNOWN),
    ("a method in small letters", call(path="/app.grpc.Service2/sayhello"), UNKNOWN),
    ("a service of another node", call(path="/app.grpc.Service1/ProcessName"), UNKNOWN),
    ("an escaped path", call(path="/app.grpc.Service2/Say%48ello"), UNKNOWN),
    ("a path with a query", call(path=wire.HELLO + "?name=x"), (OK, *UNKNOWN)),
    ("a path with dots", call(path="/../../etc/passwd"), UNKNOWN),
    *(
        (f"grpc-timeout {value!r}", with_field("grpc-timeout", value), BAD)
        for value in (
            "",
            "S",
            "1",
            "123456789S",
            "-1S",
            "+1S",
            "1s",
            "1 S",
            "1.5S",
            "0x1S",
            "1SS",
            "S1",
            "9" * 1000 + "S",
        )
    ),
    ("grpc-timeout 0n", with_field("grpc-timeout", "0n"), (DEADLINE_EXCEEDED,)),
    ("grpc-timeout 1n", with_field("grpc-timeout", "1n"), (DEADLINE_EXCEEDED,)),
    ("grpc-timeout 99999999H", with_field("grpc-timeout", "99999999H"), (OK,)),
    ("two grpc-timeouts", with_field("grpc-timeout", "1S", "hostile"), (OK, INVALID_ARGUMENT)),
    ("binary metadata that is no base64", with_field("x-hostile-bin", "!!!"), (OK, INVALID_ARGUMENT, "reset")),
    ("binary metadata without padding", with_field("x-hostile-bin", "YQ"), (OK,)),
    ("the details of a status in a request", with_field("grpc-status-details-bin", "!!!"), (OK,)),
    ("a status in a request", with_field("grpc-status", "13"), (OK,)),
    ("a message of a status in a request", with_field("grpc-message", "%ff%"), (OK,)),
    ("reserved metadata that nobody knows", with_field("grpc-hostile", "x"), (OK,)),
    ("an id that is none", with_field("x-request-id", "hostile hostile"), (OK,)),
    ("an id that is too long", with_field("x-request-id", "hostile" * 100), (OK,)),
    ("an empty id", with_field("x-request-id", ""), (OK,)),
    ("ids that differ", with_field("x-request-id", "hostile 1", "hostile 2"), (OK,)),
    ("metadata above ASCII", with_field("x-other", "\xff\xfe"), (OK, INVALID_ARGUMENT, "reset")),
    ("encodings that nobody knows, accepted", with_field("grpc-accept-encoding", "hostile,,,"), (OK,)),
]

MESSAGES = [
    # statuscodes.md: a number of messages that the method does not take is UNIMPLEMENTED.
    ("no message", call(b""), UNKNOWN),
    ("no DATA at all", frame(HEADERS, END_HEADERS | END_STREAM, 1, wire.block(call_headers())), UNKNOWN),
    ("two messages", call(message(name_message("x")) * 2), UNKNOWN),
    ("1,000 empty messages", call(message(b"") * 1000), UNKNOWN),
    # compression.md: the flag without an encoding must be INTERNAL.
    ("compressed without an encoding", call(message(name_message("x"), flag=1)), (INTERNAL,)),
    (
        "compressed in identity",
        call(message(name_message("x"), flag=1), more=[("grpc-encoding", "identity")]),
        (INTERNAL,),
    ),
    ("compressed as nobody knows", call(message(b"x", flag=1), more=[("grpc-encoding", "hostile")]), UNKNOWN),
    (
        "compressed as is not taken",
        call(message(gzip.compress(b"x"), flag=1), more=[("grpc-encoding", "gzip")]),
        (OK, UNIMPLEMENTED),
    ),
    ("a flag of 2", call(message(name_message("x"), flag=2)), (INVALID_ARGUMENT, INTERNAL, UNIMPLEMENTED)),
    ("a flag of 255", call(message(name_message("x"), flag=255)), (INVALID_ARGUMENT, INTERNAL, UNIMPLEMENTED)),
    ("a length above the limit", call(message(b"x", length=4 * MIB + 1), end=0), (RESOURCE_EXHAUSTED,)),
    ("the largest length", call(message(b"x", length=(1 << 32) - 1), end=0), (RESOURCE_EXHAUSTED,)),
    ("a length beyond the data", call(message(b"x", length=100)), CUT_OFF),
    ("a length beyond the data, later", call(message(name_message("x")) + message(b"x", length=100)), CUT_OFF),
    ("half a header", call(b"\0\0\0"), CUT_OFF),
    ("a header and nothing", call(message(b"", length=100)), CUT_OFF),
    (
        "a message that never comes",
        call(message(b"x", length=100), end=0, more=[("grpc-timeout", "1S")]),
        (DEADLINE_EXCEEDED,),
    ),
    ("no protobuf", call(message(b"\xff" * 20)), BAD),
    ("a field that is cut off", call(message(b"\x0a\x7fx")), BAD),
    ("a number that is cut off", call(message(b"\x10\xff")), BAD),
    ("a number of 11 bytes", call(message(b"\x10" + b"\xff" * 10 + b"\x01")), BAD),
    ("field 0", call(message(b"\x02\x01x")), BAD),
    ("a type that is none", call(message(b"\x0f")), BAD),
    ("a field of another type", call(message(b"\x08\x01")), BAD),
    ("no UTF-8", call(message(name_message(b"\xff\xfe"))), BAD),
    ("a group without end", call(message(b"\x13")), BAD),
    ("an end without a group", call(message(b"\x14")), BAD),
    ("groups in groups, 1,000 deep", call(message(b"\x13" * 1000 + b"\x14" * 1000)), BAD),
    ("fields that nobody knows", call(message(name_message("x") + b"\x9a\x06\x01x")), (OK,)),
    (
        "trailers of a client",
        call(end=0) + frame(HEADERS, END_HEADERS | END_STREAM, 1, wire.block([("x", "y")])),
        (OK, INVALID_ARGUMENT),
    ),
]

SHOTS = HEADS + MESSAGES
