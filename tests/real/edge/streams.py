"""What streams is never gathered: uploads, downloads, events, connections that only stand open.

    PYTHONPATH=tests/real/suite python3 tests/real/edge/streams.py BINARY FOLDER

Started by ../streams.sh.
"""

import asyncio
import pathlib
import re
import resource
import ssl
import subprocess
import threading
import time

from keys import Keys
from report import expect
from stage import perform
from wire import LOOPBACK, wait_until
from world import World, listening, python

GIBIBYTE = 1 << 30
MEBIBYTE = 1 << 20
# What a transfer may add to the gateway's memory: buffers, and what the allocator keeps.
FLAT_BYTES = 16 * MEBIBYTE
EVENT_STREAMS = 1_000
IDLE_CONNECTIONS = 10_000
# A handshake costs processor time on both sides; more at once would only wait for each other.
AT_A_TIME = 100
# The most that one idle TLS connection may cost.
IDLE_KIB = 64
SAMPLE_SECONDS = 0.05
PATIENCE_SECONDS = 300
# All clients of this suite have one address, and some send a GiB.
LIMITS = """
[limits]
max_body_bytes = "unlimited"
[listen.limits]
max_connections_per_address = 20_000
idle_timeout = "10m"
"""
CONFIGURATION = """
[[route]]
path = "/*"
public = true
upstream = "{upstream}"
"""


class Streams(World):
    def __init__(self, stack, binary, folder):
        super().__init__(stack, binary, folder)
        resource.setrlimit(resource.RLIMIT_NOFILE, (resource.getrlimit(resource.RLIMIT_NOFILE)[1],) * 2)
        self.keys = Keys(folder)
        self.upstream = python("streamer", folder)
        self.edge = self.gateway(
            CONFIGURATION.format(upstream=self.upstream.url), listening([self.keys.server], LIMITS), access="off"
        )

    def start(self):
        self.run_all([self.key_manager, self.upstream, self.edge])
        # The first of each kind brings what stays: threads, pools, tables.
        for address in self.addresses():
            curl("--output", "/dev/null", f"{address}/bytes/{64 * MEBIBYTE}", world=self)

    def addresses(self):
        return self.edge.http, self.edge.https

    def memory(self):
        return memory_of(self.edge.child.process.pid)


def memory_of(pid):
    status = pathlib.Path(f"/proc/{pid}/status").read_text()
    return int(re.search(r"VmRSS:\s+(\d+) kB", status)[1]) * 1024


class Watched:
    """The most memory that the gateway had while something went on, above what it had before."""

    def __init__(self, world):
        self.world = world
        self.ended = threading.Event()
        self.before = self.peak = world.memory()
        self.thread = threading.Thread(target=self.watch)

    def watch(self):
        while not self.ended.wait(SAMPLE_SECONDS):
            self.peak = max(self.peak, self.world.memory())

    def __enter__(self):
        self.thread.start()
        return self

    def __exit__(self, *_):
        self.ended.set()
        self.thread.join()

    def tell(self, what, most=FLAT_BYTES):
        added = self.peak - self.before
        print(f"      {what}: {self.before / MEBIBYTE:.1f} MiB before, {added / MEBIBYTE:+.1f} MiB at most")
        expect(added <= most, True, f"whether {added / MEBIBYTE:.1f} MiB is at most {most / MEBIBYTE:.0f}")


def curl(*arguments, world, stdin=None, check=True):
    command = ["curl", "--silent", "--show-error", "--cacert", world.keys.authority[0], *arguments]
    return subprocess.run(
        list(map(str, command)), stdin=stdin, capture_output=True, text=True, timeout=PATIENCE_SECONDS, check=check
    ).stdout


def download(scheme, *options):
    def case(world):
        address = world.addresses()[scheme == "https"]
        with Watched(world) as watched:
            started = time.monotonic()
            size = curl("--output", "/dev/null", "--write-out", "%{size_download} %{http_version}",
                        *options, f"{address}/bytes/{GIBIBYTE}", world=world)
        print(f"      HTTP/{size.split()[1]}, {GIBIBYTE / MEBIBYTE / (time.monotonic() - started):.0f} MiB/s")
        expect(int(size.split()[0]), GIBIBYTE, "bytes that came")
        watched.tell("download of 1 GiB")

    return case


def upload(scheme, *options):
    def case(world):
        address = world.addresses()[scheme == "https"]
        zeros = subprocess.Popen(["head", "-c", str(GIBIBYTE), "/dev/zero"], stdout=subprocess.PIPE)
        with Watched(world) as watched, zeros:
            count = curl("--upload-file", "-", "--request", "POST", *options, f"{address}/count",
                         world=world, stdin=zeros.stdout)
        expect(count, str(GIBIBYTE), "bytes that the upstream counted")
        watched.tell("upload of 1 GiB")

    return case


def stuck(world):
    """An upstream that does not read: what the client sends does not pile up in the gateway."""
    sent = asyncio.run(push(world.edge.port))
    print(f"      {sent / MEBIBYTE:.1f} MiB were taken before nobody took more")


async def push(port):
    _, writer = await asyncio.open_connection(LOOPBACK, port)
    writer.write(f"POST /stuck HTTP/1.1\r\nHost: edge\r\nContent-Length: {GIBIBYTE}\r\n\r\n".encode())
    sent = 0
    try:
        while sent < GIBIBYTE:
            writer.write(bytes(MEBIBYTE))
            await asyncio.wait_for(writer.drain(), 3)
            sent += MEBIBYTE
    except TimeoutError:
        pass
    finally:
        writer.transport.abort()
    return sent


def stuck_upload(world):
    with Watched(world) as watched:
        stuck(world)
    watched.tell("upload to an upstream that does not read")


def event_streams(world):
    with Watched(world) as watched:
        first, events = asyncio.run(listen_to_events(world.edge.port))
        added = (watched.peak - watched.before) / EVENT_STREAMS / 1024
    print(f"      {EVENT_STREAMS} streams: first events of all within {first:.1f} s of the last connection,"
          f" {added:.1f} KiB each")
    expect(min(events) >= 3, True, f"whether every stream brought 3 events: {sorted(events)[:5]}")


async def listen_to_events(port):
    events = [0] * EVENT_STREAMS
    connections = []
    for _ in range(0, EVENT_STREAMS, AT_A_TIME):
        connections += await asyncio.gather(*(subscribe(port) for _ in range(AT_A_TIME)))
    started = time.monotonic()

    async def follow(number, reader):
        while events[number] < 3:
            events[number] += (await reader.readuntil(b"\n\n")).count(b"data: ")

    async def first():
        while min(events) < 1:
            await asyncio.sleep(SAMPLE_SECONDS)
        return time.monotonic() - started

    followers = [follow(number, reader) for number, (reader, _) in enumerate(connections)]
    async with asyncio.timeout(60):
        seconds, *_ = await asyncio.gather(first(), *followers)
    for _, writer in connections:
        writer.transport.abort()
    return seconds, events


async def subscribe(port):
    reader, writer = await asyncio.open_connection(LOOPBACK, port)
    writer.write(b"GET /events HTTP/1.1\r\nHost: edge\r\n\r\n")
    await reader.readuntil(b"\r\n\r\n")
    return reader, writer


def idle_connections(world):
    before = world.memory()
    kib = asyncio.run(stand_idle(world, before))
    print(f"      {IDLE_CONNECTIONS} idle TLS connections, each after one request: {kib:.1f} KiB each")
    expect(kib <= IDLE_KIB, True, f"whether {kib:.1f} KiB is at most {IDLE_KIB}")
    wait_until(lambda: world.edge.get(target="/count").status == 200, "the gateway goes on")


async def stand_idle(world, before):
    context = ssl.create_default_context(cafile=world.keys.authority[0])
    writers = []

    async def connect():
        reader, writer = await asyncio.open_connection(LOOPBACK, world.edge.https_port, ssl=context)
        writer.write(b"GET /count HTTP/1.1\r\nHost: edge\r\n\r\n")
        await reader.readuntil(b"\r\n\r\n")
        writers.append(writer)

    for _ in range(0, IDLE_CONNECTIONS, AT_A_TIME):
        await asyncio.gather(*(connect() for _ in range(AT_A_TIME)))
    open_ones = sum(not writer.transport.is_closing() for writer in writers)
    expect(open_ones, IDLE_CONNECTIONS, "connections that are open")
    added = world.memory() - before
    for writer in writers:
        writer.transport.abort()
    return added / IDLE_CONNECTIONS / 1024


CASES = [
    ("1 GiB down, HTTP/1.1", download("http", "--http1.1")),
    ("1 GiB up, HTTP/1.1, in chunks", upload("http", "--http1.1")),
    ("1 GiB down, HTTP/2 over TLS", download("https", "--http2")),
    ("1 GiB up, HTTP/2 over TLS", upload("https", "--http2")),
    ("an upload that the upstream does not read", stuck_upload),
    (f"{EVENT_STREAMS} streams of server-sent events", event_streams),
    (f"{IDLE_CONNECTIONS} idle TLS connections", idle_connections),
]

perform(Streams, CASES)
