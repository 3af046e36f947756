"""`[keyManager]`: where a gateway asks, and how it proves itself there."""

import json

from key_manager import CLIENTS


class Proof:
    """`tables` are the rest of `[keyManager]` and what is below it, for the name of the file that
    the secret is put into."""

    def __init__(self, tables, secret=None):
        self.tables = tables
        self.secret = secret


def at(url):
    return f'introspectUrl = "{url}"'


def issued_by(issuer):
    return f'issuer = "{issuer}"'


def trusting(authority, shown=None):
    """`[keymanager.tls]`: the authority, and the certificate to show with its key."""
    tables = f"\n    [keymanager.tls]\n    caFile = {quoted(authority)}"
    if shown:
        certificate, key = shown
        tables += f"\n    certFile = {quoted(certificate)}\n    keyFile = {quoted(key)}"
    return tables


def nothing(where):
    return Proof(lambda _: where)


def basic(where, client=CLIENTS["gateway"], secret=None, encoding="form"):
    def tables(file):
        return f"""{where}
    [keymanager.security.basic]
    enabled = true
    username = {quoted(client["id"])}
    password_file = {quoted(file)}
    credentialEncoding = "{encoding}"
"""

    return Proof(tables, secret or client["secret"])


def secret_post(where, client, secret=None):
    def tables(file):
        return f"""{where}
    [keymanager.security.clientSecretPost]
    clientId = {quoted(client["id"])}
    clientSecret_file = {quoted(file)}
"""

    return Proof(tables, secret or client["secret"])


def private_key_jwt(where, client_id, key, audience=None):
    audience = f"audience = {quoted(audience)}" if audience else ""
    return Proof(
        lambda _: f"""{where}
    [keymanager.security.privateKeyJwt]
    clientId = {quoted(client_id)}
    keyFile = {quoted(key)}
    keyId = {quoted(client_id)}
    {audience}
"""
    )


def certificate(where, client_id):
    """`where` has to name the certificate."""
    return Proof(
        lambda _: f"""{where}
    [keymanager.security.tlsClientAuth]
    clientId = {quoted(client_id)}
"""
    )


def own_token(where, token_url, client, bearer="AUTH_HEADER_BEARER", secret=None, scopes=None):
    def tables(file):
        return f"""{where}
    [keymanager.security.oauth2]
    enabled = true
    credentialBearer = "{bearer}"
    tokenUrl = "{token_url}"
        [keymanager.security.oauth2.clientCredential]
        enabled = true
        clientId = {quoted(client["id"])}
        clientSecret_file = {quoted(file)}
        scopes = "{scopes or "introspection"}"
"""

    return Proof(tables, secret or client["secret"])


def quoted(text):
    """A TOML string."""
    return json.dumps(str(text), ensure_ascii=False)
