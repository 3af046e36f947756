"""How the gateway proves itself with a secret in the form, and with signed statements."""

from cases_operator import NO_PERMISSION, ended
from checks import passed, refused
from key_manager import CLIENTS
from proofs import at, private_key_jwt, secret_post
from report import expect

CLIENT_REFUSED = "introspection_client_refused"


def where(world):
    return at(world.key_manager.introspection_url)


def passes_twice(world, gateway):
    """Two tokens: two questions, each with a proof of its own."""
    asked = world.key_manager.introspections()
    for _ in range(2):
        passed(gateway.get(world.key_manager.mint("orders.read")))
    expect(world.key_manager.introspections(), asked + 2, "introspections")


def is_refused(world, gateway):
    """The gateway is refused, not the caller; the command says so too."""
    answer = gateway.get(world.key_manager.mint("orders.read"))
    refused(answer, 503, CLIENT_REFUSED, retry_after=True)
    ended(gateway.check("--online"), NO_PERMISSION)


def secret_in_the_form(world):
    gateway = world.open("poster", secret_post(where(world), CLIENTS["poster"]))
    passes_twice(world, gateway)
    ended(gateway.check("--online"), 0)


def wrong_secret_in_the_form(world):
    proof = secret_post(where(world), CLIENTS["poster"], "p0st+s3cret&with=0dd/chars%41 ;")
    is_refused(world, world.open("false-poster", proof))


def signed_statements(algorithm):
    """The server takes each statement once: a second token passes with a new one only."""

    def case(world):
        key, _ = world.keys.signing[algorithm]
        proof = private_key_jwt(where(world), world.clients.by_key(algorithm), key)
        gateway = world.open(f"signer-{algorithm}", proof)
        stated = len(world.key_manager.told("assertion"))
        passes_twice(world, gateway)
        statements = world.key_manager.told("assertion")[stated:]
        expect(len(set(statements)), 2, "different statements")
        ended(gateway.check("--online"), 0)

    return case


def statements_for_the_issuer(world):
    key, _ = world.keys.signing["ES256"]
    client_id = world.clients.by_key("ES256")
    proof = private_key_jwt(where(world), client_id, key, audience=world.key_manager.issuer)
    passes_twice(world, world.open("signer-for-issuer", proof))


def statements_for_somebody_else(world):
    key, _ = world.keys.signing["ES256"]
    client_id = world.clients.by_key("ES256")
    proof = private_key_jwt(where(world), client_id, key, audience="https://id.example")
    is_refused(world, world.open("signer-for-others", proof))


def unregistered_key(world):
    key, _ = world.keys.unregistered
    proof = private_key_jwt(where(world), world.clients.by_key("ES256"), key)
    is_refused(world, world.open("signer-unregistered", proof))


CASES = [
    ("client_secret_post: odd characters in id and secret, 200", secret_in_the_form),
    (f"client_secret_post: a wrong secret, 503 {CLIENT_REFUSED}", wrong_secret_in_the_form),
    ("private_key_jwt with RS256: two tokens, two statements, 200", signed_statements("RS256")),
    ("private_key_jwt with ES256: two tokens, two statements, 200", signed_statements("ES256")),
    ("private_key_jwt with EdDSA: two tokens, two statements, 200", signed_statements("EdDSA")),
    ("private_key_jwt: the issuer as audience, 200", statements_for_the_issuer),
    (f"private_key_jwt: another's audience, 503 {CLIENT_REFUSED}", statements_for_somebody_else),
    (f"private_key_jwt: an unregistered key, 503 {CLIENT_REFUSED}", unregistered_key),
]
