"""The key manager: oidc-provider in a process of its own."""

import base64
import json
import pathlib
import signal
import urllib.parse

from child import Child
from report import expect
from wire import LOOPBACK, free_ports, send, wait_until

PROJECT = pathlib.Path(__file__).parents[1] / "oidc-provider"
CLIENTS = json.loads((PROJECT / "clients.json").read_text())


def form_encoded_basic(client):
    """RFC 6749 §2.3.1: id and secret are form-encoded before they are put together."""
    pair = ":".join(urllib.parse.quote_plus(client[part]) for part in ("id", "secret"))
    return "Basic " + base64.b64encode(pair.encode()).decode()


class KeyManager:
    """Mints, revokes and introspects; loses all its tokens when it is started again."""

    def __init__(self, folder):
        [self.port] = free_ports(1)
        self.child = Child("key-manager", ["node", PROJECT / "server.mjs", self.port], folder)
        self.starts = 0
        self.minted = []

    def start(self):
        self.child.start()
        self.starts += 1
        wait_until(
            lambda: self.child.check_running() and self.lines("ready") == self.starts,
            "the key manager is ready",
        )

    def stop(self):
        self.child.stop()

    def freeze(self):
        """Lets connections stand open without an answer."""
        self.child.signal(signal.SIGSTOP)

    def thaw(self):
        self.child.signal(signal.SIGCONT)

    @property
    def introspection_url(self):
        return f"http://{LOOPBACK}:{self.port}/token/introspection"

    def mint(self, scope, client="app", **parameters):
        """A token by the client credentials grant."""
        form = {"grant_type": "client_credentials", "scope": scope, **parameters}
        answer = self._post("/token", CLIENTS[client], form)
        expect(answer.status, 200, f"the key manager's answer to {client}: {answer.body}")
        token = answer.json["access_token"]
        self.minted.append(token)
        return token

    def revoke(self, token):
        answer = self._post("/token/revocation", CLIENTS["app"], {"token": token})
        expect(answer.status, 200, f"the answer to a revocation: {answer.body}")

    def introspections(self):
        """How many introspection requests came in, counted by the server itself."""
        return self.lines("introspection")

    def is_alone(self):
        """Whether nobody has a connection to it. Those of an earlier start count as closed only
        when the server could still say so, so this is for a server that was not started again."""
        return self.lines("opened") == self.lines("closed")

    def lines(self, word):
        lines = self.child.output().splitlines()
        return sum(1 for line in lines if line.split(" ")[0] == word)

    def _post(self, target, client, form):
        headers = {
            "Authorization": form_encoded_basic(client),
            "Content-Type": "application/x-www-form-urlencoded",
        }
        return send(self.port, "POST", target, headers, urllib.parse.urlencode(form))
