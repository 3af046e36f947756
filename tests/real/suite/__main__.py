"""The gateway against a real key manager, a real upstream and a real Prometheus.

    python3 tests/real/suite BINARY FOLDER

Started by ../run.sh. FOLDER is empty and belongs to this run: configurations and logs go there.
"""

import cases_certificates
import cases_credentials
import cases_discovery
import cases_key_managers
import cases_operator
import cases_outages
import cases_renewals
import cases_tokens
from bearer_guard import BearerGuard
from clients import Clients
from key_manager import KeyManager
from keys import Keys
from proofs import at, basic
from proven import Options, Proven
from stage import Stage, perform
from upstream import Upstream

CASES = [
    *cases_tokens.CASES,
    *cases_outages.CASES,
    *cases_credentials.CASES,
    *cases_discovery.CASES,
    *cases_certificates.CASES,
    *cases_key_managers.CASES,
    *cases_renewals.CASES,
    *cases_operator.CASES,
]


class World(Stage):
    def __init__(self, stack, binary, folder):
        super().__init__(stack)
        self.binary = binary
        self.folder = folder
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

    def start(self):
        self.run_all([*self.key_managers, self.guard, self.upstream])
        where = at(self.key_manager.introspection_url)
        # Keeps answers for longer than the suite runs.
        self.steady = self.open("steady", basic(where))
        # Forgets fast enough to be waited for.
        self.brief = self.open("brief", basic(where), max_ttl="2s", inactive_ttl="1s")
        self.stranger = self.open("stranger", basic(where, secret="wr0ng:password+of/the%gateway"))
        self.raw = self.open("raw", basic(where, encoding="raw"))

    def open(self, name, proof, ready=True, **options):
        """A gateway that runs from here on; `ready`: whether that is to be waited for."""
        gateway = Proven(name, self.binary, self.folder, proof, self.upstream, Options(**options))
        self.run(gateway, gateway.start if ready else gateway.start_unready)
        self.gateways.append(gateway)
        return gateway

    def gateway(self, name):
        """One that was opened."""
        return next(gateway for gateway in self.gateways if gateway.child.name == name)

    def secrets(self):
        """What no log may repeat, as it was made."""
        given = {gateway.proof.secret for gateway in self.gateways if gateway.proof.secret}
        issued = {secret for manager in self.key_managers for secret in manager.secrets()}
        return given | issued | self.keys.secrets()


perform(World, CASES)
