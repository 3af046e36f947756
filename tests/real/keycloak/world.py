"""All processes of a run."""

import edge
from guard import Guard
from server import Keycloak
from stage import Stage
from upstream import Upstream

TAIL_COLUMNS = 400
WRONG = "wr0ng:password+of/the%gateway"


class World(Stage):
    def __init__(self, stack, binary, home, folder):
        super().__init__(stack)
        self.folder = folder
        self.keycloak = Keycloak(home, folder)
        self.upstream = Upstream(folder)
        self.guard = Guard(folder, self.keycloak)
        self.binary = binary
        self.gateways = []

        keycloak = self.keycloak
        asked = f'introspectUrl = "{keycloak.url("token/introspect")}"'
        found = f'issuer = "{keycloak.issuer}"'
        guarded = f'introspectUrl = "{self.guard.url}"'
        token_url = keycloak.url("token")
        self.direct_tables = lambda tokens, state: edge.oauth2(
            guarded, token_url, edge.direct(*tokens), state_file=state
        )

        self.basic = self.gateway("basic", edge.basic(asked))
        self.brief = self.gateway("brief", edge.basic(asked), max_ttl="2s")
        self.stranger = self.gateway("stranger", edge.basic(asked, password=WRONG))
        self.raw = self.gateway("raw", edge.basic(asked, encoding="raw"))
        self.post = self.gateway("post", edge.secret_post(asked))
        self.discovering = self.gateway("discovering", edge.basic(found))
        self.signing = {
            algorithm: self.gateway(
                f"signing-{algorithm}",
                edge.private_key_jwt(found, f"gateway-{algorithm.lower()}", key, algorithm),
            )
            for algorithm, key in keycloak.keys.items()
        }
        self.signing_for_issuer = self.gateway(
            "signing-for-issuer",
            edge.private_key_jwt(
                asked, "gateway-rs256", keycloak.keys["RS256"], "RS256", keycloak.issuer
            ),
        )
        self.client_credentials = self.gateway(
            "client-credentials", edge.oauth2(guarded, token_url, edge.CLIENT_CREDENTIALS)
        )
        self.client_credentials_post = self.gateway(
            "client-credentials-post",
            edge.oauth2(guarded, token_url, edge.CLIENT_CREDENTIALS, "post_body_bearer"),
        )
        self.password = self.gateway(
            "password", edge.oauth2(guarded, token_url, edge.PASSWORD)
        )
        self.state_file = folder / "refresh.state"
        self.refresh = self.gateway(
            "refresh",
            edge.oauth2(
                guarded, token_url, edge.PASSWORD + edge.REFRESH, state_file=self.state_file
            ),
        )

    def gateway(self, name, tables, **options):
        gateway = edge.Edge(name, self.binary, self.folder, self.upstream, tables, **options)
        self.gateways.append(gateway)
        return gateway

    def start(self):
        self.run_all([self.keycloak, self.upstream, self.guard, *self.gateways])

    def print_tails(self):
        """What Keycloak and the gateways have complained about last."""
        for part in self.parts:
            for line in part.child.tail().splitlines():
                if "WARN" in line or "ERROR" in line or "error" in line:
                    print(line[:TAIL_COLUMNS], flush=True)
