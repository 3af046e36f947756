"""The gateway against a real key manager, a real upstream and a real Prometheus.

    python3 tests/real/suite BINARY FOLDER

Started by ../run.sh. FOLDER is empty and belongs to this run: configurations and logs go there.
"""

import contextlib
import pathlib
import signal
import sys

import cases_operator
import cases_outages
import cases_tokens
from gateway import Gateway, Options
from key_manager import KeyManager
from report import Report
from upstream import Upstream

CASES = [*cases_tokens.CASES, *cases_outages.CASES, *cases_operator.CASES]


class World:
    """All processes of a run; those that were started are stopped in the opposite order."""

    def __init__(self, binary, folder):
        self.folder = folder
        self.key_manager = KeyManager(folder)
        self.upstream = Upstream(folder)

        def gateway(name, **options):
            return Gateway(
                name, binary, folder, self.key_manager, self.upstream, Options(**options)
            )

        # Keeps answers for longer than the suite runs.
        self.steady = gateway("steady")
        # Forgets fast enough to be waited for.
        self.brief = gateway("brief", max_ttl="2s", inactive_ttl="1s")
        self.stranger = gateway("stranger", secret="wr0ng:password+of/the%gateway")
        self.raw = gateway("raw", encoding="raw")
        self.gateways = [self.steady, self.brief, self.stranger, self.raw]
        self.parts = [self.key_manager, self.upstream, *self.gateways]

    def start(self, stack):
        for part in self.parts:
            # Before the start: one that fails half-way must not be left behind.
            stack.callback(part.stop)
            part.start()

    def print_tails(self):
        for part in self.parts:
            tail = part.child.tail()
            if tail:
                print(tail, flush=True)


def leave(number, _):
    """Turns a signal into an ordinary end, so that every process is stopped."""
    sys.exit(128 + number)


def main():
    for number in (signal.SIGTERM, signal.SIGINT, signal.SIGHUP):
        signal.signal(number, leave)
    binary, folder = (pathlib.Path(argument).resolve() for argument in sys.argv[1:])
    world = World(binary, folder)
    report = Report()
    with contextlib.ExitStack() as stack:
        report.run("everything starts", lambda: world.start(stack), world.print_tails)
        if report.passed:
            for name, case in CASES:
                report.run(name, lambda case=case: case(world), world.print_tails)
    report.finish()


main()
