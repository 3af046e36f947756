"""Tokens and key sets of PyJWT, which knows nothing of the gateway, through its front door.

    python3 tests/real/edge/jwt_suite.py BINARY FOLDER

Started by ../jwt.sh.
"""

import base64
import hashlib
import hmac
import http.client
import http.server
import json
import pathlib
import subprocess
import sys
import threading
import time

import jwt
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import ec, ed25519, rsa
from jwt.algorithms import ECAlgorithm, OKPAlgorithm, RSAAlgorithm
from wire import free_ports

SECONDS = 20
ALGORITHMS = {"rsa": ["RS256", "RS384", "RS512", "PS256", "PS384", "PS512"], "p256": ["ES256"], "p384": ["ES384"],
              "ed25519": ["EdDSA"]}
MAKERS = {"rsa": lambda: rsa.generate_private_key(65537, 2048), "p256": lambda: ec.generate_private_key(ec.SECP256R1()),
          "p384": lambda: ec.generate_private_key(ec.SECP384R1()), "ed25519": ed25519.Ed25519PrivateKey.generate}
JWK = {"rsa": RSAAlgorithm, "p256": ECAlgorithm, "p384": ECAlgorithm, "ed25519": OKPAlgorithm}


class Issuer:
    """Keys by their names, and a server for those that are published."""

    def __init__(self):
        self.keys = {name: make() for name, make in MAKERS.items()}
        self.kinds = {name: name for name in MAKERS}
        self.published = list(MAKERS)
        self.asked = 0
        outer = self

        class Handler(http.server.BaseHTTPRequestHandler):
            def do_GET(self):
                body = outer.answer(self.path)
                self.send_response(200)
                self.send_header("Content-Length", str(len(body)))
                self.end_headers()
                self.wfile.write(body)

            def log_message(self, *_):
                pass

        self.server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.name = f"http://127.0.0.1:{self.server.server_address[1]}"
        threading.Thread(target=self.server.serve_forever, daemon=True).start()

    def answer(self, path):
        if path == "/.well-known/openid-configuration":
            return json.dumps({"issuer": self.name, "jwks_uri": f"{self.name}/keys"}).encode()
        self.asked += 1
        keys = [JWK[self.kinds[name]].to_jwk(self.keys[name].public_key(), as_dict=True) | {"kid": name, "use": "sig"}
                for name in self.published]
        return json.dumps({"keys": keys}).encode()

    def add(self, name, kind):
        self.keys[name], self.kinds[name] = MAKERS[kind](), kind

    def token(self, key, algorithm, headers=None, **change):
        now = int(time.time())
        claims = {"iss": self.name, "sub": "joe", "azp": "shop", "aud": ["orders"], "scope": "orders.read",
                  "iat": now, "exp": now + 300, **change}
        claims = {name: value for name, value in claims.items() if value is not None}
        return jwt.encode(claims, self.keys[key], algorithm, headers={"kid": key, **(headers or {})})


class Upstream:
    """Answers with the JWT that the gateway made for it."""

    def __init__(self):
        class Handler(http.server.BaseHTTPRequestHandler):
            def do_GET(self):
                body = (self.headers.get("X-JWT-Assertion") or "none").encode()
                self.send_response(200)
                self.send_header("Content-Length", str(len(body)))
                self.end_headers()
                self.wfile.write(body)

            def log_message(self, *_):
                pass

        self.server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.address = f"127.0.0.1:{self.server.server_address[1]}"
        threading.Thread(target=self.server.serve_forever, daemon=True).start()


class Gateway:
    def __init__(self, binary, folder, issuer, key, upstream):
        self.port, self.admin = free_ports(2)
        names = json.dumps([name for names in ALGORITHMS.values() for name in names])
        file = pathlib.Path(folder) / f"{self.port}.toml"
        pem = pathlib.Path(folder) / f"{self.port}.pem"
        pem.touch(0o600)
        pem.write_bytes(key.private_bytes(serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8,
                                          serialization.NoEncryption()))
        file.write_text(
            f'[listen]\nhttp = "127.0.0.1:{self.port}"\n[admin]\nlisten = "127.0.0.1:{self.admin}"\n'
            f'[[jwt_issuer]]\nissuer = "{issuer.name}"\naudience = "orders"\nalgorithms = {names}\n'
            f'[backend_jwt]\nissuer = "gateway"\naudience = "backend"\nkey_id = "own"\nkey_file = "{pem}"\n'
            f'[[route]]\npath = "/told"\nupstream = "http://{upstream.address}"\n'
            '[[route]]\npath = "/orders"\nscopes = ["orders.read"]\n'
            'respond = { status = 200, body = "here" }\n')
        self.child = subprocess.Popen([binary, "run", str(file)], stdout=subprocess.DEVNULL,
                                      stderr=subprocess.DEVNULL)
        end = time.time() + SECONDS
        while self.ready() != 200:
            assert time.time() < end and self.child.poll() is None, "the gateway is not ready"
            time.sleep(0.02)

    def ready(self):
        try:
            return self.ask(self.admin, "/readyz")[0]
        except OSError:
            return None

    @staticmethod
    def ask(port, path, headers=None):
        connection = http.client.HTTPConnection("127.0.0.1", port, timeout=SECONDS)
        try:
            connection.request("GET", path, headers=headers or {})
            answer = connection.getresponse()
            return answer.status, answer.read()
        finally:
            connection.close()

    def get(self, token):
        """Status and reason."""
        status, body = self.ask(self.port, "/orders", {"Authorization": f"Bearer {token}"})
        return (status, "") if status == 200 else (status, json.loads(body)["reason"])

    def told(self, token):
        """The JWT that the upstream gets."""
        status, body = self.ask(self.port, "/told", {"Authorization": f"Bearer {token}", "X-JWT-Assertion": "forged"})
        assert status == 200, status
        return body.decode()

    def stop(self):
        self.child.terminate()
        self.child.wait(SECONDS)


def encode(value):
    return base64.urlsafe_b64encode(value).rstrip(b"=").decode()


def confused(issuer):
    """HS256 with the public key of the issuer as the secret, which PyJWT itself refuses to make."""
    pem = issuer.keys["rsa"].public_key().public_bytes(serialization.Encoding.PEM,
                                                       serialization.PublicFormat.SubjectPublicKeyInfo)
    claims = issuer.token("rsa", "RS256").split(".")[1]
    message = encode(json.dumps({"alg": "HS256", "typ": "JWT", "kid": "rsa"}).encode()) + "." + claims
    return message + "." + encode(hmac.new(pem, message.encode(), hashlib.sha256).digest())


def unsigned(issuer):
    claims = issuer.token("rsa", "RS256").split(".")[1]
    return encode(b'{"alg":"none","typ":"JWT"}') + "." + claims + "."


def flipped(token):
    """Another first letter in the signature."""
    head, _, signature = token.rpartition(".")
    return f"{head}.{'B' if signature[0] == 'A' else 'A'}{signature[1:]}"


def cases(issuer, gateway):
    for key, names in ALGORITHMS.items():
        for name in names:
            token = issuer.token(key, name)
            yield f"{name}: passes, and again from the cache", [(token, (200, "")), (token, (200, ""))]
            yield f"{name}: a changed signature", [(flipped(token), (401, "jwt_bad_signature"))]
    good = lambda **change: issuer.token("p256", "ES256", **change)
    now = int(time.time())
    yield "at+jwt", [(good(headers={"typ": "at+jwt"}), (200, ""))]
    yield "aud as a string", [(good(aud="orders"), (200, ""))]
    yield "another audience", [(good(aud=["stock"]), (401, "audience_mismatch"))]
    yield "no audience", [(good(aud=None), (401, "audience_mismatch"))]
    yield "expired", [(good(exp=now - 60), (401, "expired"))]
    yield "not valid yet", [(good(nbf=now + 60), (401, "not_yet_valid"))]
    yield "no end", [(good(exp=None), (401, "jwt_malformed"))]
    yield "another scope", [(good(scope="other"), (403, "insufficient_scope"))]
    yield "scp as a list", [(good(scope=None, scp=["orders.read"]), (200, ""))]
    yield "an id token", [(good(nonce="n"), (401, "wrong_token_type"))]
    yield "a logout token", [(good(headers={"typ": "logout+jwt"}), (401, "wrong_token_type"))]
    yield "bound to a key", [(good(cnf={"jkt": "x"}), (401, "wrong_token_type"))]
    yield "crit", [(good(headers={"crit": ["exp"]}), (401, "jwt_malformed"))]
    yield "another issuer", [(good(iss="https://other.example"), (401, "unknown_issuer"))]
    yield "none", [(unsigned(issuer), (401, "jwt_algorithm"))]
    yield "HS256 with the public key as the secret", [(confused(issuer), (401, "jwt_algorithm"))]
    yield "the name of a key of another kind", [(good(headers={"kid": "rsa"}), (401, "jwt_algorithm"))]
    stranger = Issuer()
    stranger.name = issuer.name
    own = {"jku": f"{stranger.name}/keys", "jwk": {"kty": "oct", "k": "AAAA"}}
    yield "somebody else's key of the same name", [(stranger.token("p256", "ES256"), (401, "jwt_bad_signature"))]
    yield "a token that says where its key is", [(stranger.token("p256", "ES256", headers=own),
                                                 (401, "jwt_bad_signature"))]


def rotation(issuer, gateway):
    """One more request for the keys, and what was signed by the one that is gone goes with it."""
    old = issuer.token("p256", "ES256")
    assert gateway.get(old) == (200, ""), "the old key"
    asked = issuer.asked
    issuer.add("next", "p256")
    issuer.published = ["rsa", "next"]
    for number in range(20):
        got = gateway.get(issuer.token("next", "ES256", sub=f"user-{number}"))
        assert got == (200, ""), got
    assert issuer.asked == asked + 1, f"asked {issuer.asked - asked} times"
    got = gateway.get(old)
    assert got == (401, "jwt_unknown_key"), got


def backend(issuer, binary, folder, upstream, kind, algorithm):
    """PyJWT verifies what the gateway signs."""
    key = MAKERS[kind]()
    gateway = Gateway(binary, folder, issuer, key, upstream)
    try:
        token = issuer.token("p256", "ES256", name="Jörg", roles=["a", "b"], level=7)
        told = gateway.told(token)
        assert jwt.get_unverified_header(told) == {"typ": "JWT", "alg": algorithm, "kid": "own"}
        claims = jwt.decode(told, key.public_key(), [algorithm], audience="backend", issuer="gateway",
                            options={"require": ["exp", "iat", "iss", "sub", "aud", "jti"]})
        wanted = {"sub": "joe", "azp": "shop", "client_id": "shop", "scope": "orders.read", "name": "Jörg",
                  "roles": ["a", "b"], "level": 7, "http://wso2.org/claims/enduser": "joe"}
        got = {name: claims.get(name) for name in wanted}
        assert got == wanted, got
        assert gateway.told(token) == told, "it is made once"
    finally:
        gateway.stop()


def check(gateway, steps):
    for token, wanted in steps:
        got = gateway.get(token)
        assert got == wanted, f"{got}, not {wanted}"


def main(binary, folder):
    issuer = Issuer()
    upstream = Upstream()
    gateway = Gateway(binary, folder, issuer, MAKERS["rsa"](), upstream)
    passed, failed = 0, 0
    try:
        named = [(name, lambda steps=steps: check(gateway, steps)) for name, steps in cases(issuer, gateway)]
        for kind, algorithm in [("rsa", "RS256"), ("p256", "ES256"), ("ed25519", "EdDSA")]:
            named.append((f"a JWT for the upstream, {algorithm}", lambda kind=kind, algorithm=algorithm: backend(
                issuer, binary, folder, upstream, kind, algorithm)))
        named.append(("a rotation of keys", lambda: rotation(issuer, gateway)))
        for name, case in named:
            try:
                case()
                passed += 1
                print(f"ok    {name}")
            except AssertionError as fault:
                failed += 1
                print(f"FAIL  {name}: {fault}")
    finally:
        gateway.stop()
    print(f"{passed} passed, {failed} failed")
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main(*sys.argv[1:]))
