"""Keycloak: a server of its own, with the realm of this folder and keys made for this run."""

import base64
import json
import os
import pathlib
import re
import subprocess
import urllib.parse

from child import Child
from report import expect
from wire import LOOPBACK, free_ports, send, wait_until

REALM = json.loads((pathlib.Path(__file__).parent / "realm.json").read_text())
SECRETS = {client["clientId"]: client.get("secret") for client in REALM["clients"]}
PASSWORDS = {user["username"]: user["credentials"][0]["value"] for user in REALM["users"]}
HEAP = "-Xms64m -Xmx512m"
# Both cores may be busy with something else.
START_SECONDS = 240
EVENT = re.compile(r'type="(?P<type>\w+)".*clientId="(?P<client>[^"]*)"')
RSA, CURVE, EDWARDS = "RS256", "ES256", "EdDSA"
OPENSSL = {
    RSA: ["-algorithm", "RSA", "-pkeyopt", "rsa_keygen_bits:2048"],
    CURVE: ["-algorithm", "EC", "-pkeyopt", "ec_paramgen_curve:P-256"],
    EDWARDS: ["-algorithm", "ed25519"],
}


class Keycloak:
    """Mints, revokes and introspects. Keeps sessions over a restart."""

    def __init__(self, home, folder):
        [self.port] = free_ports(1)
        self.folder = folder
        self.minted = []
        imports = home / "data" / "import"
        imports.mkdir(parents=True, exist_ok=True)
        self.keys = {algorithm: make_key(folder, algorithm) for algorithm in OPENSSL}
        (imports / "portcullis.json").write_text(json.dumps(realm_with(self.keys)))
        # `local`: no cluster, which would listen beyond loopback.
        command = [
            "env",
            f"JAVA_OPTS_KC_HEAP={HEAP}",
            home / "bin" / "kc.sh",
            "start",
            "--optimized",
            "--import-realm",
            "--cache=local",
            "--http-enabled=true",
            f"--http-host={LOOPBACK}",
            f"--http-port={self.port}",
            f"--hostname=http://{LOOPBACK}:{self.port}",
            "--spi-events-listener--jboss-logging--success-level=info",
        ]
        self.child = Child("keycloak", command, folder)

    def start(self):
        self.child.start()
        wait_until(
            lambda: self.child.check_running() and self._answers(),
            "Keycloak has its realm",
            START_SECONDS,
        )

    def stop(self):
        self.child.stop()

    @property
    def realm(self):
        return f"/realms/{REALM['realm']}"

    @property
    def issuer(self):
        return f"http://{LOOPBACK}:{self.port}{self.realm}"

    @property
    def endpoints(self):
        return f"{self.realm}/protocol/openid-connect"

    def url(self, endpoint):
        return f"http://{LOOPBACK}:{self.port}{self.endpoints}/{endpoint}"

    def grant(self, client, **form):
        """The answer of the token endpoint, whatever it is."""
        answer = self._post("token", client, form)
        if answer.status == 200:
            tokens = (answer.json.get(name) for name in ("access_token", "refresh_token"))
            self.minted += [token for token in tokens if token]
        return answer

    def mint(self, scope="orders.read", client="app"):
        """A token by the client credentials grant."""
        answer = self.grant(client, grant_type="client_credentials", scope=scope)
        expect(answer.status, 200, f"Keycloak's answer to {client}: {answer.body}")
        return answer.json["access_token"]

    def sign_in(self, user, client, scope):
        """Access and refresh token by the password grant."""
        answer = self.grant(
            client, grant_type="password", username=user, password=PASSWORDS[user], scope=scope
        )
        expect(answer.status, 200, f"Keycloak's answer to {user}: {answer.body}")
        return answer.json["access_token"], answer.json["refresh_token"]

    def revoke(self, token):
        answer = self._post("revoke", "app", {"token": token})
        expect(answer.status, 200, f"the answer to a revocation: {answer.body}")

    def sign_out(self, refresh_token, client="app"):
        """Ends the session that a refresh token belongs to, with all of its tokens."""
        answer = self._post("logout", client, {"refresh_token": refresh_token})
        expect(answer.status, 204, f"the answer to a logout: {answer.body}")

    def introspect(self, token, client):
        return self._post("token/introspect", client, {"token": token})

    def events(self, kind, client):
        """How many events of a kind its log has for a client."""
        found = filter(None, map(EVENT.search, self.child.output().splitlines()))
        return sum(1 for event in found if (event["type"], event["client"]) == (kind, client))

    def _answers(self):
        target = f"{self.realm}/.well-known/openid-configuration"
        try:
            return send(self.port, "GET", target).status == 200
        except OSError:
            return False

    def _post(self, endpoint, client, form):
        headers = {
            "Authorization": basic(client),
            "Content-Type": "application/x-www-form-urlencoded",
        }
        body = urllib.parse.urlencode(form)
        return send(self.port, "POST", f"{self.endpoints}/{endpoint}", headers, body)


def basic(client):
    """RFC 6749 §2.3.1: id and secret are form-encoded before they are put together."""
    pair = ":".join(urllib.parse.quote_plus(part) for part in (client, SECRETS[client]))
    return "Basic " + base64.b64encode(pair.encode()).decode()


def realm_with(keys):
    """The realm, with the public keys of the clients that sign."""
    realm = json.loads(json.dumps(REALM))
    for client in realm["clients"]:
        algorithm = client.get("attributes", {}).get("token.endpoint.auth.signing.alg")
        if algorithm:
            key_set = {"keys": [public_key(keys[algorithm], algorithm)]}
            client["attributes"]["jwks.string"] = json.dumps(key_set)
    return realm


def make_key(folder, algorithm):
    file = folder / f"{algorithm}.pem"
    with open(os.open(file, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "w") as stream:
        stream.write(openssl("genpkey", *OPENSSL[algorithm]).decode())
    return file


def public_key(file, algorithm):
    """The JWK of a private key's other half."""
    der = openssl("pkey", "-in", file, "-pubout", "-outform", "DER")
    key = {"kid": algorithm, "use": "sig", "alg": algorithm}
    if algorithm == RSA:
        text = openssl("rsa", "-in", file, "-noout", "-modulus").decode().strip()
        modulus = bytes.fromhex(text.removeprefix("Modulus="))
        return key | {"kty": "RSA", "n": encode(modulus), "e": "AQAB"}
    if algorithm == CURVE:
        # The point without compression ends the DER.
        x, y = der[-64:-32], der[-32:]
        return key | {"kty": "EC", "crv": "P-256", "x": encode(x), "y": encode(y)}
    return key | {"kty": "OKP", "crv": "Ed25519", "x": encode(der[-32:])}


def openssl(*arguments):
    command = ["openssl", *map(str, arguments)]
    return subprocess.run(command, check=True, capture_output=True, timeout=60).stdout


def encode(data):
    return base64.urlsafe_b64encode(data).rstrip(b"=").decode()
