"""Load with all-new tokens while the gateway's own token is renewed again and again.

    PYTHONPATH=tests/real/suite python3 tests/real/soak BINARY FOLDER

Started by ../soak.sh, which sets RATE (requests/s) and SECONDS_OF_LOAD.
"""

import contextlib
import json
import os
import pathlib
import statistics
import sys

from child import Child
from gateway import samples
from peers import CLIENT, LIFE, TOKEN_SECONDS
from report import Failed, expect
from stage import Stage, perform
from wire import LOOPBACK, free_ports, send, wait_until

HERE = pathlib.Path(__file__).parent
RATE, SECONDS = int(os.environ["RATE"]), int(os.environ["SECONDS_OF_LOAD"])
WARM_UP_SECONDS = 3
# A renewal may show in requests that were due while it went on, or just after it.
AFTERMATH_SECONDS = 0.15
# A renewal that requests wait for shows as TOKEN_SECONDS; what is allowed is the noise of a machine
# that does other things too.
MOST_TIMES, MOST_MORE_SECONDS = 1.5, 0.010


def configuration(port, admin, key_manager, upstream):
    name, secret = CLIENT
    return f"""
[listen]
http = "{LOOPBACK}:{port}"

[admin]
listen = "{LOOPBACK}:{admin}"

[log]
level = "info"
access = "off"

[keyManager]
introspectUrl = "http://{LOOPBACK}:{key_manager}/introspect"
    [keymanager.security.oauth2]
        enabled = true
        credentialBearer = "AUTH_HEADER_BEARER"
        tokenUrl = "http://{LOOPBACK}:{key_manager}/token"
        [keymanager.security.oauth2.clientCredential]
            enabled = true
            clientId = "{name}"
            clientSecret = "{secret}"

[[route]]
path = "/orders/*"
scopes = ["orders.read"]
upstream = "http://{LOOPBACK}:{upstream}"
"""


class World(Stage):
    def __init__(self, stack, binary, folder):
        super().__init__(stack)
        self.folder, self.rate, self.seconds = folder, RATE, SECONDS
        self.port, self.admin, self.key_manager, self.upstream = free_ports(4)
        file = folder / "gateway.toml"
        file.write_text(configuration(self.port, self.admin, self.key_manager, self.upstream))
        python = [sys.executable, "-B"]
        self.peers = Child(
            "peers", [*python, HERE / "peers.py", self.key_manager, self.upstream], folder
        )
        self.gateway = Child("gateway", [binary, "run", file], folder)
        self.loads = []
        self.calls, self.requests = [], []
        self.before, self.after = {}, {}

    def start(self):
        self.stack.callback(self.peers.stop)
        self.peers.start()
        wait_until(lambda: self.peers.check_running() and self.peers.output(), "the peers listen")
        self.stack.callback(self.gateway.stop)
        self.gateway.start()
        wait_until(lambda: self.gateway.check_running() and self.is_ready(), "the gateway is ready")

    def is_ready(self):
        with contextlib.suppress(OSError):
            return send(self.admin, "GET", "/readyz").status == 200
        return False

    def load(self, seconds):
        """Runs the generator; returns what it wrote."""
        name = f"load-{len(self.loads)}"
        file = self.folder / f"{name}.json"
        command = [sys.executable, "-B", HERE / "load.py", self.port, self.rate, seconds, file]
        child = Child(name, command, self.folder)
        self.loads.append(child)
        self.stack.callback(child.stop)
        child.start()
        wait_until(lambda: child.process.poll() is not None, "the load ends", seconds=seconds + 60)
        if not file.exists():
            raise Failed(f"the load did not end well\n{child.tail()}")
        return json.loads(file.read_text())

    def counts(self):
        return send(self.key_manager, "GET", "/counts").json

    def renewals(self):
        text = send(self.admin, "GET", "/metrics").body
        found = samples(text, "portcullis_credential_renewals_total")
        return {dict(labels)["result"]: value for labels, value in found if value}

    def measure(self):
        self.load(WARM_UP_SECONDS)
        self.before = self.counts()
        ticks = cpu_seconds(self.gateway)
        result = self.load(self.seconds)
        self.after = self.counts()
        self.cpu = cpu_seconds(self.gateway) - ticks
        self.planned, self.requests = result["planned"], result["requests"]
        start = result["start"]
        for line in self.peers.output().splitlines():
            word, *times = line.split()
            if word == "token":
                begin, end = (float(moment) - start for moment in times)
                if 0 <= begin < self.seconds:
                    self.calls.append((begin, end))

    def print_tails(self):
        for child in [self.peers, self.gateway, *self.loads]:
            if tail := child.tail():
                print(tail, flush=True)


def cpu_seconds(child):
    fields = pathlib.Path(f"/proc/{child.process.pid}/stat").read_text().rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / 100


def percentile(values, part):
    """In milliseconds."""
    ordered = sorted(values)
    return ordered[min(len(ordered) - 1, int(len(ordered) * part))] * 1000 if ordered else 0.0


def is_near_renewal(world, due):
    return any(begin <= due <= end + AFTERMATH_SECONDS for begin, end in world.calls)


def key_manager_demands(world):
    """The peers are worth something only if they refuse: nobody, a made-up token, an old one."""

    def ask(token):
        headers = {"Authorization": f"Bearer {token}"} if token else {}
        return send(world.key_manager, "POST", "/introspect", headers, "token=probe").status

    expect([ask(None), ask("made-up")], [401, 401], "the answers without a good token")
    # The first token is the gateway's, and older than its life by now.
    wait_until(lambda: ask("own-1") == 401, "an old token is refused", seconds=2 * LIFE)


def all_were_sent(world):
    lateness = [late for _, late, _, _ in world.requests]
    answered = sum(1 for *_, status in world.requests if status)
    print(
        f"      planned {world.planned}, sent and ended {len(world.requests)}, answered {answered};"
        f" sent late by p50 {percentile(lateness, 0.5):.2f} ms,"
        f" p99 {percentile(lateness, 0.99):.2f} ms;"
        f" gateway {100 * world.cpu / world.seconds:.0f} % of a core"
    )
    expect(len(world.requests), world.planned, "requests that ended")
    asked = world.after["introspections"] - world.before["introspections"]
    distinct = world.after["distinct"] - world.before["distinct"]
    expect((asked, distinct), (world.planned, world.planned), "introspections, and distinct tokens")


def no_failure(world):
    statuses = {}
    for *_, status in world.requests:
        statuses[status] = statuses.get(status, 0) + 1
    expect(statuses, {200: world.planned}, "statuses that clients saw (0: no answer)")


def no_refusal(world):
    refused = world.after["refused"] - world.before["refused"]
    expect(refused, 0, "questions with an own token that had ended")


def about_one_call_per_life(world):
    gaps = [one - other for (one, _), (other, _) in zip(world.calls[1:], world.calls, strict=False)]
    print(
        f"      {len(world.calls)} token calls in {world.seconds} s, one every"
        f" {min(gaps):.2f} to {max(gaps):.2f} s (mean {statistics.mean(gaps):.2f} s);"
        f" the gateway counts {world.renewals()} since its start"
    )
    lives = world.seconds / LIFE
    expect(lives - 1 <= len(world.calls) <= 1.5 * lives, True, "whether this is about one per life")
    expect(set(world.renewals()), {"ok"}, "results of renewals")


def no_bump(world):
    print("      second: p50 / p99 in ms (* a renewal in it)")
    seconds = {}
    for due, _, latency, _ in world.requests:
        seconds.setdefault(int(due), []).append(latency)
    with_renewal, without = [], []
    cells = []
    for second, latencies in sorted(seconds.items()):
        renews = any(begin < second + 1 and end >= second for begin, end in world.calls)
        p99 = percentile(latencies, 0.99)
        (with_renewal if renews else without).append(p99)
        mark = "*" if renews else " "
        cells.append(f"{second:2d}{mark} {percentile(latencies, 0.5):5.2f} /{p99:7.2f}")
    for row in range(0, len(cells), 5):
        print("        " + "   ".join(cells[row : row + 5]))
    if with_renewal and without:
        print(
            f"      median p99 of the {len(with_renewal)} seconds with a renewal"
            f" {statistics.median(with_renewal):.2f} ms, of the {len(without)} without"
            f" {statistics.median(without):.2f} ms"
        )
    near, far = [], []
    for due, _, latency, _ in world.requests:
        (near if is_near_renewal(world, due) else far).append(latency)
    for name, latencies in [("during and just after a renewal", near), ("at other times", far)]:
        print(
            f"      requests due {name}: {len(latencies)},"
            f" p50 {percentile(latencies, 0.5):.2f} ms, p99 {percentile(latencies, 0.99):.2f} ms,"
            f" p99.9 {percentile(latencies, 0.999):.2f} ms, longest {percentile(latencies, 1):.2f} ms"
        )
    near, far = (statistics.median(p99s) for p99s in spans(world))
    most = max(MOST_TIMES * far, far + MOST_MORE_SECONDS * 1000)
    print(
        f"      median of the p99s of {len(world.calls)} renewals {near:.2f} ms, of the times between"
        f" them {far:.2f} ms"
    )
    expect(near <= most, True, f"whether {near:.2f} ms is at most {most:.2f} ms")


def spans(world):
    """The p99 of each renewal, and of each time between two of them: one stall of the machine is
    one value among many."""
    ends = [-AFTERMATH_SECONDS, *(end for _, end in world.calls)]
    begins = [*(begin for begin, _ in world.calls), world.seconds]
    near = [(begin, end + AFTERMATH_SECONDS) for begin, end in world.calls]
    far = [(end + AFTERMATH_SECONDS, begin) for end, begin in zip(ends, begins, strict=True)]

    def p99s(bounds):
        for begin, end in bounds:
            latencies = [latency for due, _, latency, _ in world.requests if begin <= due < end]
            if latencies:
                yield percentile(latencies, 0.99)

    return list(p99s(near)), list(p99s(far))


CASES = [
    ("the key manager refuses all but a living own token", key_manager_demands),
    (
        f"{SECONDS} s of {RATE} requests/s with own tokens that live {LIFE} s,"
        f" from a token endpoint that takes {TOKEN_SECONDS} s",
        World.measure,
    ),
    ("every request was sent and ended, each with a new token", all_were_sent),
    ("no client sees a failure", no_failure),
    ("no question goes out with an own token that has ended", no_refusal),
    ("about one token call per life", about_one_call_per_life),
    ("p99 shows no bump at renewals", no_bump),
]


perform(World, CASES)
