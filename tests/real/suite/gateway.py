"""The gateway under test: its configuration, its process, its front door and its metrics."""

import itertools
import json
import os
import re
import subprocess

from child import Child
from key_manager import CLIENTS
from report import Failed
from wire import LOOPBACK, free_ports, send, wait_until

COMMAND_SECONDS = 30
SAMPLE = re.compile(r"^(?P<name>\w+)(?:\{(?P<labels>.*)\})? (?P<value>\S+)$")
LABEL = re.compile(r'(\w+)="((?:[^"\\]|\\.)*)"')


class Options:
    """What differs between the gateways of the suite."""

    def __init__(self, max_ttl="60s", inactive_ttl="60s", secret=None, encoding="form"):
        self.max_ttl = max_ttl
        self.inactive_ttl = inactive_ttl
        self.secret = CLIENTS["gateway"]["secret"] if secret is None else secret
        self.encoding = encoding


def configuration(options, ports, password_file, introspection_url, upstream_port):
    """The log is at its most talkative, since no level of it may show a token."""
    http, admin, nobody = ports
    name = json.dumps(CLIENTS["gateway"]["id"])
    return f"""
[listen]
http = "{LOOPBACK}:{http}"

[admin]
listen = "{LOOPBACK}:{admin}"

[log]
level = "debug"
access = "json"

[keyManager]
introspectUrl = "{introspection_url}"
timeout = "1s"
    [keymanager.security.basic]
    enabled = true
    username = {name}
    password_file = "{password_file.name}"
    credentialEncoding = "{options.encoding}"

[token_cache]
max_ttl = "{options.max_ttl}"
inactive_ttl = "{options.inactive_ttl}"

[[route]]
name = "orders-read"
path = "/orders/*"
methods = ["GET"]
upstream = "http://{LOOPBACK}:{upstream_port}"
scopes = ["orders.read"]

[route.identity_headers]
X-Auth-Client = "client_id"
X-Auth-Note = "note"
X-Auth-Tenant = "tenant"

[[route]]
name = "orders-write"
path = "/orders/*"
methods = ["POST"]
upstream = "http://{LOOPBACK}:{upstream_port}"
scopes = ["orders.read", "orders.write"]

[[route]]
name = "stock"
path = "/stock/*"
upstream = "http://{LOOPBACK}:{upstream_port}"
audience = ["urn:stock"]

[[route]]
name = "open"
path = "/open/*"
public = true
upstream = "http://{LOOPBACK}:{upstream_port}"

[[route]]
name = "nobody"
path = "/nobody/*"
upstream = "http://{LOOPBACK}:{nobody}"
"""


class Gateway:
    def __init__(self, name, binary, folder, key_manager, upstream, options=None):
        self.options = options or Options()
        self.binary = binary
        self.folder = folder
        ports = free_ports(3)
        self.port, self.admin_port, _ = ports
        password = folder / f"{name}.password"
        write_private(password, self.options.secret + "\n")
        self.file = folder / f"{name}.toml"
        self.file.write_text(
            configuration(
                self.options, ports, password, key_manager.introspection_url, upstream.port
            )
        )
        self.child = Child(name, [binary, "run", self.file], folder)
        self._requests = itertools.count()

    def start(self):
        self.child.start()
        wait_until(lambda: self.child.check_running() and self.is_ready(), "the gateway is ready")

    def stop(self):
        return self.child.stop()

    def is_ready(self):
        try:
            return send(self.admin_port, "GET", "/readyz").status == 200
        except OSError:
            return False

    def get(self, token=None, target="/orders/1", headers=None):
        return self.request("GET", target, token, headers)

    def request(self, method, target, token=None, headers=None, body=None):
        headers = dict(headers or {})
        if token is not None:
            headers["Authorization"] = f"Bearer {token}"
        next(self._requests)
        return send(self.port, method, target, headers, body)

    def requests(self):
        """How many requests went through the front door."""
        # A counter of itertools shows its value, and takes no harm from threads.
        return int(re.search(r"\d+", repr(self._requests)).group())

    def scrape(self):
        return send(self.admin_port, "GET", "/metrics").body

    def metric(self, name, **labels):
        """The sum of the samples of a series that have these labels."""
        return sum(value for found, value in samples(self.scrape(), name) if labels.items() <= found)

    def introspect(self, token, *arguments):
        """`portcullis introspect -` with the token on standard input."""
        command = [self.binary, "introspect", "--config", self.file, *arguments, "-"]
        return subprocess.run(
            [str(part) for part in command],
            input=token + "\n",
            capture_output=True,
            text=True,
            timeout=COMMAND_SECONDS,
            cwd=self.folder,
            check=False,
        )

    def access_log(self):
        """The lines of the access log; all of them are JSON."""
        lines = self.child.output().splitlines()
        try:
            return [json.loads(line) for line in lines]
        except ValueError as fault:
            raise Failed(f"a line of the access log is not JSON: {fault}") from None


def write_private(file, text):
    descriptor = os.open(file, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
    with os.fdopen(descriptor, "w") as stream:
        stream.write(text)


def samples(text, name):
    for line in text.splitlines():
        sample = SAMPLE.match(line)
        if sample and sample["name"] == name:
            labels = dict(LABEL.findall(sample["labels"] or ""))
            yield labels.items(), float(sample["value"])
