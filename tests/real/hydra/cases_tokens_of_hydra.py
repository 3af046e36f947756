"""Hydra's tokens at a gateway that asks its admin port, where nobody needs credentials."""

import json
import time

from checks import invalid_token, passed, refused, seen_by_upstream
from report import expect, expect_in
from wire import wait_until


def refusal_of(gateway, token):
    answer = gateway.get(token)
    return answer if answer.status != 200 else None


def good_token(world):
    answer = world.steady.get(world.hydra.mint("orders.read"))
    expect(seen_by_upstream(answer, "x_auth_client"), "app", "X-Auth-Client")
    expect(seen_by_upstream(answer, "x_auth_tenant"), "app", "the subject")
    expect(seen_by_upstream(answer, "authorization"), "", "Authorization")


def scopes(world):
    answer = world.steady.request("POST", "/orders/1", world.hydra.mint("orders.read"))
    refused(answer, 403, "insufficient_scope", challenge="insufficient_scope")
    passed(world.steady.request("POST", "/orders/1", world.hydra.mint("orders.read orders.write")))


def no_scope(world):
    """Hydra leaves `scope` out of the answer."""
    token = world.hydra.mint("")
    expect("scope" in world.hydra.introspect(token), False, "whether the answer has a scope")
    answer = world.steady.get(token)
    refused(answer, 403, "insufficient_scope", challenge="insufficient_scope")


def unknown_token(world):
    good = world.hydra.mint("orders.read")
    invalid_token(world.steady.get("ory_at_made-up.token"), "inactive")
    # Its second half is what Hydra looks it up by: with another first half it must not do.
    first, _, second = good.partition(".")
    forged = first.removeprefix("ory_at_").swapcase()
    invalid_token(world.steady.get(f"ory_at_{forged}.{second}"), "inactive")


def audience(world):
    for_stock = world.hydra.mint("orders.read", audience="urn:stock")
    for_others = world.hydra.mint("orders.read", audience="urn:others")
    for_nobody = world.hydra.mint("orders.read")
    passed(world.steady.get(for_stock, "/stock/1"))
    invalid_token(world.steady.get(for_others, "/stock/1"), "audience_mismatch")
    invalid_token(world.steady.get(for_nobody, "/stock/1"), "audience_mismatch")


def revoked_token(world):
    token = world.hydra.mint("orders.read")
    passed(world.brief.get(token))
    world.hydra.revoke(token)
    expect(world.hydra.introspect(token), {"active": False}, "Hydra's word on a revoked token")
    passed(world.brief.get(token))
    refusal = wait_until(lambda: refusal_of(world.brief, token), "it is refused", seconds=10)
    invalid_token(refusal, "inactive", "inactive_cached")


def expired_token(world):
    minted = time.monotonic()
    token = world.hydra.mint("orders.read", client="hasty")
    passed(world.steady.get(token))
    refusal = wait_until(lambda: refusal_of(world.steady, token), "it is refused", seconds=15)
    invalid_token(refusal, "expired", "inactive", "inactive_cached")
    lived = time.monotonic() - minted
    expect(2.5 <= lived <= 8, True, f"whether it passed for about 4 s ({lived:.1f} s)")


def claims_of_consent(world):
    extra = {"tenant": "Köln", "roles": ["a", "b"], "note": "one\r\nX-Evil: two"}
    tokens = world.hydra.log_in("jane", extra)
    answer = world.steady.get(tokens["access_token"])
    expect(seen_by_upstream(answer, "x_auth_tenant"), "jane", "the subject")
    header = seen_by_upstream(answer, "x_auth_note")
    expect_in("K%C3%B6ln", header, "ext, encoded for a header")
    # JSON of ASCII, except for what the gateway encodes.
    expect(json.loads(header.replace("K%C3%B6ln", "Köln")), extra, "the claims below ext")
    expect(seen_by_upstream(answer, "x_evil"), "", "X-Evil")


def refresh_token(world):
    """Hydra says of it: active, Bearer, and only `token_use` tells the difference."""
    tokens = world.hydra.log_in("jane", {})
    said = world.hydra.introspect(tokens["refresh_token"])
    told = [said["active"], said["token_type"], said["token_use"]]
    expect(told, [True, "Bearer", "refresh_token"], "Hydra's word on a refresh token")
    invalid_token(world.steady.get(tokens["refresh_token"]), "wrong_token_type")
    passed(world.steady.get(tokens["access_token"]))


def refreshed(world):
    """Hydra ends the old access token with the refresh."""
    old = world.hydra.log_in("jane", {})
    passed(world.brief.get(old["access_token"]))
    new = world.hydra.refresh("web", old["refresh_token"])
    passed(world.brief.get(new["access_token"]))
    refusal = wait_until(
        lambda: refusal_of(world.brief, old["access_token"]), "the old one is refused", seconds=10
    )
    invalid_token(refusal, "inactive", "inactive_cached")


def command(world):
    done = world.steady.introspect(world.hydra.mint("orders.read"))
    expect(done.returncode, 0, f"the exit code: {done.stdout} {done.stderr}")
    for shown in ["token_use = access_token", "orders-read: passes", "orders-write: insufficient"]:
        expect_in(shown, done.stdout, "what it prints")
    unknown = world.steady.introspect("ory_at_made-up.token")
    expect(unknown.returncode, 1, f"the exit code: {unknown.stdout} {unknown.stderr}")


def no_discovery(world):
    """The admin port is not in the document: `issuer` alone cannot work with Hydra."""
    said = world.hydra.metadata()
    expect("introspection_endpoint" in said, False, "whether the document names introspection")
    expect(said["token_endpoint"], world.hydra.token_url, "the token endpoint")


def stopped(world):
    known, new = (world.hydra.mint("orders.read") for _ in range(2))
    passed(world.steady.get(known))
    world.hydra.stop()
    try:
        refused(world.steady.get(new), 503, "introspection_unreachable", retry_after=True)
        passed(world.steady.get(known))
        refused(world.brief.get(known), 503, "introspection_unreachable", retry_after=True)
    finally:
        world.hydra.start()
    passed(world.steady.get(new))
    passed(world.brief.get(known))


def frozen(world):
    known, new = (world.hydra.mint("orders.read") for _ in range(2))
    passed(world.steady.get(known))
    world.hydra.freeze()
    try:
        refused(world.steady.get(new), 503, "introspection_timeout", retry_after=True)
        passed(world.steady.get(known))
    finally:
        world.hydra.thaw()
    passed(world.steady.get(new))


CASES = [
    ("an opaque token by client credentials passes, with its client and subject", good_token),
    ("a scope too few: 403; both scopes: passes", scopes),
    ("a token without any scope: 403", no_scope),
    ("a made-up token, and a good one with another first half: 401", unknown_token),
    ("a route with an audience takes tokens for it, and no others", audience),
    ("a revoked token passes for the life of the answer, then 401", revoked_token),
    ("an expired token: 401, whatever max_ttl says", expired_token),
    ("claims of the consent arrive below ext, and stay in their header", claims_of_consent),
    ("a refresh token (token_use) is no access token: 401", refresh_token),
    ("after a refresh the new access token passes, the old one does not", refreshed),
    ("portcullis introspect says the same", command),
    ("Hydra's metadata has no introspection endpoint", no_discovery),
    ("Hydra stopped: new tokens 503, known ones pass; started again: both pass", stopped),
    ("Hydra hangs: new tokens 503 in time, known ones pass", frozen),
]
