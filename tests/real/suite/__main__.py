"""The gateway against a real key manager, a real upstream and a real Prometheus.

    python3 tests/real/suite BINARY FOLDER

Started by ../run.sh. FOLDER is empty and belongs to this run: configurations and logs go there.
"""

import contextlib
import pathlib
import signal
import sys

import cases_certificates
import cases_credentials
import cases_discovery
import cases_operator
import cases_outages
import cases_renewals
import cases_tokens
from bearer_guard import BearerGuard
from clients import Clients
from gateway import Gateway, Options
from key_manager import KeyManager
from keys import Keys
from proofs import at, basic
from report import Report
from upstream import Upstream

CASES = [
    *cases_tokens.CASES,
    *cases_outages.CASES,
    *cases_credentials.CASES,
    *cases_discovery.CASES,
    *cases_certificates.CASES,
    *cases_renewals.CASES,
    *cases_operator.CASES,
]


class World:
    """All processes of a run; those that were started are stopped in the opposite order."""

    def __init__(self, binary, folder, stack):
        self.binary = binary
        self.folder = folder
        self.stack = stack
        self.keys = Keys(folder)
        self.clients = Clients(self.keys)
        self.key_manager = KeyManager(folder, clients=self.clients.described)
        self.safe_key_manager = KeyManager(
            folder, "safe-key-manager", self.clients.described, self.keys.of_server()
        )
        # That of the gateways with a token of their own, whose renewals would disturb counts.
        self.own_key_manager = KeyManager(folder, "own-key-manager")
        self.guard = BearerGuard(folder, self.own_key_manager)
        self.upstream = Upstream(folder)
        self.key_managers = [self.key_manager, self.safe_key_manager, self.own_key_manager]
        self.gateways = []
        self.parts = []

    def start(self):
        for part in (*self.key_managers, self.guard, self.upstream):
            self.run(part)
        where = at(self.key_manager.introspection_url)
        # Keeps answers for longer than the suite runs.
        self.steady = self.open("steady", basic(where))
        # Forgets fast enough to be waited for.
        self.brief = self.open("brief", basic(where), max_ttl="2s", inactive_ttl="1s")
        self.stranger = self.open("stranger", basic(where, secret="wr0ng:password+of/the%gateway"))
        self.raw = self.open("raw", basic(where, encoding="raw"))

    def open(self, name, proof, ready=True, **options):
        """A gateway that runs from here on; `ready`: whether that is to be waited for."""
        gateway = Gateway(name, self.binary, self.folder, proof, self.upstream, Options(**options))
        self.run(gateway, gateway.start if ready else gateway.start_unready)
        self.gateways.append(gateway)
        return gateway

    def gateway(self, name):
        """One that was opened."""
        return next(gateway for gateway in self.gateways if gateway.child.name == name)

    def run(self, part, start=None):
        # Before the start: one that fails half-way must not be left behind.
        self.stack.callback(part.stop)
        self.parts.append(part)
        (start or part.start)()

    def secrets(self):
        """What no log may repeat, as it was made."""
        given = {gateway.proof.secret for gateway in self.gateways if gateway.proof.secret}
        issued = {secret for manager in self.key_managers for secret in manager.secrets()}
        return given | issued | self.keys.secrets()

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
    report = Report()
    with contextlib.ExitStack() as stack:
        world = World(binary, folder, stack)
        report.run("everything starts", world.start, world.print_tails)
        if report.passed:
            for name, case in CASES:
                report.run(name, lambda case=case: case(world), world.print_tails)
    report.finish()


main()
