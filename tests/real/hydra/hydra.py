"""Ory Hydra with opaque tokens, a database in a file, and the clients of this suite."""

import base64
import json
import secrets
import signal
import subprocess
import urllib.parse

from child import Child
from report import Failed, expect
from wire import LOOPBACK, free_ports, send, wait_until

MIGRATION_SECONDS = 120
FORM = "application/x-www-form-urlencoded"
# Every character here is one that form-encoding changes; the gateway must do so, and only once.
SECRET = "s3c+ret %2B/&:=ü"
CALLBACK = "http://127.0.0.1/callback"

# What the gateway's own tokens live where they are to be renewed often.
SHORT_LIFE = "3s"

CLIENTS = {
    "app": {"scope": "orders.read orders.write", "audience": ["urn:stock", "urn:others"]},
    "hasty": {"scope": "orders.read", "life": "4s"},
    "web": {
        "scope": "orders.read offline_access",
        "grant_types": ["authorization_code", "refresh_token"],
        "response_types": ["code"],
        "redirect_uris": [CALLBACK],
    },
    "gw:basic@x": {"scope": "introspection", "life": SHORT_LIFE},
    "gw:post@x": {
        "scope": "introspection",
        "life": SHORT_LIFE,
        "token_endpoint_auth_method": "client_secret_post",
    },
    "gw:lasting@x": {"scope": "introspection", "life": "1h"},
}


def configuration(public, admin, folder):
    return f"""
dsn: "sqlite://{folder}/hydra.sqlite?_fk=true"
serve:
  public: {{ host: "{LOOPBACK}", port: {public} }}
  admin: {{ host: "{LOOPBACK}", port: {admin} }}
urls:
  self: {{ issuer: "http://{LOOPBACK}:{public}" }}
  login: "http://{LOOPBACK}/login"
  consent: "http://{LOOPBACK}/consent"
secrets: {{ system: ["{secrets.token_hex(16)}"] }}
strategies: {{ access_token: opaque }}
ttl: {{ access_token: 1h }}
log: {{ level: warn, format: json }}
sqa: {{ opt_out: true }}
"""


class Hydra:
    """Mints, revokes and introspects; keeps its tokens when it is started again."""

    def __init__(self, binary, folder):
        self.port, self.admin = free_ports(2)
        self.folder = folder
        file = folder / "hydra.yml"
        file.write_text(configuration(self.port, self.admin, folder))
        self.binary = binary
        self.file = file
        # `--dev`: without TLS.
        self.child = Child("hydra", [binary, "serve", "all", "--dev", "-c", file], folder)
        self.minted = []
        self.is_new = True

    def start(self):
        if self.is_new:
            self._migrate()
        self.child.start()
        wait_until(lambda: self.child.check_running() and self._is_ready(), "Hydra is ready")
        if self.is_new:
            for name, client in CLIENTS.items():
                self._create(name, client)
        self.is_new = False

    def stop(self):
        self.child.stop()

    def freeze(self):
        self.child.signal(signal.SIGSTOP)

    def thaw(self):
        self.child.signal(signal.SIGCONT)

    @property
    def introspection_url(self):
        return f"http://{LOOPBACK}:{self.admin}/admin/oauth2/introspect"

    @property
    def token_url(self):
        return f"http://{LOOPBACK}:{self.port}/oauth2/token"

    def mint(self, scope, client="app", **parameters):
        """An access token by the client credentials grant."""
        form = {"grant_type": "client_credentials", "scope": scope, **parameters}
        return self._token(client, form)["access_token"]

    def refresh(self, client, refresh_token):
        form = {"grant_type": "refresh_token", "refresh_token": refresh_token}
        return self._token(client, form)

    def log_in(self, subject, extra, client="web"):
        """Access and refresh token of a person, by the code grant; this suite is the login and
        consent application, and puts `extra` into the access token's session."""
        query = urllib.parse.urlencode(
            {
                "client_id": client,
                "response_type": "code",
                "redirect_uri": CALLBACK,
                "scope": "orders.read offline_access",
                "state": secrets.token_urlsafe(),
            }
        )
        cookies = {}
        place = self._visit(f"/oauth2/auth?{query}", cookies)
        place = self._accept("login", place, {"subject": subject})
        place = self._visit(place, cookies)
        consent = {
            "grant_scope": ["orders.read", "offline_access"],
            "session": {"access_token": extra},
        }
        place = self._accept("consent", place, consent)
        [code] = parameters_of(self._visit(place, cookies), "code")
        form = {"grant_type": "authorization_code", "code": code, "redirect_uri": CALLBACK}
        return self._token(client, form)

    def revoke(self, token, client="app"):
        """RFC 7009, at the public port."""
        answer = self._post("/oauth2/revoke", client, {"token": token})
        expect(answer.status, 200, f"the answer to a revocation: {answer.body}")

    def delete_tokens_of(self, client):
        target = "/admin/oauth2/tokens?" + urllib.parse.urlencode({"client_id": client})
        expect(send(self.admin, "DELETE", target).status, 204, "the answer to a deletion")

    def introspect(self, token):
        form = urllib.parse.urlencode({"token": token})
        target = "/admin/oauth2/introspect"
        return send(self.admin, "POST", target, {"Content-Type": FORM}, form).json

    def metadata(self):
        return send(self.port, "GET", "/.well-known/openid-configuration").json

    def _migrate(self):
        command = [self.binary, "migrate", "sql", "up", "-e", "--yes", "-c", self.file]
        done = subprocess.run(
            [str(part) for part in command],
            env={"DSN": f"sqlite://{self.folder}/hydra.sqlite?_fk=true"},
            capture_output=True,
            text=True,
            timeout=MIGRATION_SECONDS,
            check=False,
        )
        if done.returncode:
            raise Failed(f"no migration: {done.stdout[-800:]} {done.stderr[-800:]}")

    def _is_ready(self):
        try:
            return send(self.admin, "GET", "/health/ready").status == 200
        except OSError:
            return False

    def _create(self, name, client):
        client = dict(client)
        life = client.pop("life", None)
        body = {
            "client_id": name,
            "client_secret": SECRET,
            "grant_types": ["client_credentials"],
            "token_endpoint_auth_method": "client_secret_basic",
            "client_credentials_grant_access_token_lifespan": life,
            **client,
        }
        headers = {"Content-Type": "application/json"}
        answer = send(self.admin, "POST", "/admin/clients", headers, json.dumps(body).encode())
        expect(answer.status, 201, f"the answer to the client {name}: {answer.body}")
        if life:
            target = f"/admin/clients/{urllib.parse.quote(name)}/lifespans"
            body = {"client_credentials_grant_access_token_lifespan": life}
            answer = send(self.admin, "PUT", target, headers, json.dumps(body).encode())
            expect(answer.status, 200, f"the answer to the life of {name}: {answer.body}")

    def _visit(self, place, cookies):
        """One step of a browser; returns where it is sent next."""
        address = urllib.parse.urlsplit(place)
        cookie = "; ".join(f"{name}={value}" for name, value in cookies.items())
        target = f"{address.path}?{address.query}"
        answer = send(self.port, "GET", target, {"Cookie": cookie})
        expect(answer.status in (302, 303), True, f"whether {answer} leads on")
        for line in answer.headers.get_all("Set-Cookie", []):
            name, _, value = line.partition(";")[0].partition("=")
            cookies[name] = value
        return answer.header("Location")

    def _accept(self, kind, place, decision):
        [challenge] = parameters_of(place, f"{kind}_challenge")
        query = urllib.parse.urlencode({f"{kind}_challenge": challenge})
        target = f"/admin/oauth2/auth/requests/{kind}/accept?{query}"
        headers = {"Content-Type": "application/json"}
        answer = send(self.admin, "PUT", target, headers, json.dumps(decision).encode())
        expect(answer.status, 200, f"the answer to a {kind}: {answer.body}")
        return answer.json["redirect_to"]

    def _token(self, client, form):
        answer = self._post("/oauth2/token", client, form)
        expect(answer.status, 200, f"Hydra's answer to {client}: {answer.body}")
        tokens = answer.json
        self.minted += [
            tokens[kind] for kind in ("access_token", "refresh_token") if kind in tokens
        ]
        return tokens

    def _post(self, target, client, form):
        pair = ":".join(urllib.parse.quote_plus(part) for part in (client, SECRET))
        authorization = "Basic " + base64.b64encode(pair.encode()).decode()
        headers = {"Authorization": authorization, "Content-Type": FORM}
        return send(self.port, "POST", target, headers, urllib.parse.urlencode(form))


def parameters_of(place, name):
    values = urllib.parse.parse_qs(urllib.parse.urlsplit(place).query).get(name)
    if not values:
        raise Failed(f"{place} has no {name}")
    return values
