"""TLS towards the key manager: whom the gateway trusts, and the certificate that it shows."""

from cases_credentials import CLIENT_REFUSED
from cases_operator import NO_PERMISSION, UNAVAILABLE, ended
from checks import passed, refused
from proofs import at, basic, certificate, issued_by, nothing, private_key_jwt, trusting
from report import expect_in
from wire import wait_until

UNREACHABLE = "introspection_unreachable"


def asks(world, shown=None, host="127.0.0.1"):
    """Where a gateway asks that trusts the right authority."""
    url = world.safe_key_manager.introspection_url.replace("127.0.0.1", host)
    return at(url) + trusting(world.keys.authority[0], shown)


def passes(world, gateway):
    for _ in range(2):
        passed(gateway.get(world.safe_key_manager.mint("orders.read")))
    ended(gateway.check("--online"), 0)


def is_not_reached(world, gateway, cause):
    answer = gateway.get(world.safe_key_manager.mint("orders.read"))
    refused(answer, 503, UNREACHABLE, retry_after=True)
    wait_until(lambda: cause in gateway.child.err.read_text(), f"the log says {cause}", 10)
    result = gateway.check("--online")
    ended(result, UNAVAILABLE)
    expect_in("caFile", result.stderr, "the hint")


def is_refused(world, gateway):
    answer = gateway.get(world.safe_key_manager.mint("orders.read"))
    refused(answer, 503, CLIENT_REFUSED, retry_after=True)
    ended(gateway.check("--online"), NO_PERMISSION)


def trusted_authority(world):
    passes(world, world.open("trusting", basic(asks(world))))


def unknown_authority(world):
    proof = basic(at(world.safe_key_manager.introspection_url))
    is_not_reached(world, world.open("distrusting", proof), "UnknownIssuer")


def other_authority(world):
    """An authority of the operator's own stands for all others."""
    where = at(world.safe_key_manager.introspection_url) + trusting(world.keys.alone[0])
    is_not_reached(world, world.open("misled", basic(where)), "UnknownIssuer")


def wrong_name(world):
    proof = basic(asks(world, host="localhost"))
    is_not_reached(world, world.open("misnamed", proof), "not valid for name")


def found_over_tls(world):
    """Both ways lead through TLS: that to the metadata and that to the endpoint."""
    where = issued_by(world.safe_key_manager.issuer) + trusting(world.keys.authority[0])
    key, _ = world.keys.signing["EdDSA"]
    proof = private_key_jwt(where, world.clients.by_key("EdDSA"), key)
    passes(world, world.open("safe-finder", proof))


def self_signed_certificate(world):
    proof = certificate(asks(world, world.keys.alone), world.clients.SELF_SIGNED)
    passes(world, world.open("shows-self-signed", proof))


def certificate_of_an_authority(world):
    proof = certificate(asks(world, world.keys.member), world.clients.OF_AUTHORITY)
    passes(world, world.open("shows-of-authority", proof))


def no_certificate(world):
    """The name alone, since `tlsClientAuth` without a certificate does not even start."""
    for client_id in (world.clients.SELF_SIGNED, world.clients.OF_AUTHORITY):
        name = f'extraParams = {{ client_id = "{client_id}" }}\n'
        is_refused(world, world.open(f"shows-nothing-{client_id}", nothing(name + asks(world))))


def unregistered_certificate(world):
    proof = certificate(asks(world, world.keys.unknown), world.clients.SELF_SIGNED)
    is_refused(world, world.open("shows-unregistered", proof))


def certificate_of_nobody(world):
    """The right name on it, and signed by no authority that the server trusts."""
    proof = certificate(asks(world, world.keys.impostor), world.clients.OF_AUTHORITY)
    is_refused(world, world.open("shows-impostor", proof))


CASES = [
    ("TLS: the authority in caFile, 200", trusted_authority),
    (f"TLS: an unknown authority, 503 {UNREACHABLE}", unknown_authority),
    (f"TLS: another authority in caFile, 503 {UNREACHABLE}", other_authority),
    (f"TLS: a certificate for another name, 503 {UNREACHABLE}", wrong_name),
    ("TLS: discovery and private_key_jwt, 200", found_over_tls),
    ("mutual TLS: a self-signed certificate that is registered, 200", self_signed_certificate),
    ("mutual TLS: a certificate of an authority, 200", certificate_of_an_authority),
    (f"mutual TLS: no certificate, 503 {CLIENT_REFUSED}", no_certificate),
    (f"mutual TLS: an unregistered certificate, 503 {CLIENT_REFUSED}", unregistered_certificate),
    (f"mutual TLS: the right name, signed by itself, 503 {CLIENT_REFUSED}", certificate_of_nobody),
]
