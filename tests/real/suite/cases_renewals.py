"""The gateway gets a token of its own by client credentials, and keeps it fresh."""

import concurrent.futures
import time

from cases_credentials import CLIENT_REFUSED
from cases_discovery import NOT_READY, RECOVERY_SECONDS
from cases_operator import NO_PERMISSION, ended
from checks import passed, refused
from key_manager import CLIENTS
from proofs import at, own_token
from report import expect, expect_in
from wire import wait_until

EXPIRY = "portcullis_credential_expiry_timestamp_seconds"
LIVES = 3
# This server counts in whole seconds: of three it may give two and a bit, which is over before the
# renewal that comes after two and a bit more.
EXACT_SECONDS = 6
PAUSE_SECONDS = 0.1
CROWD = 20


def proof(world, client, bearer="AUTH_HEADER_BEARER", **more):
    where, token_url = at(world.guard.introspection_url), world.own_key_manager.token_url
    return own_token(where, token_url, CLIENTS[client], bearer, **more)


def mint(world):
    return world.own_key_manager.mint("orders.read")


def trickle(client, bearer):
    """Over several lives of its own token, nobody with a new token sees its renewals."""
    life = CLIENTS[client]["lifetime_seconds"]

    def case(world):
        gateway = world.open(f"keeper-{client}", proof(world, client, bearer))
        refusals, end = world.guard.answers(401), time.monotonic() + LIVES * life
        while time.monotonic() < end:
            passed(gateway.get(mint(world)))
            time.sleep(PAUSE_SECONDS)
        renewals = gateway.renewals(result="ok")
        # Each is renewed when seven to eight tenths of its life are over.
        expect(LIVES < renewals <= 2 * LIVES + 1, True, f"whether {renewals} tokens are enough")
        expect(gateway.failed_renewals(), 0, "token requests that failed")
        now = time.time()
        left = gateway.metric(EXPIRY) - now
        expect(0 < left <= life + 5, True, f"whether its token ends soon ({left:.1f} s)")
        refused_questions = world.guard.answers(401) - refusals
        few = 1 if life >= EXACT_SECONDS else renewals
        expect(refused_questions <= few, True, f"whether {refused_questions} refusals are few")
        ended(gateway.check("--online"), 0)

    return case


def key_manager_forgets(world):
    """Its own token is worth nothing from one moment to the next: a crowd of new tokens makes one
    renewal, and nobody sees a refusal."""
    gateway = world.open("keeper", proof(world, "own"))
    passed(gateway.get(mint(world)))
    expect(gateway.renewals(result="ok"), 1, "tokens before")
    world.own_key_manager.stop()
    world.own_key_manager.start()
    tokens = [mint(world) for _ in range(CROWD)]
    refusals = world.guard.answers(401)
    with concurrent.futures.ThreadPoolExecutor(CROWD) as pool:
        for answer in pool.map(gateway.get, tokens):
            passed(answer)
    expect(gateway.renewals(), 2, "token requests in all")
    refused_questions = world.guard.answers(401) - refusals
    expect(1 <= refused_questions <= CROWD, True, "whether the guard refused the old token")


def outage_outlasts_the_token(world):
    """Without a token of its own the gateway asks nobody; it gets one as soon as it can."""
    gateway = world.open("keeper-in-outage", proof(world, "own-brief"))
    token = mint(world)
    passed(gateway.get(token))
    new = mint(world)
    world.own_key_manager.stop()
    try:
        answer = wait_until(lambda: not_ready(gateway, new), "its own token has ended", 10)
        refused(answer, 503, NOT_READY, retry_after=True)
        passed(gateway.get(token))
    finally:
        world.own_key_manager.start()
    wait_until(
        lambda: gateway.get(mint(world)).status == 200,
        "the gateway recovers by itself",
        RECOVERY_SECONDS,
    )


def not_ready(gateway, token):
    answer = gateway.get(token)
    return answer if answer.json["reason"] == NOT_READY else None


def start_without_a_token_endpoint(world):
    """The gateway starts, says that it is not ready, and is when it has a token."""
    world.own_key_manager.stop()
    try:
        gateway = world.open("early-keeper", proof(world, "own"), ready=False)
        wait_until(lambda: gateway.readiness() == 503, "it says that it is not ready")
        refused(gateway.get("a-token-of-somebody"), 503, NOT_READY, retry_after=True)
    finally:
        world.own_key_manager.start()
    wait_until(gateway.is_ready, "the gateway recovers by itself", RECOVERY_SECONDS)
    passed(gateway.get(mint(world)))


def wrong_secret(world):
    gateway = world.open(
        "false-keeper", proof(world, "own", secret="0wn+s3cret:of/nobody&"), ready=False
    )
    wait_until(lambda: gateway.readiness() == 503, "it says that it is not ready")
    wait_until(lambda: gateway.renewals(result="refused") >= 1, "the token endpoint refuses it")
    refused(gateway.get(mint(world)), 503, NOT_READY, retry_after=True)
    expect(gateway.renewals(result="ok"), 0, "tokens")
    result = gateway.check("--online")
    ended(result, NO_PERMISSION)
    expect_in("invalid_client", result.stderr, "what is said of the cause")


def wrong_scope(world):
    """The guard refuses each of its tokens: no storm on the token endpoint comes of that."""
    gateway = world.open("keeper-without-scope", proof(world, "own", scopes="orders.read"))
    for _ in range(CROWD):
        refused(gateway.get(mint(world)), 503, CLIENT_REFUSED, retry_after=True)
    renewals = gateway.renewals()
    expect(renewals < CROWD / 2, True, f"whether {renewals:.0f} token requests are few")


CASES = [
    (f"own token by Basic: {LIVES} lives, only 200", trickle("own-brief", "AUTH_HEADER_BEARER")),
    (
        f"own token by client_secret_post: {LIVES} lives, only 200",
        trickle("own-brief-post", "POST_BODY_BEARER"),
    ),
    ("own token: the key manager forgets it, one renewal and only 200", key_manager_forgets),
    (f"own token: an outage outlasts it, 503 {NOT_READY}, then 200", outage_outlasts_the_token),
    ("own token: no token endpoint at start, not ready, then 200", start_without_a_token_endpoint),
    (f"own token: a wrong secret, not ready, 503 {NOT_READY}", wrong_secret),
    (f"own token: refused each time, 503 {CLIENT_REFUSED}, few renewals", wrong_scope),
]
