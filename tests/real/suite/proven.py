"""The gateways of this suite: alike but for their proof and their memory."""

from gateway import Gateway, write_private
from wire import LOOPBACK, free_ports


class Options:
    """What differs between the gateways of the suite."""

    def __init__(self, max_ttl="60s", inactive_ttl="60s", stale_if_error="0s"):
        self.max_ttl = max_ttl
        self.inactive_ttl = inactive_ttl
        self.stale_if_error = stale_if_error


def configuration(options, addresses, key_manager, upstream_port, nobody):
    """The log is at its most talkative, since no level of it may show a token."""
    http, admin = addresses
    return f"""
[listen]
http = "{http}"

[admin]
listen = "{admin}"

[log]
level = "debug"
access = "json"

[keyManager]
timeout = "5s"
{key_manager}

[token_cache]
max_ttl = "{options.max_ttl}"
inactive_ttl = "{options.inactive_ttl}"
stale_if_error = "{options.stale_if_error}"

[[route]]
name = "orders-read"
path = "/orders/*"
methods = ["GET"]
upstream = "http://{LOOPBACK}:{upstream_port}"
scopes = ["orders.read"]

[route.identity_headers]
X-Auth-Client = "client_id"
X-Auth-Note = "note"
X-Auth-Tenant = "tenant"

[[route]]
name = "orders-write"
path = "/orders/*"
methods = ["POST"]
upstream = "http://{LOOPBACK}:{upstream_port}"
scopes = ["orders.read", "orders.write"]

[[route]]
name = "stock"
path = "/stock/*"
upstream = "http://{LOOPBACK}:{upstream_port}"
audience = ["urn:stock"]

[[route]]
name = "open"
path = "/open/*"
public = true
upstream = "http://{LOOPBACK}:{upstream_port}"

[[route]]
name = "nobody"
path = "/nobody/*"
upstream = "http://{LOOPBACK}:{nobody}"
"""


class Proven(Gateway):
    """`proof` says where it asks, and how it proves itself there."""

    def __init__(self, name, binary, folder, proof, upstream, options):
        self.proof = proof
        secret = folder / f"{name}.secret"
        if proof.secret is not None:
            write_private(secret, proof.secret + "\n")
        tables = proof.tables(secret.name)
        [nobody] = free_ports(1)

        def text(*addresses):
            return configuration(options, addresses, tables, upstream.port, nobody)

        super().__init__(name, binary, folder, text)

    def renewals(self, **labels):
        return super().renewals(grant="client_credentials", **labels)
