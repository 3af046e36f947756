"""A gRPC server of raw bytes: `/test.Echo/…`.

    python3 grpc_server.py PORT

Unary and Both send back what comes. Down sends as many numbers as the request says. Up answers with
the count of messages. Trailers come with every answer (`seen-…`). Fail ends as NOT_FOUND. Sleep takes
ten seconds, and prints what is left of the deadline and how it ended.
"""

import sys
import threading
from concurrent import futures

import grpc


def told(context):
    fields = {name: value for name, value in context.invocation_metadata()}
    context.set_trailing_metadata((("seen-user", fields.get("x-user", "")), ("seen-token", fields.get("token", "")),
                                   ("seen-authorization", fields.get("authorization", ""))))


def unary(request, context):
    told(context)
    return request


def down(request, context):
    told(context)
    for number in range(int(request)):
        yield b"%d" % number


def up(requests, context):
    told(context)
    return b"%d" % sum(1 for _ in requests)


def both(requests, context):
    told(context)
    yield from requests


def fail(_request, context):
    told(context)
    context.abort(grpc.StatusCode.NOT_FOUND, "there is none: ü")


def sleep(_request, context):
    ended = threading.Event()
    context.add_callback(ended.set)
    print(f"left {context.time_remaining()}", flush=True)
    print(f"ended early {ended.wait(10)}", flush=True)
    return b""


METHODS = {
    "Unary": grpc.unary_unary_rpc_method_handler(unary),
    "Down": grpc.unary_stream_rpc_method_handler(down),
    "Up": grpc.stream_unary_rpc_method_handler(up),
    "Both": grpc.stream_stream_rpc_method_handler(both),
    "Fail": grpc.unary_unary_rpc_method_handler(fail),
    "Sleep": grpc.unary_unary_rpc_method_handler(sleep),
}
server = grpc.server(futures.ThreadPoolExecutor(16), options=[("grpc.max_receive_message_length", -1)])
server.add_generic_rpc_handlers([grpc.method_handlers_generic_handler("test.Echo", METHODS)])
server.add_insecure_port(f"127.0.0.1:{sys.argv[1]}")
server.start()
server.wait_for_termination()
