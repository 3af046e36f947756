"""Own tokens at a key manager that demands them by itself."""

import time

from checks import invalid_token, passed, refused, seen_by_upstream
from provider import PERSON, SECRET, SHORT_LIFE
from report import expect, expect_not_in
from wire import wait_until

LIVES = 5
TRICKLE_SECONDS = 0.1


def demands(world):
    """Otherwise nothing below says anything."""
    token = world.provider.mint("orders.read")

    def status(own):
        return world.provider.introspect(own and f"Bearer {own}", token).status

    expect([status(None), status("made-up"), status(token)], [403, 403, 403], "its refusals")
    own = world.provider.mint("introspection", client="gw:short@x")
    expect(status(own), 200, "the answer to a token with the scope")
    wait_until(lambda: status(own) == 403, "that token ends", seconds=8)


def by_basic(world):
    answer = world.by_basic.get(world.provider.mint("orders.read"))
    expect(seen_by_upstream(answer, "x_auth_client"), "app", "X-Auth-Client")


def every_way(world):
    for door in (world.header, world.body, world.person, world.lasting):
        passed(door.get(world.provider.mint("orders.read")))
        answer = door.request("POST", "/orders/1", world.provider.mint("orders.read"))
        refused(answer, 403, "insufficient_scope", challenge="insufficient_scope")
        invalid_token(door.get("made-up"), "inactive")


def revoked_token(world):
    token = world.provider.mint("orders.read")
    passed(world.header.get(token))
    world.provider.revoke(token)

    def refusal():
        answer = world.header.get(token)
        return answer if answer.status != 200 else None

    invalid_token(wait_until(refusal, "it is refused", seconds=10), "inactive", "inactive_cached")


def renewals(world):
    doors = [
        (world.header, "client_credentials"),
        (world.body, "client_credentials"),
        (world.person, "refresh_token"),
    ]
    before = [door.renewals(grant, result="ok") for door, grant in doors]
    firsts = world.person.renewals("password")
    started, asked = time.monotonic(), 0
    while time.monotonic() - started < LIVES * SHORT_LIFE:
        token = world.provider.mint("orders.read")
        for door, _ in doors:
            passed(door.get(token))
        asked += 1
        time.sleep(TRICKLE_SECONDS)
    for (door, grant), count in zip(doors, before, strict=True):
        renewed = door.renewals(grant, result="ok") - count
        print(
            f"      {door.child.name}: {asked} new tokens, {renewed:.0f} renewals by {grant} in"
            f" {time.monotonic() - started:.0f} s, no failure"
        )
        expect(LIVES <= renewed <= 2 * LIVES, True, f"whether {renewed:.0f} is about one per life")
        expect(
            door.metric("portcullis_introspection_requests_total", outcome="client_refused"),
            0,
            "own tokens that were refused",
        )
    expect(world.person.renewals("password"), firsts, "password grants meanwhile")


def without_the_scope(world):
    """403, by this server: the gateway may not ask. Nobody's token is blamed, and there is no storm."""
    for _ in range(30):
        answer = world.humble.get(world.provider.mint("orders.read"))
        refused(answer, 503, "introspection_client_refused", retry_after=True)
    expect(world.humble.renewals() <= 6, True, f"whether {world.humble.renewals():.0f} are few")


def stranger(world):
    answer = world.stranger.get(world.provider.mint("orders.read"))
    refused(answer, 503, "introspection_not_ready", retry_after=True)
    expect(world.stranger.is_ready(), False, "whether it is ready")
    wait_until(lambda: world.stranger.renewals(result="refused") >= 2, "another attempt")


def gone(world):
    new = world.provider.mint("orders.read")
    world.provider.stop()
    try:
        doors = (world.header, world.person)
        for door in doors:
            wait_until(
                lambda door=door: door.get(new).json["reason"] == "introspection_not_ready",
                "the own token has ended",
                seconds=10,
            )
    finally:
        world.provider.start()
    started = time.monotonic()
    for door in doors:
        wait_until(lambda door=door: door.get(new).status == 200, "it recovers by itself")
    print(f"      recovered {time.monotonic() - started:.1f} s after the provider was ready")


def nothing_in_logs(world):
    for door in world.doors:
        text = door.child.output() + door.child.err.read_text() + door.scrape()
        for secret in [SECRET, PERSON[1], *world.provider.minted]:
            expect_not_in(secret, text, f"log and metrics of {door.child.name}")
        expect_not_in("panicked", text, f"the log of {door.child.name}")


CASES = [
    ("introspection refuses all but a living token with its scope (403)", demands),
    ("Basic, form-encoded", by_basic),
    ("client credentials in header and body, password grant: verdicts of all kinds", every_way),
    ("a revoked token passes for the life of the answer, then 401", revoked_token),
    (f"{LIVES} lives of own tokens, with rotated refresh tokens too: no failure", renewals),
    ("an own token that may not introspect: 503, and no storm", without_the_scope),
    ("an unknown client: refused, 503", stranger),
    ("provider gone for longer than an own token lives: 503, then recovers", gone),
    ("no token and no secret in logs and metrics", nothing_in_logs),
]
