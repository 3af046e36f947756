"""HTTP/2 by h2spec, nghttp and h2load, with TLS and without.

    PYTHONPATH=tests/real/suite python3 tests/real/edge/h2.py BINARY H2SPEC FOLDER

Started by ../h2.sh.
"""

import re
import subprocess

from keys import Keys
from report import expect, expect_in
from stage import perform
from wire import LOOPBACK
from world import World, listening, nginx

SPEC_SECONDS = 300
LOAD_REQUESTS = 20_000
# Cases of h2spec that may fail, each with the reason. One that begins to pass has to leave this list.
KNOWN = {
    "3.5: 2: Sends invalid connection preface": "without TLS the port speaks HTTP/1.1 too, which answers 400",
}
SUMMARY = re.compile(r"(\d+) tests, (\d+) passed, (\d+) skipped, (\d+) failed")


class Two(World):
    def __init__(self, stack, binary, h2spec, folder):
        super().__init__(stack, binary, folder)
        self.h2spec = h2spec
        self.keys = Keys(folder)
        self.upstream = nginx("nginx", folder, '    location / { return 200 "ok"; }')
        self.edge = self.gateway(f"""
[[route]]
path = "/*"
public = true
upstream = "http://{LOOPBACK}:{self.upstream.port}"
""", listening([self.keys.server]), access="off")

    def start(self):
        self.run_all([self.key_manager, self.upstream, self.edge])


def run(*command, seconds=60):
    result = subprocess.run([str(part) for part in command], stdin=subprocess.DEVNULL, capture_output=True,
                            text=True, timeout=seconds, check=False)
    return result.stdout + result.stderr


def spec(tls):
    def case(world):
        options = ["-t", "-k", "-p", world.edge.https_port] if tls else ["-p", world.edge.port]
        told = run(world.h2spec, "-h", LOOPBACK, "-o", 10, *options, seconds=SPEC_SECONDS)
        (world.folder / f"h2spec-{'tls' if tls else 'h2c'}.txt").write_text(told)
        tests, passed, skipped, failed = map(int, SUMMARY.search(told).groups())
        print(f"      {passed} of {tests} passed, {skipped} skipped, {failed} failed")
        names = failures(told)
        for name in names:
            print(f"        {name}{': ' + KNOWN[name] if name in KNOWN else ''}")
        expect([name for name in names if name not in KNOWN], [], "failures that are not known")
        expect(passed >= tests - skipped - len(KNOWN), True, "whether the score is the recorded one")

    return case


def failures(told):
    """Names of failed cases: `section number`, each once."""
    found, section = [], ""
    for line in told.partition("Failures:")[2].splitlines():
        if match := re.match(r"\s+([\w./ ]*\d[\d.]*)\. (.*)", line):
            section = match[1].strip()
        if "×" in line or "\u2717" in line:
            found.append(f"{section}: {re.sub(r'.*[×✗] ', '', line).strip()}")
    return list(dict.fromkeys(found))


def multiplexed(world):
    """nghttp: many streams on one connection, settings and a clean end."""
    for address, options in ((world.edge.https, []), (world.edge.http, [])):
        told = run("nghttp", "-nv", "-m", 50, *options, f"{address}/x")
        expect(told.count(":status: 200"), 50, f"answers on {address}")
        expect_in("GOAWAY", told, "frames")


def load(tls, options=()):
    def case(world):
        address = world.edge.https if tls else world.edge.http
        told = run("h2load", "-n", LOAD_REQUESTS, "-c", 20, "-m", 20, *options, f"{address}/x", seconds=120)
        done = re.search(r"requests: .*", told)[0]
        print(f"      {done}")
        print(f"      {re.search(r'finished in .*', told)[0]}")
        expect_in(f"{LOAD_REQUESTS} succeeded, 0 failed, 0 errored, 0 timeout", done, "what h2load tells")
        expect_in(f"{LOAD_REQUESTS} 2xx", told, "statuses")

    return case


CASES = [
    ("h2spec over TLS", spec(True)),
    ("h2spec without TLS", spec(False)),
    ("nghttp: 50 streams on one connection", multiplexed),
    ("h2load over TLS", load(True)),
    ("h2load without TLS", load(False)),
    ("h2load, HTTP/1.1 over TLS", load(True, ["--h1", "-m", "1"])),
]

perform(Two, CASES)
