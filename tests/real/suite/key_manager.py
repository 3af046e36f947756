"""The key manager: oidc-provider in a process of its own."""

import base64
import json
import pathlib
import signal
import ssl
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

    def __init__(self, folder, name="key-manager", clients=None, tls=None):
        """`clients`: more than those of the file. `tls`: files of key, certificate, authority."""
        [self.port] = free_ports(1)
        settings = folder / f"{name}.json"
        settings.write_text(json.dumps({"clients": clients or {}, "tls": tls}))
        command = ["node", PROJECT / "server.mjs", self.port, settings]
        self.child = Child(name, command, folder)
        self.tls = ssl.create_default_context(cafile=tls["authority"]) if tls else None
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
    def issuer(self):
        return f"{'https' if self.tls else 'http'}://{LOOPBACK}:{self.port}"

    @property
    def introspection_url(self):
        return f"{self.issuer}/token/introspection"

    @property
    def token_url(self):
        return f"{self.issuer}/token"

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
        return len(self.told(word))

    def told(self, word):
        """What follows the word on each line that begins with it."""
        parts = [line.partition(" ") for line in self.child.output().splitlines()]
        return [rest for first, _, rest in parts if first == word]

    def secrets(self):
        """All tokens that it gave out, and all statements that clients proved themselves with."""
        return {*self.minted, *self.told("issued"), *self.told("assertion")}

    def _post(self, target, client, form):
        headers = {
            "Authorization": form_encoded_basic(client),
            "Content-Type": "application/x-www-form-urlencoded",
        }
        body = urllib.parse.urlencode(form)
        return send(self.port, "POST", target, headers, body, self.tls)
