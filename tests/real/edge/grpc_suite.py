"""gRPC through the gateway, with client and server of grpcio.

    PYTHONPATH=tests/real/suite python3 tests/real/edge/grpc_suite.py BINARY FOLDER

Started by ../grpc.sh; the interpreter has the packages of requirements.txt.
"""

import threading
import time

import grpc
from keys import Keys
from report import expect, expect_in
from stage import perform
from wire import LOOPBACK, wait_until
from world import GOOD, World, listening, python

Code = grpc.StatusCode
MEBIBYTE = 1 << 20
MANY = 2_000
SECONDS = 120


class Rpc(World):
    def __init__(self, stack, binary, folder):
        super().__init__(stack, binary, folder)
        self.keys = Keys(folder)
        self.upstream = python("grpc_server", folder)
        self.nobody = python("grpc_server", folder, name="nobody")
        self.edge = self.gateway(f"""
[upstreams.echo]
protocol = "h2"
servers = ["{self.upstream.url}"]

[upstreams.nobody]
protocol = "h2"
servers = ["{self.nobody.url}"]

[[route]]
path = "/test.Echo/*"
scopes = ["suite"]
upstream = "echo"

[[route]]
path = "/test.Scope/*"
scopes = ["more"]
upstream = "echo"

[[route]]
path = "/test.Nobody/*"
public = true
upstream = "nobody"
""", listening([self.keys.server]))
        self.channels = []

    def start(self):
        self.run_all([self.key_manager, self.upstream, self.edge])
        credentials = grpc.ssl_channel_credentials(self.keys.authority[0].read_bytes())
        options = [("grpc.max_receive_message_length", -1)]
        self.tls = grpc.secure_channel(f"{LOOPBACK}:{self.edge.https_port}", credentials, options)
        self.plain = grpc.insecure_channel(f"{LOOPBACK}:{self.edge.port}", options)
        for channel in (self.tls, self.plain):
            self.stack.callback(channel.close)

    def both(self):
        return (self.tls, self.plain)


def metadata(token=GOOD, **more):
    fields = [(name.replace("_", "-"), value) for name, value in more.items()]
    return fields + ([("authorization", f"Bearer {token}")] if token else [])


def ends(call, code):
    try:
        call()
    except grpc.RpcError as fault:
        expect(fault.code(), code, f"the status ({fault.details()})")
        return fault
    expect("OK", code, "the status")


def unary(world):
    for channel in world.both():
        call = channel.unary_unary("/test.Echo/Unary")
        for message in (b"", b"hello", bytes(5 * MEBIBYTE)):
            expect(call(message, metadata=metadata(), timeout=SECONDS) == message, True, f"whether {len(message)} come back")


def trailers(world):
    for channel in world.both():
        call = channel.unary_unary("/test.Echo/Unary")
        _, ended = call.with_call(b"x", metadata=metadata(x_user="me"), timeout=SECONDS)
        seen = dict(ended.trailing_metadata())
        expect(seen["seen-user"], "me", "metadata that the server saw, in its trailers")
        expect(seen["seen-authorization"], "", "the token, as the server saw it")


def down(world):
    for channel in world.both():
        call = channel.unary_stream("/test.Echo/Down")
        numbers = [int(one) for one in call(b"%d" % MANY, metadata=metadata(), timeout=SECONDS)]
        expect(numbers == list(range(MANY)), True, "whether all came in order")


def up(world):
    for channel in world.both():
        call = channel.stream_unary("/test.Echo/Up")
        answer = call((b"x" * 1000 for _ in range(MANY)), metadata=metadata(), timeout=SECONDS)
        expect(answer, b"%d" % MANY, "messages that were counted")


def both(world):
    """Each message comes back before the next one goes out: nothing waits in a buffer."""
    for channel in world.both():
        turn = threading.Semaphore(1)

        def requests(turn=turn):
            for number in range(100):
                turn.acquire(timeout=SECONDS)
                yield b"%d" % number

        call = channel.stream_stream("/test.Echo/Both")
        count = 0
        for message in call(requests(), metadata=metadata(), timeout=SECONDS):
            expect(message, b"%d" % count, "a message")
            count += 1
            turn.release()
        expect(count, 100, "messages that came back")


def failure(world):
    """The server's own status, with its text and trailers."""
    for channel in world.both():
        call = channel.unary_unary("/test.Echo/Fail")
        fault = ends(lambda call=call: call(b"x", metadata=metadata(), timeout=SECONDS), Code.NOT_FOUND)
        expect(fault.details(), "there is none: ü", "the text")


def unknown_method(world):
    call = world.tls.unary_unary("/test.Echo/Nothing")
    ends(lambda: call(b"x", metadata=metadata(), timeout=SECONDS), Code.UNIMPLEMENTED)


def refused(path, token, code, reason):
    def case(world):
        for channel in world.both():
            call = channel.unary_unary(path)
            fault = ends(lambda call=call: call(b"x", metadata=metadata(token), timeout=SECONDS), code)
            if reason:
                expect_in(reason, f"{fault.details()} {fault.trailing_metadata()}", "what it says")

    return case


def deadline(world):
    call = world.tls.unary_unary("/test.Echo/Sleep")
    started = time.monotonic()
    ends(lambda: call(b"x", metadata=metadata(), timeout=5), Code.DEADLINE_EXCEEDED)
    expect(time.monotonic() - started < 9, True, "whether it ended in time")
    lines = wait_until(lambda: "ended early True" in world.upstream.child.output() and world.upstream.child.output(),
                       "the server sees the end", 8)
    left = float(lines.split("left ")[1].splitlines()[0])
    # gRPC rounds a deadline up on its way.
    expect(0 < left <= 5.1, True, f"whether the server knew of the deadline: {left}")


def cancelled(world):
    before = world.upstream.child.output().count("ended early True")
    call = world.tls.unary_unary("/test.Echo/Sleep").future(b"x", metadata=metadata(), timeout=SECONDS)
    wait_until(lambda: world.upstream.child.output().count("left") > before, "the server has it")
    call.cancel()
    wait_until(lambda: world.upstream.child.output().count("ended early True") > before, "the server sees the end", 8)


def without_a_server(world):
    call = world.tls.unary_unary("/test.Nobody/X")
    ends(lambda: call(b"x", timeout=SECONDS), Code.UNAVAILABLE)


def many_at_once(world):
    call = world.tls.unary_unary("/test.Echo/Unary")
    calls = [call.future(b"%d" % number, metadata=metadata(), timeout=SECONDS) for number in range(MANY)]
    expect([int(one.result()) for one in calls] == list(range(MANY)), True, "whether each has its own answer")


CASES = [
    ("unary, up to 5 MiB", unary),
    ("metadata and trailers; the token stays behind", trailers),
    (f"a stream of {MANY} messages down", down),
    (f"a stream of {MANY} messages up", up),
    ("both ways, one message after the other", both),
    ("a status of the server with its text", failure),
    ("a method that is not there: UNIMPLEMENTED", unknown_method),
    ("no token: UNAUTHENTICATED", refused("/test.Echo/Unary", None, Code.UNAUTHENTICATED, "no_token")),
    ("a bad token: UNAUTHENTICATED", refused("/test.Echo/Unary", "bad", Code.UNAUTHENTICATED, "inactive")),
    ("a scope too few: PERMISSION_DENIED", refused("/test.Scope/X", GOOD, Code.PERMISSION_DENIED, "insufficient_scope")),
    ("no route: UNIMPLEMENTED", refused("/test.Other/X", GOOD, Code.UNIMPLEMENTED, "")),
    ("no server: UNAVAILABLE", without_a_server),
    ("a deadline reaches the server, and ends the call", deadline),
    ("a call that is given up ends at the server", cancelled),
    (f"{MANY} calls at once", many_at_once),
]

perform(Rpc, CASES)
