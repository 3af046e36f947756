"""Keycloak's introspection endpoint, by each way in which it lets a client prove itself."""

from checks import invalid_token, passed, refused, seen_by_upstream
from report import expect, expect_in, expect_not_in
from wire import wait_until

INACTIVE, NO_PERMISSION = 1, 77


def good_token(world):
    answer = passed(world.basic.get(world.keycloak.mint()))
    expect(seen_by_upstream(answer, "x_auth_client"), "app", "X-Auth-Client")
    expect(seen_by_upstream(answer, "authorization"), "", "Authorization")
    # Keycloak names four audiences in a list.
    passed(world.basic.get(world.keycloak.mint(), "/audience/1"))


def users_token(world):
    token, _ = world.keycloak.sign_in("alice", "app", "orders.read")
    passed(world.basic.get(token))


def wrong_scope(world):
    token = world.keycloak.mint("orders.read")
    answer = world.basic.request("POST", "/orders/1", token)
    refused(answer, 403, "insufficient_scope", challenge="insufficient_scope")
    passed(world.basic.request("POST", "/orders/1", world.keycloak.mint("orders.write")))


def foreign_token(world):
    """A good token, but none that its audience allows this gateway to know of."""
    token = world.keycloak.mint(client="foreign")
    expect(world.keycloak.introspect(token, "gateway").json, {"active": False}, "Keycloak's answer")
    invalid_token(world.basic.get(token), "inactive")


def unknown_token(world):
    invalid_token(world.basic.get("dW5rbm93bi10b2tlbi1vZi1ub2JvZHk"), "inactive")


def refresh_token_is_no_access_token(world):
    _, refresh_token = world.keycloak.sign_in("alice", "app", "orders.read")
    answer = world.basic.get(refresh_token)
    invalid_token(answer, "inactive", "wrong_token_type")


def revoked_token(world):
    """Passes while the answer is kept (2 s at this gateway), and no longer."""
    token = world.keycloak.mint()
    passed(world.brief.get(token))
    world.keycloak.revoke(token)
    refused_soon(world.brief, token)


def user_signs_out(world):
    token, refresh_token = world.keycloak.sign_in("alice", "app", "orders.read")
    passed(world.brief.get(token))
    world.keycloak.sign_out(refresh_token)
    refused_soon(world.brief, token)


def refused_soon(gateway, token):
    def refusal():
        answer = gateway.get(token)
        return answer if answer.status != 200 else None

    found = wait_until(refusal, "the token is refused", seconds=10)
    invalid_token(found, "inactive", "inactive_cached")


def wrong_password(world):
    answer = world.stranger.get(world.keycloak.mint())
    refused(answer, 503, "introspection_client_refused", retry_after=True)


def raw_encoding(world):
    """Keycloak decodes what it gets: `%` and `+` as they are do not come through."""
    answer = world.raw.get(world.keycloak.mint())
    # It says 400 unauthorized_client then, where a wrong password gets 401.
    refused(answer, 503, "introspection_client_refused", retry_after=True)


def secret_post(world):
    passed(world.post.get(world.keycloak.mint()))


def discovery(world):
    passed(world.discovering.get(world.keycloak.mint()))


def signed(algorithm):
    def case(world):
        # More than one: Keycloak takes no statement twice.
        for _ in range(3):
            passed(world.signing[algorithm].get(world.keycloak.mint()))

    return case


def signed_for_the_issuer(world):
    passed(world.signing_for_issuer.get(world.keycloak.mint()))


def introspect_good_token(world):
    token = world.keycloak.mint()
    for gateway in (world.basic, world.discovering, world.signing["ES256"]):
        result = gateway.introspect(token)
        ended(result, 0)
        expect_in("scope = orders.read", result.stdout, "the claims")
        expect_in("orders-read: passes", result.stdout, "the route that it would pass")
        expect_not_in(token, result.stdout + result.stderr, "the token")


def introspect_foreign_token(world):
    """The one mistake that everybody makes with Keycloak: the command must name it."""
    result = world.basic.introspect(world.keycloak.mint(client="foreign"))
    ended(result, INACTIVE)
    expect_in("audience", result.stdout + result.stderr, "the hint")


def introspect_wrong_password(world):
    result = world.stranger.introspect(world.keycloak.mint())
    ended(result, NO_PERMISSION)


def introspect_raw_encoding(world):
    result = world.raw.introspect(world.keycloak.mint())
    expect_not_in(result.returncode, (0, INACTIVE), "the exit code")
    expect_in("credentialEncoding", result.stderr, "the hint")


def ended(result, code):
    expect(result.returncode, code, f"the exit code of {result.stdout!r} {result.stderr!r}")


CASES = [
    ("basic: a good token passes", good_token),
    ("basic: a user's token passes", users_token),
    ("basic: a scope too few, 403", wrong_scope),
    ("a token without the gateway in its audience: 401 inactive", foreign_token),
    ("an unknown token: 401", unknown_token),
    ("a refresh token is no access token: 401", refresh_token_is_no_access_token),
    ("a revoked token: 401 after the life of the answer", revoked_token),
    ("a user signs out: 401 after the life of the answer", user_signs_out),
    ("basic: a wrong password, 503 introspection_client_refused", wrong_password),
    ("basic: the raw encoding, 503 introspection_client_refused", raw_encoding),
    ("clientSecretPost", secret_post),
    ("issuer: the endpoint is discovered", discovery),
    ("privateKeyJwt: RS256", signed("RS256")),
    ("privateKeyJwt: ES256", signed("ES256")),
    ("privateKeyJwt: EdDSA", signed("EdDSA")),
    ("privateKeyJwt: the issuer as audience", signed_for_the_issuer),
    ("introspect: a good token, exit 0", introspect_good_token),
    ("introspect: a foreign token, exit 1, with a hint at audiences", introspect_foreign_token),
    ("introspect: a wrong password, exit 77", introspect_wrong_password),
    ("introspect: the raw encoding, a hint", introspect_raw_encoding),
]
