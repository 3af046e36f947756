"""WebSockets through the gateway, with the client and the server of Python's websockets.

    PYTHONPATH=tests/real/suite python3 tests/real/edge/websocket.py BINARY FOLDER

Started by ../websocket.sh; the interpreter has the packages of requirements.txt.
"""

import ssl
import time

from keys import Keys
from report import expect, expect_in
from stage import perform
from websockets.exceptions import ConnectionClosed, InvalidStatus
from websockets.sync.client import connect
from wire import LOOPBACK
from world import GOOD, World, listening, python

MANY = 1000
MEBIBYTE = 1 << 20
LIFE_SECONDS = 6


class Sockets(World):
    def __init__(self, stack, binary, folder):
        super().__init__(stack, binary, folder)
        self.keys = Keys(folder)
        self.upstream = python("websocket_echo", folder)
        self.edge = self.gateway(f"""
[[route]]
path = "/guarded/*"
scopes = ["suite"]
upstream = "{self.upstream.url}"

[[route]]
path = "/ending/*"
scopes = ["suite"]
upstream = "{self.upstream.url}"
end_with_token = true

[[route]]
path = "/open/*"
public = true
upstream = "{self.upstream.url}"

[token]
clock_skew = "0s"
""", listening([self.keys.server]))

    def start(self):
        self.run_all([self.key_manager, self.upstream, self.edge])

    def connect(self, path, token=None, tls=False, **more):
        headers = {"Authorization": f"Bearer {token}"} if token else {}
        scheme, port = ("wss", self.edge.https_port) if tls else ("ws", self.edge.port)
        if tls:
            more["ssl"] = ssl.create_default_context(cafile=self.keys.authority[0])
        return connect(f"{scheme}://{LOOPBACK}:{port}{path}", additional_headers=headers, max_size=None, **more)


def echoes(path, token=None, tls=False):
    def case(world):
        with world.connect(path, token, tls) as socket:
            for message in ("hello", "", "ü" * 70_000, bytes(MEBIBYTE)):
                socket.send(message)
                expect(socket.recv(timeout=10) == message, True, f"whether {len(message)} come back")
            for number in range(MANY):
                socket.send(str(number))
            for number in range(MANY):
                expect(socket.recv(timeout=10), str(number), "a message")
            # What is waiting in the library's own answer to a ping comes back too.
            expect(socket.ping().wait(10), True, "whether a pong came")

    return case


def refused(token, status, reason):
    def case(world):
        try:
            world.connect("/guarded/1", token).close()
        except InvalidStatus as refusal:
            expect(refusal.response.status_code, status, "the status")
            expect_in(reason, refusal.response.body.decode(), "the refusal")
        else:
            expect(True, False, "whether the handshake is refused")

    return case


def says_goodbye(world):
    """Codes and reasons of the end pass through."""
    with world.connect("/open/1") as socket:
        socket.send("close 4001 enough")
        try:
            socket.recv(timeout=10)
        except ConnectionClosed as end:
            expect((end.rcvd.code, end.rcvd.reason), (4001, "enough"), "how it ended")


def subprotocol(world):
    with world.connect("/open/1", subprotocols=["echo.example"]) as socket:
        expect(socket.subprotocol, "echo.example", "the subprotocol")


def ends_with_token(world):
    end = int(time.time()) + LIFE_SECONDS
    with world.connect("/ending/1", f"until-{end}") as socket:
        socket.send("hello")
        expect(socket.recv(timeout=10), "hello", "a message")
        try:
            socket.recv(timeout=LIFE_SECONDS + 10)
        except ConnectionClosed:
            late = time.time() - end
        print(f"      ended {late:.1f} s after its token")
        expect(-1 <= late <= 8, True, f"whether {late:.1f} s is at the end of the token")


def outlives_token(world):
    """Without the setting the handshake alone is looked at."""
    end = int(time.time()) + LIFE_SECONDS
    with world.connect("/guarded/1", f"until-{end}") as socket:
        time.sleep(LIFE_SECONDS + 1)  # the token's life
        socket.send("hello")
        expect(socket.recv(timeout=10), "hello", "a message")


CASES = [
    ("a public route: messages of all sizes, a thousand of them, ping", echoes("/open/1")),
    ("a good token", echoes("/guarded/1", GOOD)),
    ("over TLS", echoes("/guarded/1", GOOD, tls=True)),
    ("no token: the handshake gets 401", refused(None, 401, "no_token")),
    ("a bad token: the handshake gets 401", refused("bad", 401, "inactive")),
    ("the upstream ends it with a code and a reason", says_goodbye),
    ("a subprotocol", subprotocol),
    ("a connection outlives its token", outlives_token),
    ("a connection ends with its token, where the route says so", ends_with_token),
]

perform(Sockets, CASES)
