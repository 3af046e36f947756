"""An open-loop load: requests go out when they are due, however slow the answers are, each with a
token that nobody has seen before. Latencies count from the moment a request was due.

    python3 load.py PORT RATE SECONDS FILE

Writes `start` (monotonic clock) and, for each request, when it was due (seconds from start), how
late it was sent, its latency and its status (0: no answer) to FILE, as JSON.
"""

import asyncio
import contextlib
import json
import secrets
import sys
import time

# Above this many open connections requests wait for one; their latency goes on counting.
MOST_CONNECTIONS = 400
# How long after the last request answers are waited for.
PATIENCE_SECONDS = 10
TICK_SECONDS = 0.001


class Client(asyncio.Protocol):
    """A kept connection with one request on it at a time."""

    def __init__(self, load):
        self.load = load
        self.transport = None
        self.request = None
        self.buffer = b""

    def connection_made(self, transport):
        self.transport = transport

    def send(self, request):
        self.request = request
        request.sent = time.monotonic()
        self.transport.write(request.text)

    def data_received(self, data):
        self.buffer += data
        end = self.buffer.find(b"\r\n\r\n")
        if end < 0:
            return
        head = self.buffer[:end].lower()
        begin = head.find(b"content-length:")
        length = int(head[begin + 15 :].partition(b"\r\n")[0]) if begin >= 0 else 0
        if len(self.buffer) < end + 4 + length:
            return
        status = int(self.buffer[9:12])
        keeps = b"connection: close" not in head and begin >= 0
        self.buffer = b""
        request, self.request = self.request, None
        self.load.ended(request, status)
        if keeps:
            self.load.idle(self)
        else:
            self.transport.close()

    def connection_lost(self, _fault):
        self.load.lost(self)


class Request:
    def __init__(self, due, text):
        self.due = due
        self.text = text
        self.sent = None


class Load:
    def __init__(self, port):
        self.port = port
        self.free = []
        self.waiting = []
        self.connections = 0
        self.open = 0
        self.results = []
        self.name = secrets.token_hex(4)

    def start(self, number, due):
        text = (
            f"GET /orders/1 HTTP/1.1\r\nHost: 127.0.0.1:{self.port}\r\n"
            f"Authorization: Bearer soak-{self.name}-{number}\r\n\r\n"
        )
        request = Request(due, text.encode())
        self.open += 1
        if self.free:
            self.free.pop().send(request)
            return
        self.waiting.append(request)
        if self.connections < MOST_CONNECTIONS:
            self.connect()

    def connect(self):
        self.connections += 1
        task = asyncio.get_running_loop().create_task(self._connect())
        task.add_done_callback(lambda _: None)

    async def _connect(self):
        loop = asyncio.get_running_loop()
        try:
            _, client = await loop.create_connection(lambda: Client(self), "127.0.0.1", self.port)
        except OSError:
            self.connections -= 1
            if self.waiting:
                self.ended(self.waiting.pop(0), 0)
            return
        self.idle(client)

    def idle(self, client):
        if self.waiting:
            client.send(self.waiting.pop(0))
        else:
            self.free.append(client)

    def ended(self, request, status):
        self.open -= 1
        now = time.monotonic()
        sent = now if request.sent is None else request.sent
        self.results.append((request.due, sent - request.due, now - request.due, status))

    def lost(self, client):
        self.connections -= 1
        with contextlib.suppress(ValueError):
            self.free.remove(client)
        if client.request is not None:
            request, client.request = client.request, None
            self.ended(request, 0)
        if self.waiting:
            self.connect()


async def main():
    port, rate, seconds = map(int, sys.argv[1:4])
    load = Load(port)
    start = time.monotonic() + 0.1
    number = 0
    while number < rate * seconds:
        due = start + number / rate
        late = time.monotonic() - due
        if late < 0:
            await asyncio.sleep(max(-late, TICK_SECONDS))
            continue
        load.start(number, due)
        number += 1
        if number % 50 == 0:
            # When it is behind, answers must be read all the same.
            await asyncio.sleep(0)
    deadline = time.monotonic() + PATIENCE_SECONDS
    while load.open and time.monotonic() < deadline:
        await asyncio.sleep(0.01)
    requests = [(due - start, *rest) for due, *rest in load.results]
    with open(sys.argv[4], "w", encoding="ascii") as file:
        json.dump({"start": start, "planned": number, "requests": requests}, file)


asyncio.run(main())
