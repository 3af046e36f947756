"""Keycloak goes away and comes back."""

from checks import passed, refused
from report import expect, expect_in
from wire import wait_until

# The pause between two attempts of the gateway grows to a minute and a quarter.
RECOVERY_SECONDS = 120


NOT_READY = "introspection_not_ready"
EARLY = ("introspection_unreachable", NOT_READY)


def gone_and_back(world):
    keycloak, own = world.keycloak, (world.client_credentials, world.password, world.refresh)
    known, new = keycloak.mint(), keycloak.mint()
    for gateway in (world.basic, *own):
        passed(gateway.get(known))
    world.password_uses = world.refresh.renewals(grant="password", result="ok")
    keycloak.stop()
    try:
        answer = world.basic.get(new)
        refused(answer, 503, "introspection_unreachable", retry_after=True)
        for gateway in own:
            # At first the guard finds nobody to ask, later the own token is over.
            answer = gateway.get(new)
            expect(answer.status, 503, f"the status of {answer}")
            expect_in(answer.json["reason"], EARLY, "the reason")
            wait_until(lambda at=gateway: reason(at, new) == NOT_READY, "its own token ends", 15)
            expect(gateway.failed_renewals() > 0, True, "whether failed renewals are counted")
        for gateway in (world.basic, *own):
            passed(gateway.get(known))
            expect(gateway.is_ready(), True, "whether the gateway still takes requests")
    finally:
        keycloak.start()


def reason(gateway, token):
    answer = gateway.get(token)
    return answer.json["reason"] if answer.status != 200 else None


def recovered(world):
    passed(world.basic.get(world.keycloak.mint()))
    passed(world.signing["RS256"].get(world.keycloak.mint()))
    for gateway in (world.client_credentials, world.password, world.refresh):
        wait_until(
            lambda at=gateway: at.get(world.keycloak.mint()).status == 200,
            f"{gateway.child.name} recovers",
            RECOVERY_SECONDS,
        )


def session_outlived_it(world):
    """Keycloak keeps sessions, so the refresh token from before is still good."""
    used = world.refresh.renewals(grant="password", result="ok")
    expect(used, world.password_uses, "uses of the password")


def gateways_leave(world):
    for gateway in world.gateways:
        expect(gateway.stop(), 0, f"the exit code of {gateway.child.name} after SIGTERM")


CASES = [
    ("Keycloak stopped: new tokens 503, known ones pass", gone_and_back),
    ("Keycloak started again: every gateway recovers by itself", recovered),
    ("the refresh token outlived Keycloak's restart", session_outlived_it),
    ("SIGTERM: every gateway ends by itself with 0", gateways_leave),
]
