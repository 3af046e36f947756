"""The API Manager of ../api_manager as a process, and what a test tells it."""

import json
import ssl
import sys
import urllib.request
from pathlib import Path

from child import Child
from wire import LOOPBACK, accepts, free_ports, wait_until

FOLDER = Path(__file__).resolve().parent.parent / "api_manager"


class ManagerProcess:
    """`python3 tests/real/api_manager` on a port that stays the same over stops and starts. It starts
    with the rows that it had."""

    def __init__(self, folder, *options, name="api-manager"):
        [self.port] = free_ports(1)
        self.file = folder / f"{name}.rows"
        command = [sys.executable, "-B", FOLDER, "--port", self.port, "--rows", self.file, *options]
        self.child = Child(name, command, folder)
        self.rows = {}
        self.scheme = "https" if "--certificate" in options else "http"

    def start(self):
        self.file.write_text(json.dumps(self.rows))
        self.child.start()
        wait_until(
            lambda: self.child.check_running() and accepts(self.port),
            "the API Manager listens",
        )

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
        kept[:] = [row for row in kept if not any(is_part(gone, row) for gone in rows)]
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
        # It is the one that was started here, whatever its certificate.
        trust = ssl._create_unverified_context()
        with urllib.request.urlopen(request, timeout=60, context=trust) as answer:
            return json.loads(answer.read())


def is_part(part, whole):
    """Bad rows may be anything."""
    if part and isinstance(part, dict) and isinstance(whole, dict):
        return part.items() <= whole.items()
    return part == whole
