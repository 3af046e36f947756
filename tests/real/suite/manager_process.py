"""The API Manager of ../api_manager as a process, and what a test tells it."""

import json
import sys
import urllib.request
from pathlib import Path

from child import Child
from wire import LOOPBACK, accepts, free_ports, wait_until

FOLDER = Path(__file__).resolve().parent.parent / "api_manager"


class ManagerProcess:
    """`python3 tests/real/api_manager` on a port that stays the same over stops and starts. It forgets
    its rows when it is stopped: `start` gives it those of `rows` again, by kind."""

    def __init__(self, folder, *options, name="api-manager"):
        [self.port] = free_ports(1)
        command = [sys.executable, "-B", FOLDER, "--port", self.port, *options]
        self.child = Child(name, command, folder)
        self.rows = {}
        self.scheme = "https" if "--certificate" in options else "http"

    def start(self):
        self.child.start()
        wait_until(
            lambda: self.child.check_running() and accepts(self.port),
            "the API Manager listens",
        )
        for kind, rows in self.rows.items():
            self.tell("put", kind=kind, rows=rows)

    def stop(self):
        self.child.stop()

    @property
    def url(self):
        return f"{self.scheme}://{LOOPBACK}:{self.port}"

    def put(self, kind, *rows):
        self.rows.setdefault(kind, []).extend(rows)
        self.tell("put", kind=kind, rows=rows)

    def remove(self, kind, *rows):
        """Those that have all these values; the identity must be among them."""
        kept = self.rows.get(kind, [])
        kept[:] = [row for row in kept if not any(gone.items() <= row.items() for gone in rows)]
        self.tell("remove", kind=kind, rows=rows)

    def behave(self, how, kind=None, **options):
        self.tell("behave", kind=kind, how=how, **options)

    def calls(self, kind=None):
        """The calls of gateways since it started or was told to forget them."""
        return [call for call in self.ask("GET", "calls") if kind in (None, call["kind"])]

    def forget_calls(self):
        return self.ask("DELETE", "calls")

    def tell(self, what, **asked):
        return self.ask("POST", what, asked)

    def ask(self, method, what, asked=None):
        body = None if asked is None else json.dumps(asked).encode()
        request = urllib.request.Request(f"{self.url}/control/{what}", body, method=method)
        with urllib.request.urlopen(request, timeout=60) as answer:
            return json.loads(answer.read())
