"""Gateways that ask Keycloak, each with tables of its own for the key manager."""

import json

from gateway import Gateway, write_private
from server import PASSWORDS, SECRETS
from wire import LOOPBACK


def configuration(addresses, key_manager, upstream_port, max_ttl):
    http, admin = addresses
    return f"""
[listen]
http = "{http}"

[admin]
listen = "{admin}"

# At its most talkative, since no level of it may show a token.
[log]
level = "debug"
access = "json"

[token_cache]
max_ttl = "{max_ttl}"
inactive_ttl = "1s"

[keyManager]
timeout = "5s"
{key_manager}

[[route]]
name = "orders-read"
path = "/orders/*"
methods = ["GET"]
upstream = "http://{LOOPBACK}:{upstream_port}"
scopes = ["orders.read"]

[route.identity_headers]
X-Auth-Client = "client_id"

[[route]]
name = "orders-write"
path = "/orders/*"
methods = ["POST"]
upstream = "http://{LOOPBACK}:{upstream_port}"
scopes = ["orders.write"]

[[route]]
name = "audience"
path = "/audience/*"
upstream = "http://{LOOPBACK}:{upstream_port}"
audience = ["gateway"]
"""


class Edge(Gateway):
    """A gateway whose key manager is told by `tables`: the rest of `[keyManager]` and below."""

    def __init__(self, name, binary, folder, upstream, tables, max_ttl="60s"):
        def text(*addresses):
            return configuration(addresses, tables, upstream.port, max_ttl)

        super().__init__(name, binary, folder, text)


def quoted(text):
    """A TOML string."""
    return json.dumps(text, ensure_ascii=False)


CLIENT = f"""
        enabled = true
        clientId = "gateway"
        clientSecret = {quoted(SECRETS["gateway"])}
"""


def basic(at, password=SECRETS["gateway"], encoding="form"):
    return f"""
{at}
    [keymanager.security.basic]
    username = "gateway"
    password = {quoted(password)}
    credentialEncoding = "{encoding}"
"""


def secret_post(at):
    return f"""
{at}
    [keymanager.security.clientSecretPost]
    clientId = "gateway"
    clientSecret = {quoted(SECRETS["gateway"])}
"""


def private_key_jwt(at, client, key, key_id, audience=None):
    audience = f"audience = {quoted(audience)}" if audience else ""
    return f"""
{at}
    [keymanager.security.privateKeyJwt]
    clientId = "{client}"
    keyFile = {quoted(str(key))}
    keyId = "{key_id}"
    {audience}
"""


def oauth2(at, token_url, grant, bearer="AUTH_HEADER_BEARER", state_file=None):
    state = f"stateFile = {quoted(str(state_file))}" if state_file else ""
    return f"""
{at}
    [keymanager.security.oauth2]
    enabled = true
    credentialBearer = "{bearer}"
    tokenUrl = "{token_url}"
    {state}
{grant}
"""


# `openid`: without it Keycloak's userinfo endpoint answers 403.
CLIENT_CREDENTIALS = f"""
        [keymanager.security.oauth2.clientCredential]
{CLIENT}
        scopes = "openid"
"""

PASSWORD = f"""
        [keymanager.security.oauth2.password]
{CLIENT}
        scopes = "openid"
        username = "edge"
        password = {quoted(PASSWORDS["edge"])}
"""

REFRESH = """
        [keymanager.security.oauth2.refresh]
        enabled = true
"""


def direct(access_token, refresh_token):
    return f"""
        [keymanager.security.oauth2.directToken]
        enabled = true
        accessToken = "{access_token}"
        [keymanager.security.oauth2.refresh]
{CLIENT}
        refreshToken = "{refresh_token}"
"""
