"""The test bed: processes on their cores, what they cost, and what wrk sees of them."""

import contextlib
import json
import os
import pathlib
import re
import signal
import socket
import subprocess
import tempfile
import time
import urllib.request

ROOT = pathlib.Path(__file__).resolve().parent.parent
LOADTEST = ROOT / "loadtest"
BINARIES = ROOT / os.environ.get("CARGO_TARGET_DIR", "target") / "release"

# The tested process has a core of its own; everything around it shares the other one.
TESTED_CORE, OTHER_CORE = "0", str((os.cpu_count() or 1) - 1)

START_LIMIT = 20.0

CONFIG = """\
[listen]
http = "127.0.0.1:{listen}"

[keyManager]
introspectUrl = "http://127.0.0.1:{key_manager}/oauth2/introspect"
    [keymanager.security.basic]
    enabled = true
    username = "gateway"
    password = "demo-secret"

[token_cache]
max_ttl = "10m"
inactive_ttl = "10s"
max_entries = {max_entries}
max_bytes = "1GiB"

[log]
level = "warn"
access = "{access_log}"

[admin]
listen = "127.0.0.1:{admin}"
"""

# What the gateway has on by default is on; nothing is set to be fast.
PLAIN_CONFIG = """\
[listen]
http = "127.0.0.1:{listen}"
https = "127.0.0.1:{tls}"
h2c = true
[[listen.tls]]
cert_file = "{certificate}"
key_file = "{key}"

[admin]
listen = "127.0.0.1:{admin}"

[log]
level = "warn"
access = "off"

[upstreams.orders]
servers = [{servers}]

[[route]]
path = "/orders/*"
public = true
upstream = "orders"

[[route]]
path = "/kept/*"
public = true
upstream = "orders"
response_cache = {{ default_ttl = "10m" }}

[response_cache]
max_bytes = "2GiB"
"""

ROUTE = """
[[route]]
name = "route-{number}"
path = "{path}"
scopes = ["orders.read"]
upstream = "http://127.0.0.1:{upstream}"
"""


# Of the last route.
API = 'api = { name = "Orders", version = "1.0.0" }\n'

SUBSCRIPTIONS = """
[subscriptions]
validate = true
file = "{file}"
"""


def client(number):
    """One in the list of subscriptions; the first is that of all tokens."""
    return {
        "client_id": f"client-{number}" if number else "load-test",
        "tier": "Unlimited",
        "apis": [{"name": "Orders", "version": "1.0.0"}],
    }


class Failure(Exception):
    """An answer or a count that is not what it has to be."""


def check(condition, what):
    if not condition:
        raise Failure(what)


def free_ports(count):
    with contextlib.ExitStack() as stack:
        sockets = [stack.enter_context(socket.socket()) for _ in range(count)]
        for one in sockets:
            one.bind(("127.0.0.1", 0))
        return [one.getsockname()[1] for one in sockets]


def fetch(port, path, method="GET"):
    request = urllib.request.Request(f"http://127.0.0.1:{port}{path}", method=method)
    with urllib.request.urlopen(request, timeout=5) as answer:
        return answer.read().decode()


def wait_until(condition, what, pause=0.002):
    deadline = time.monotonic() + START_LIMIT
    while time.monotonic() < deadline:
        if condition():
            return
        time.sleep(pause)  # between two looks at a condition, never instead of one
    raise Failure(f"waited {START_LIMIT:.0f} s in vain for {what}")


def accepts(port):
    with contextlib.suppress(OSError), socket.create_connection(("127.0.0.1", port), 1):
        return True
    return False


class Process:
    """A child on one core, with its CPU time and memory."""

    def __init__(self, command, core, prefix=()):
        self.child = subprocess.Popen(
            ["taskset", "-c", core, *prefix, *map(str, command)],
            stdout=subprocess.DEVNULL,
            stderr=subprocess.PIPE if prefix else None,
        )
        self.pid = self.child.pid

    def cpu_seconds(self):
        """Of all its threads, user and system, from the scheduler's own clock (in nanoseconds;
        the fields of /proc/PID/stat count in hundredths of a second)."""
        return time.clock_gettime((~self.pid << 3) | 2)

    def memory_bytes(self, field):
        status = pathlib.Path(f"/proc/{self.pid}/status").read_text()
        return int(re.search(rf"{field}:\s+(\d+) kB", status)[1]) * 1024

    def resident(self):
        return self.memory_bytes("VmRSS")

    def peak(self):
        return self.memory_bytes("VmHWM")

    def forget_peak(self):
        pathlib.Path(f"/proc/{self.pid}/clear_refs").write_text("5")

    def is_alive(self):
        return self.child.poll() is None

    def stop(self):
        if self.is_alive():
            self.child.send_signal(signal.SIGTERM)
            try:
                self.child.wait(5)
            except subprocess.TimeoutExpired:
                self.child.kill()
                self.child.wait()


class Peers(Process):
    """Fake key manager and fast upstream."""

    def __init__(self):
        self.key_manager, self.upstream, self.control = free_ports(3)
        addresses = [f"127.0.0.1:{p}" for p in (self.key_manager, self.upstream, self.control)]
        super().__init__([BINARIES / "examples/peers", *addresses], OTHER_CORE)
        for port in (self.key_manager, self.upstream, self.control):
            wait_until(lambda port=port: accepts(port), "the peers")

    def calls(self):
        return int(fetch(self.control, "/calls"))

    def take(self, milliseconds):
        fetch(self.control, f"/latency/{milliseconds}", "POST")

    def say(self, word):
        """`active` or `inactive`, of every token."""
        fetch(self.control, f"/unknown/{word}", "POST")


class Bare(Process):
    """The proxy without a gateway in it."""

    def __init__(self, mode, peers, prefix=()):
        (self.port,) = free_ports(1)
        command = [BINARIES / "examples/bare_proxy", mode]
        addresses = [f"127.0.0.1:{self.port}", f"127.0.0.1:{peers.upstream}"]
        super().__init__([*command, *addresses], TESTED_CORE, prefix)
        wait_until(lambda: accepts(self.port), "the bare proxy")


class FeaturedBare(Process):
    """The same with what a gateway does on a plain route."""

    def __init__(self, upstreams, certificate, prefix=()):
        self.port, self.tls_port = free_ports(2)
        addresses = [f"127.0.0.1:{port}" for port in (self.port, *upstreams, self.tls_port)]
        command = [BINARIES / "examples/bare_proxy", "features", *addresses, *certificate]
        super().__init__(command, TESTED_CORE, prefix)
        wait_until(lambda: accepts(self.port) and accepts(self.tls_port), "the bare proxy")


class Portcullis(Process):
    """The gateway; `admin` is its admin port."""

    def metric(self, name):
        """A series' value, by its name with labels; the sum of all that begin so otherwise."""
        found = re.findall(rf"^{re.escape(name)}.* (\S+)$", fetch(self.admin, "/metrics"), re.M)
        check(found, f"no metric {name}")
        return sum(map(float, found))


class PlainGateway(Portcullis):
    """Portcullis with a public route, everything else on."""

    def __init__(self, upstreams, certificate, prefix=()):
        self.port, self.tls_port, self.admin = free_ports(3)
        self.config = tempfile.NamedTemporaryFile("w", suffix=".toml")
        servers = ", ".join(f'"http://127.0.0.1:{port}"' for port in upstreams)
        self.config.write(
            PLAIN_CONFIG.format(
                listen=self.port,
                tls=self.tls_port,
                certificate=certificate[0],
                key=certificate[1],
                admin=self.admin,
                servers=servers,
            )
        )
        self.config.flush()
        super().__init__([BINARIES / "portcullis", "run", self.config.name], TESTED_CORE, prefix)
        wait_until(lambda: accepts(self.port) and accepts(self.tls_port), "the gateway")


class Gateway(Portcullis):
    """Portcullis, with a configuration made for the case."""

    def __init__(
        self, peers, access_log="off", max_entries=100_000, routes=1, subscribers=0, prefix=()
    ):
        """`subscribers`: so many clients have subscribed, and nobody else may pass; 0: anybody may."""
        self.port, self.admin = free_ports(2)
        self.config = tempfile.NamedTemporaryFile("w", suffix=".toml")
        self.clients = tempfile.NamedTemporaryFile("w", suffix=".json")
        json.dump({"client": [client(number) for number in range(subscribers)]}, self.clients)
        self.clients.flush()
        self.config.write(self.config_text(peers, access_log, max_entries, routes))
        if subscribers:
            self.config.write(API + SUBSCRIPTIONS.format(file=self.clients.name))
        self.config.flush()
        super().__init__([BINARIES / "portcullis", "run", self.config.name], TESTED_CORE, prefix)

    def config_text(self, peers, access_log, max_entries, routes):
        text = CONFIG.format(
            listen=self.port,
            key_manager=peers.key_manager,
            admin=self.admin,
            access_log=access_log,
            max_entries=max_entries,
        )
        paths = ["/orders/*", *(f"/service-{number}/*" for number in range(1, routes))]
        for number, path in enumerate(paths):
            text += ROUTE.format(number=number, path=path, upstream=peers.upstream)
        return text

    def wait(self):
        wait_until(self.is_ready, "the gateway")
        return self

    def is_ready(self):
        check(self.is_alive(), "the gateway ended at once")
        with contextlib.suppress(OSError):
            return fetch(self.admin, "/readyz") == "ready\n"
        return False


def start_h2load(port, seconds, connections):
    """HTTP/2 over TLS, one stream at a time on each connection."""
    command = ["taskset", "-c", OTHER_CORE, "h2load", "-t1", f"-c{connections}", "-m1", f"-D{seconds}"]
    command += ["-H", "Authorization: Bearer x", f"https://127.0.0.1:{port}/orders/1?page=2"]
    return subprocess.Popen(list(map(str, command)), stdout=subprocess.PIPE, text=True)


def drive_h2(process, seconds, connections):
    """As `drive`, by h2load. It knows no percentiles of its own, so those are its mean and longest."""
    before = process.cpu_seconds()
    output, _ = start_h2load(process.tls_port, seconds, connections).communicate()
    cost = process.cpu_seconds() - before
    done = re.search(r"(\d+) succeeded, (\d+) failed, (\d+) errored", output)
    check(done and int(done[1]) > 0, f"no answers:\n{output}")
    check(f"{done[1]} 2xx" in output and int(done[2]) == 0, f"answers that were refused, or none:\n{output}")
    times = re.search(r"time for request:\s+(\S+)\s+(\S+)\s+(\S+)", output)
    requests = int(done[1])
    return {
        "requests": requests,
        "per_second": requests / seconds,
        "cpu_us": cost / requests * 1e6,
        "p50_us": microseconds(times[3]),
        "p99_us": microseconds(times[2]),
        "peak": process.peak(),
    }


def microseconds(text):
    number, unit = re.fullmatch(r"([\d.]+)(us|ms|s)", text).groups()
    return float(number) * {"us": 1, "ms": 1e3, "s": 1e6}[unit]


def start_wrk(port, seconds, connections, *tokens, scheme="http"):
    command = ["taskset", "-c", OTHER_CORE, "wrk", "-t1", f"-c{connections}", f"-d{seconds}s"]
    command += ["-s", LOADTEST / "wrk.lua", f"{scheme}://127.0.0.1:{port}/", "--", *tokens]
    return subprocess.Popen(list(map(str, command)), stdout=subprocess.PIPE, text=True)


def finish_wrk(wrk, expect="passed"):
    """What wrk saw. `expect`: whether all requests passed, or all were refused."""
    output, _ = wrk.communicate()
    seen = json.loads(output.strip().splitlines()[-1])
    check(seen["requests"] > 0, f"no answers:\n{output}")
    check(seen["broken"] == 0, f"connections broke or timed out:\n{output}")
    refused = 0 if expect == "passed" else seen["requests"]
    check(seen["refused"] == refused, f"{refused} refusals were expected:\n{output}")
    seen["per_second"] = seen["requests"] / seen["seconds"]
    return seen


def drive(process, seconds, connections, *tokens, expect="passed", scheme="http"):
    """Loads a process with wrk; adds the CPU time that each request cost it."""
    port = process.port if scheme == "http" else process.tls_port
    before = process.cpu_seconds()
    seen = finish_wrk(start_wrk(port, seconds, connections, *tokens, scheme=scheme), expect)
    seen["cpu_us"] = (process.cpu_seconds() - before) / seen["requests"] * 1e6
    seen["peak"] = process.peak()
    return seen
