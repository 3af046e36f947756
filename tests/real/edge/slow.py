"""Clients that are slow on purpose, by slowhttptest: they are ended, and others are served meanwhile.

    PYTHONPATH=tests/real/suite python3 tests/real/edge/slow.py BINARY FOLDER

Started by ../slow.sh.
"""

import csv
import subprocess
import threading
import time

from report import Failed, expect
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

    def __enter__(self):
        self.thread.start()
        return self

    def __exit__(self, *_):
        self.ended.set()
        self.thread.join()


def attack(name, *options, target="/"):
    def case(world):
        prefix = world.folder / name
        command = [
            "slowhttptest", *options, "-c", CONNECTIONS, "-r", RATE, "-l", SECONDS, "-g", "-o", prefix,
            "-u", f"http://{LOOPBACK}:{world.edge.port}{target}", "-p", MOST_SECONDS,
        ]
        with Others(world.edge.port) as others:
            subprocess.run([str(part) for part in command], stdin=subprocess.DEVNULL,
                           capture_output=True, timeout=SECONDS + 30, check=False)
        rows = list(csv.DictReader(open(f"{prefix}.csv")))
        if not rows:
            raise Failed("slowhttptest tells nothing")
        most = max(int(row["Connected"]) for row in rows)
        left = int(rows[-1]["Connected"])
        lasted = next((int(row["Seconds"]) for row in rows if int(row["Closed"]) >= CONNECTIONS), None)
        ended = f"all {CONNECTIONS} ended within {lasted} s" if lasted else f"{left} never ended"
        print(f"      at most {most} at once, {ended}; {len(others.times)} requests of others,"
              f" longest {max(others.times) * 1000:.0f} ms, {len(others.failures)} failed")
        expect(others.failures, [], "requests of others that failed")
        expect(max(others.times) < MOST_SECONDS, True, "whether others are served at once")
        expect(left, 0, f"slow connections that are left after {SECONDS} s")

    return case


CASES = [
    ("slow headers (slowloris)", attack("headers", "-H", "-i", 5)),
    ("slow body (R-U-Dead-Yet)", attack("body", "-B", "-i", 5, "-s", 8192)),
    ("slow reading", attack("reading", "-X", "-w", 8, "-y", 16, "-n", 5, "-z", 8, "-k", 1, target="/large")),
    ("Apache's range of ranges", attack("ranges", "-R")),
]

perform(Slow, CASES)
