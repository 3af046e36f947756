"""django-oauth-toolkit in a process of its own."""

import base64
import json
import pathlib
import urllib.parse

from child import Child
from report import expect
from wire import LOOPBACK, accepts, free_ports, send, wait_until

FORM = "application/x-www-form-urlencoded"
SECRET = "s3c+ret %2B/&:=ü"
PERSON = ("us er", "pä&ss+")
SHORT_LIFE = 3


def client(grant, life):
    return {"secret": SECRET, "grant": grant, "life": life}


CLIENTS = {
    "app": client("client-credentials", 3600),
    "gw:short@x": client("client-credentials", SHORT_LIFE),
    "gw:lasting@x": client("client-credentials", 3600),
    "gw:person@x": client("password", SHORT_LIFE),
}


class Provider:
    def __init__(self, python, folder):
        [self.port] = free_ports(1)
        server = pathlib.Path(__file__).with_name("server.py")
        command = [python, server, self.port, folder, json.dumps(CLIENTS)]
        self.child = Child("provider", command, folder)
        self.minted = []

    def start(self):
        self.child.start()
        wait_until(lambda: self.child.check_running() and accepts(self.port), "the provider is up")

    def stop(self):
        self.child.stop()

    @property
    def introspection_url(self):
        return f"http://{LOOPBACK}:{self.port}/o/introspect/"

    @property
    def token_url(self):
        return f"http://{LOOPBACK}:{self.port}/o/token/"

    def mint(self, scope, client="app"):
        answer = self._post("/o/token/", client, grant_type="client_credentials", scope=scope)
        expect(answer.status, 200, f"the answer to {client}: {answer.body}")
        self.minted.append(answer.json["access_token"])
        return self.minted[-1]

    def revoke(self, token):
        answer = self._post("/o/revoke_token/", "app", token=token)
        expect(answer.status, 200, f"the answer to a revocation: {answer.body}")

    def introspect(self, authorization, token):
        headers = {"Content-Type": FORM}
        if authorization:
            headers["Authorization"] = authorization
        form = urllib.parse.urlencode({"token": token})
        return send(self.port, "POST", "/o/introspect/", headers, form)

    def _post(self, target, client, **form):
        pair = ":".join(urllib.parse.quote_plus(part) for part in (client, SECRET))
        authorization = "Basic " + base64.b64encode(pair.encode()).decode()
        headers = {"Authorization": authorization, "Content-Type": FORM}
        return send(self.port, "POST", target, headers, urllib.parse.urlencode(form))
