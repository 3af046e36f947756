"""The gateway under test: its configuration, its process, its front door and its metrics."""

import itertools
import json
import os
import re
import subprocess

from child import Child
from report import Failed
from wire import LOOPBACK, accepts, free_ports, send, wait_until

COMMAND_SECONDS = 30
RENEWALS = "portcullis_credential_renewals_total"
SAMPLE = re.compile(r"^(?P<name>\w+)(?:\{(?P<labels>.*)\})? (?P<value>\S+)$")
LABEL = re.compile(r'(\w+)="((?:[^"\\]|\\.)*)"')


class Gateway:
    """`text`: its whole configuration, for the addresses of front door and admin listener. `file`: the name of its
    file, where that matters."""

    def __init__(self, name, binary, folder, text, file=None):
        self.binary = binary
        self.folder = folder
        self.port, self.admin_port = free_ports(2)
        self.file = folder / (file or f"{name}.toml")
        addresses = (f"{LOOPBACK}:{port}" for port in (self.port, self.admin_port))
        write_private(self.file, text(*addresses))
        self.child = Child(name, [binary, "run", self.file], folder)
        self._requests = itertools.count()

    def start(self):
        self.child.start()
        wait_until(lambda: self.child.check_running() and self.is_ready(), "the gateway is ready")

    def start_unready(self):
        """For one that waits for something before it is ready."""
        self.child.start()
        wait_until(
            lambda: self.child.check_running() and accepts(self.port), "the gateway takes requests"
        )

    def stop(self):
        return self.child.stop()

    def is_ready(self):
        return self.readiness() == 200

    def readiness(self):
        """The status of /readyz; `None` while nobody answers there."""
        try:
            return send(self.admin_port, "GET", "/readyz").status
        except OSError:
            return None

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

    def renewals(self, **labels):
        """How often it asked for a token of its own."""
        return self.metric(RENEWALS, **labels)

    def failed_renewals(self):
        """How often it got none. By one scrape: a renewal may fall between two."""
        found = samples(self.scrape(), RENEWALS)
        return sum(value for labels, value in found if dict(labels)["result"] != "ok")

    def introspect(self, token, *arguments):
        """`portcullis introspect -` with the token on standard input."""
        return self.command("introspect", "--config", self.file, *arguments, "-", text=token)

    def check(self, *arguments):
        """`portcullis check` of its configuration."""
        return self.command("check", *arguments, self.file)

    def command(self, *arguments, text=""):
        """A command of the program under test."""
        result = subprocess.run(
            [str(part) for part in (self.binary, *arguments)],
            input=text + "\n",
            capture_output=True,
            text=True,
            timeout=COMMAND_SECONDS,
            cwd=self.folder,
            check=False,
        )
        with self._printed.open("a") as printed:
            printed.write(result.stdout + result.stderr)
        return result

    @property
    def _printed(self):
        return self.folder / f"{self.child.name}.printed"

    def logs(self):
        """The files with everything that it and its commands have printed."""
        files = (self.child.out, self.child.err, self._printed)
        return [file for file in files if file.exists()]

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
