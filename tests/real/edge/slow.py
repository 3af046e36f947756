"""Clients that are slow on purpose, by slowhttptest: they are ended, and others are served meanwhile.

    PYTHONPATH=tests/real/suite python3 tests/real/edge/slow.py BINARY FOLDER

Started by ../slow.sh.
"""

import subprocess
import threading
import time

from report import expect
from stage import perform
from wire import LOOPBACK, send
from world import World, nginx

CONNECTIONS = 200
RATE = 100
SECONDS = 35
# What somebody else's request may take meanwhile: the machine is busy with both sides.
MOST_SECONDS = 2
LARGE = 4 * 1024 * 1024


class Slow(World):
    def __init__(self, stack, binary, folder):
        super().__init__(stack, binary, folder)
        (folder / "large").write_bytes(bytes(LARGE))
        self.upstream = nginx("nginx", folder, f"""
    client_max_body_size 0;
    location / {{ return 200 "ok"; }}
    location = /large {{ alias {folder}/large; }}
""")
        self.edge = self.gateway(f"""
[[route]]
path = "/*"
public = true
upstream = "http://{LOOPBACK}:{self.upstream.port}"
""")

    def start(self):
        self.run_all([self.key_manager, self.upstream, self.edge])


class Others:
    """Somebody who asks again and again while the slow ones are there."""

    def __init__(self, port):
        self.port = port
        self.ended = threading.Event()
        self.times = []
        self.failures = []
        # Moments, and how many connections the gateway had then, as the system knows it.
        self.open = []
        self.thread = threading.Thread(target=self.ask)

    def ask(self):
        while not self.ended.wait(0.05):
            started = time.monotonic()
            try:
                status = send(self.port, "GET", "/").status
            except OSError as fault:
                status = fault
            if status != 200:
                self.failures.append(status)
            self.times.append(time.monotonic() - started)
            self.open.append((time.monotonic(), connections(self.port)))

    def __enter__(self):
        self.thread.start()
        return self

    def __exit__(self, *_):
        self.ended.set()
        self.thread.join()


def connections(port):
    """Those that are there, and those that are closed here and still hold what the other side has not taken."""
    ESTABLISHED, FIN_WAIT_1 = "01", "04"
    rows = (line.split() for line in open("/proc/net/tcp").readlines()[1:])
    return sum(row[1].endswith(f":{port:04X}") and row[3] in (ESTABLISHED, FIN_WAIT_1) for row in rows)


def attack(*options, target="/"):
    def case(world):
        command = [
            "slowhttptest", *options, "-c", CONNECTIONS, "-r", RATE, "-l", SECONDS,
            "-u", f"http://{LOOPBACK}:{world.edge.port}{target}", "-p", MOST_SECONDS,
        ]
        with Others(world.edge.port) as others:
            began = time.monotonic()
            told = subprocess.run([str(part) for part in command], stdin=subprocess.DEVNULL,
                                  capture_output=True, text=True, timeout=SECONDS + 30, check=False).stdout
            ended = time.monotonic()
        # It goes when it sees that nobody is left. It does not see a connection that was reset while it reads
        # slowly, so the system is asked, a moment before it goes.
        before = [count for moment, count in others.open if moment < ended - 1]
        left = 0 if "No open connections left" in told else before[-1]
        most = max(before)
        busy = max((moment for moment, count in others.open if count > most / 10), default=began)
        print(f"      at most {most} at once, {left} left; all but a tenth gone after {busy - began:.0f} s;"
              f" {len(others.times)} requests of others, longest {max(others.times) * 1000:.0f} ms,"
              f" {len(others.failures)} failed")
        expect(most > 0, True, "whether there was an attack")
        expect(others.failures, [], "requests of others that failed")
        expect(max(others.times) < MOST_SECONDS, True, "whether others are served at once")
        expect(left, 0, f"slow connections that are left after {SECONDS} s")

    return case


CASES = [
    ("slow headers (slowloris)", attack("-H", "-i", 5)),
    ("slow body (R-U-Dead-Yet)", attack("-B", "-i", 5, "-s", 8192)),
    ("slow reading", attack("-X", "-w", 8, "-y", 16, "-n", 5, "-z", 8, "-k", 1, target="/large")),
    ("Apache's range of ranges", attack("-R")),
]

perform(Slow, CASES)
