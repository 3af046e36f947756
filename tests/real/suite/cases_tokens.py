"""What becomes of a request, by its token."""

import concurrent.futures
import time

from checks import invalid_token, passed, refused, seen_by_upstream
from report import expect, expect_in
from wire import wait_until

LOOKUPS = "portcullis_token_cache_lookups_total"
INTROSPECTIONS = "portcullis_introspection_requests_total"
# Well-formed, and minted by nobody.
UNKNOWN = "dW5rbm93bi10b2tlbi1vZi1ub2JvZHktYXQtYWxs"
CROWD = 20
# So long the gateway `brief` keeps an answer.
BRIEF_SECONDS = 2


def no_token(world):
    refused(world.steady.get(), 401, "no_token", challenge="")


def other_scheme(world):
    answer = world.steady.get(headers={"Authorization": "Basic d2ViOnNob3A="})
    refused(answer, 401, "no_token", challenge="")


def token_in_the_query(world):
    token = world.key_manager.mint("orders.read")
    answer = world.steady.get(target=f"/orders/1?access_token={token}")
    refused(answer, 401, "no_token", challenge="")


def token_twice(world):
    token = world.key_manager.mint("orders.read")
    answer = world.steady.get(token, target=f"/orders/1?access_token={token}")
    refused(answer, 400, "multiple_tokens", challenge="invalid_request")


def good_token(world):
    passed(world.steady.get(world.key_manager.mint("orders.read")))


def second_request_is_a_hit(world):
    token = world.key_manager.mint("orders.read")
    passed(world.steady.get(token))
    asked = world.key_manager.introspections()
    counted = world.steady.metric(INTROSPECTIONS)
    hits = world.steady.metric(LOOKUPS, result="hit")
    passed(world.steady.get(token))
    expect(world.steady.metric(LOOKUPS, result="hit"), hits + 1, "hits of the cache")
    expect(world.steady.metric(INTROSPECTIONS), counted, "introspections, as the gateway counts")
    expect(world.key_manager.introspections(), asked, "introspections, as the key manager counts")


def crowd_shares_one_call(world):
    token = world.key_manager.mint("orders.read")
    asked = world.key_manager.introspections()
    with concurrent.futures.ThreadPoolExecutor(CROWD) as pool:
        answers = list(pool.map(lambda _: world.steady.get(token), range(CROWD)))
    for answer in answers:
        passed(answer)
    expect(world.key_manager.introspections(), asked + 1, f"introspections for {CROWD} requests")


def wrong_scope(world):
    answer = world.steady.request("POST", "/orders/1", world.key_manager.mint("orders.read"))
    refused(answer, 403, "insufficient_scope", challenge="insufficient_scope")
    challenge = answer.header("WWW-Authenticate")
    expect_in('scope="orders.read orders.write"', challenge, "the scopes that are needed")


def scope_is_checked_on_hits_too(world):
    token = world.key_manager.mint("orders.read")
    passed(world.steady.get(token))
    answer = world.steady.request("POST", "/orders/1", token)
    refused(answer, 403, "insufficient_scope", challenge="insufficient_scope")


def both_scopes(world):
    token = world.key_manager.mint("orders.read orders.write")
    passed(world.steady.request("POST", "/orders/1", token, body="a body"))


def unknown_token(world):
    invalid_token(world.steady.get(UNKNOWN), "inactive")
    asked = world.key_manager.introspections()
    negative = world.steady.metric(LOOKUPS, result="hit_negative")
    invalid_token(world.steady.get(UNKNOWN), "inactive_cached")
    expect(world.key_manager.introspections(), asked, "introspections")
    expect(world.steady.metric(LOOKUPS, result="hit_negative"), negative + 1, "negative hits")


def malformed_token(world):
    asked = world.key_manager.introspections()
    answer = world.steady.get("not a token!")
    refused(answer, 401, "malformed_token", challenge="invalid_token")
    expect(world.key_manager.introspections(), asked, "introspections")


def bound_token(world):
    """The server says `Bearer` of it, and `cnf`: without its certificate it is worth nothing."""
    token = world.key_manager.mint("orders.read", client="bound")
    invalid_token(world.steady.get(token), "wrong_token_type")


def audience(world):
    for_stock = world.key_manager.mint("orders.read", resource="urn:stock")
    for_others = world.key_manager.mint("orders.read", resource="urn:others")
    for_nobody = world.key_manager.mint("orders.read")
    passed(world.steady.get(for_stock, "/stock/1"))
    invalid_token(world.steady.get(for_others, "/stock/1"), "audience_mismatch")
    invalid_token(world.steady.get(for_nobody, "/stock/1"), "audience_mismatch")


def revoked_token(world):
    """Passes while the answer is kept (2 s at this gateway), and no longer."""
    token = world.key_manager.mint("orders.read")
    asked = time.monotonic()
    passed(world.brief.get(token))
    world.key_manager.revoke(token)
    answer = world.brief.get(token)
    if time.monotonic() - asked < BRIEF_SECONDS:
        passed(answer)
    refusal = wait_until(
        lambda: refusal_of(world.brief, token), "the revoked token is refused", seconds=10
    )
    invalid_token(refusal, "inactive", "inactive_cached")


def expired_token(world):
    """A token's own end bounds the life of an answer that could be kept for a minute."""
    minted = time.monotonic()
    token = world.key_manager.mint("orders.read", client="hasty")
    passed(world.steady.get(token))
    passed(world.steady.get(token))
    refusal = wait_until(
        lambda: refusal_of(world.steady, token), "the expired token is refused", seconds=30
    )
    invalid_token(refusal, "expired", "inactive", "inactive_cached")
    # The server gives 4 s, and counts in whole seconds.
    lived = time.monotonic() - minted
    expect(2.9 <= lived <= 30, True, f"whether it passed for about 4 s ({lived:.1f} s)")


def refusal_of(gateway, token):
    answer = gateway.get(token)
    return answer if answer.status != 200 else None


def identity_goes_up_and_the_token_does_not(world):
    token = world.key_manager.mint("orders.read")
    answer = world.steady.get(token, "/orders/1?size=2&q=a%20b", {"X-Auth-Client": "admin"})
    expect(seen_by_upstream(answer, "x_auth_client"), "web-shop", "X-Auth-Client")
    expect(seen_by_upstream(answer, "authorization"), "", "Authorization")
    expect(seen_by_upstream(answer, "x_forwarded_for"), "127.0.0.1", "X-Forwarded-For")
    expect(bool(seen_by_upstream(answer, "traceparent")), True, "whether there is a traceparent")
    expect_in("uri=[/orders/1?size=2&q=a%20b]", answer.body, "the target")


def claims_stay_in_their_headers(world):
    """A claim with a line break makes no header of its own."""
    answer = world.steady.get(world.key_manager.mint("orders.read"))
    expect(seen_by_upstream(answer, "x_evil"), "", "X-Evil")
    expect(seen_by_upstream(answer, "x_auth_note"), "one%0D%0AX-Evil: two", "X-Auth-Note")
    expect(seen_by_upstream(answer, "x_auth_tenant"), "K%C3%B6ln", "X-Auth-Tenant")


def public_route(world):
    """Asks for nothing, and lets nobody say who they are."""
    answer = world.steady.get(target="/open/door", headers={"X-Auth-Client": "admin"})
    expect(seen_by_upstream(answer, "x_auth_client"), "", "X-Auth-Client")


def no_such_route(world):
    refused(world.steady.get(target="/nowhere"), 404, "route_not_found")


CASES = [
    ("no token: 401 with a bare challenge", no_token),
    ("another scheme than Bearer: 401 with a bare challenge", other_scheme),
    ("a token in the query is no token", token_in_the_query),
    ("a token in header and query: 400", token_twice),
    ("a token by client credentials passes", good_token),
    ("its second request is a hit, and nobody is asked", second_request_is_a_hit),
    (f"{CROWD} requests with a new token make one introspection", crowd_shares_one_call),
    ("a scope too few: 403, and the challenge names the scopes", wrong_scope),
    ("scopes are checked on hits too", scope_is_checked_on_hits_too),
    ("both scopes: POST passes", both_scopes),
    ("an unknown token: 401, the second time from memory", unknown_token),
    ("a malformed token: 401, and nobody is asked", malformed_token),
    ("a token that is bound to a certificate is no bearer token: 401", bound_token),
    ("a route with an audience takes tokens for it, and no others", audience),
    ("a revoked token passes for the life of the answer, then 401", revoked_token),
    ("an expired token: 401, whatever max_ttl says", expired_token),
    ("the upstream gets X-Auth-Client, and no token", identity_goes_up_and_the_token_does_not),
    ("a claim with a line break stays in its header", claims_stay_in_their_headers),
    ("a public route asks for nothing and passes on no claim", public_route),
    ("no such route: 404", no_such_route),
]
