"""Gateways with routes for what every key manager can do, each with its own way to prove itself."""

import json

from gateway import Gateway, write_private
from wire import LOOPBACK


def without_credentials(url):
    def keys(_folder, _name):
        return f'introspectUrl = "{url}"\ntimeout = "5s"'

    return keys


def basic(url, name, secret):
    def keys(folder, door):
        file = folder / f"{door}.secret"
        write_private(file, secret + "\n")
        return f"""
introspectUrl = "{url}"
timeout = "5s"
    [keymanager.security.basic]
        enabled = true
        username = {json.dumps(name)}
        password_file = "{file.name}"
"""

    return keys


class OwnToken:
    """The tables of `[keymanager.security.oauth2]`; the client's secret is in a file."""

    def __init__(self, introspection_url, token_url, client, secret, scopes):
        self.introspection_url = introspection_url
        self.token_url = token_url
        self.client = client
        self.secret = secret
        self.scopes = scopes
        self.bearer = "AUTH_HEADER_BEARER"
        self.encoding = "form"
        # User name and password, where the password grant is to be used, with refresh tokens.
        self.person = None

    def __call__(self, folder, name):
        file = folder / f"{name}.secret"
        write_private(file, self.secret + "\n")
        return f"""
introspectUrl = "{self.introspection_url}"
timeout = "5s"
    [keymanager.security.oauth2]
        enabled = true
        credentialBearer = "{self.bearer}"
        credentialEncoding = "{self.encoding}"
        tokenUrl = "{self.token_url}"
        {self._grant(file.name)}
"""

    def _grant(self, secret_file):
        client = f"""
            enabled = true
            clientId = {json.dumps(self.client)}
            clientSecret_file = "{secret_file}"
            scopes = "{self.scopes}"
"""
        if self.person is None:
            return f"[keymanager.security.oauth2.clientCredential]{client}"
        name, password = map(json.dumps, self.person)
        return f"""[keymanager.security.oauth2.password]{client}
            username = {name}
            password = {password}
        [keymanager.security.oauth2.refresh]
            enabled = true
"""


def configuration(addresses, keys, upstream, max_ttl, inactive_ttl):
    """The log is at its most talkative, since no level of it may show a token."""
    http, admin = addresses
    upstream = f'upstream = "http://{LOOPBACK}:{upstream.port}"'
    return f"""
[listen]
http = "{http}"

[admin]
listen = "{admin}"

[log]
level = "debug"
access = "json"

[keyManager]
{keys}

[token_cache]
max_ttl = "{max_ttl}"
inactive_ttl = "{inactive_ttl}"

[[route]]
name = "orders-read"
path = "/orders/*"
methods = ["GET"]
scopes = ["orders.read"]
{upstream}

[route.identity_headers]
X-Auth-Client = "client_id"
X-Auth-Note = "ext"
X-Auth-Tenant = "sub"

[[route]]
name = "orders-write"
path = "/orders/*"
methods = ["POST"]
scopes = ["orders.read", "orders.write"]
{upstream}

[[route]]
name = "stock"
path = "/stock/*"
audience = ["urn:stock"]
{upstream}
"""


class Door(Gateway):
    """A gateway; `ready`: whether it is to become ready."""

    def __init__(
        self, name, binary, folder, upstream, keys, ready=True, max_ttl="10m", inactive_ttl="60s"
    ):
        self.ready = ready
        tables = keys(folder, name)

        def text(*addresses):
            return configuration(addresses, tables, upstream, max_ttl, inactive_ttl)

        super().__init__(name, binary, folder, text)

    def start(self):
        if self.ready:
            super().start()
        else:
            self.child.start()

    def renewals(self, grant="client_credentials", **labels):
        return super().renewals(grant=grant, **labels)
