"""Client credentials of the gateway's own at Hydra, and a guard that demands their token."""

import time

from cases_operator import NO_PERMISSION, UNAVAILABLE
from checks import passed, refused
from hydra import SECRET
from report import expect, expect_in, expect_not_in
from wire import send, wait_until

# Hydra says one second less of a token that lives three, and the gateway renews when about a quarter
# of that is left: three renewals in two such lives are to be expected.
LIVES = 6
LIFE_SECONDS = 3
TRICKLE_SECONDS = 0.1


def guard_works(world):
    """Otherwise nothing below says anything."""
    token = world.hydra.mint("orders.read")
    form = f"token={token}"
    headers = {"Content-Type": "application/x-www-form-urlencoded"}

    def ask(authorization):
        more = {"Authorization": authorization} if authorization else {}
        return send(world.guard.port, "POST", "/admin/oauth2/introspect", headers | more, form)

    expect(ask(None).status, 401, "the guard's answer to nobody")
    expect(ask("Bearer ory_at_made-up.token").status, 401, "its answer to a made-up token")
    own = world.hydra.mint("introspection", client="gw:basic@x")
    expect(ask(f"Bearer {own}").json["active"], True, "its answer to a good token")
    wait_until(lambda: ask(f"Bearer {own}").status == 401, "an expired token is refused", seconds=8)


def header(world):
    passed(world.basic.get(world.hydra.mint("orders.read")))
    expect(world.basic.renewals(result="ok") >= 1, True, "whether a renewal is counted")


def body(world):
    passed(world.post.get(world.hydra.mint("orders.read")))
    expect(world.post.renewals(result="ok") >= 1, True, "whether a renewal is counted")


def renewals(world):
    """New tokens all along at two gateways, for some lives of their own tokens."""
    doors = [world.basic, world.post]
    before = [(door.failed_renewals(), door.renewals(result="ok")) for door in doors]
    refusals = world.guard.answers(401)
    started, asked = time.monotonic(), 0
    while time.monotonic() - started < LIVES * LIFE_SECONDS:
        token = world.hydra.mint("orders.read")
        for door in doors:
            passed(door.get(token))
        asked += 1
        time.sleep(TRICKLE_SECONDS)
    for door, (failures, successes) in zip(doors, before, strict=True):
        renewed = door.renewals(result="ok") - successes
        # Often enough that no token ended, and not much more often than that.
        in_bounds = LIVES <= renewed <= 3 * LIVES
        expect(in_bounds, True, f"whether {renewed:.0f} renewals are about one per life")
        print(
            f"      {door.child.name}: {asked} new tokens, {renewed:.0f} renewals in"
            f" {time.monotonic() - started:.0f} s, no failure"
        )
        expect(door.failed_renewals(), failures, "renewals that failed")
    expect(world.guard.answers(401), refusals, "own tokens that were refused")


def deleted(world):
    """Hydra forgets the own token, which the gateway takes for good: one renewal, and nobody
    outside sees anything."""
    passed(world.lasting.get(world.hydra.mint("orders.read")))
    before = world.lasting.renewals()
    expect(before, 1, "renewals of a token that lives an hour")
    world.hydra.delete_tokens_of("gw:lasting@x")
    refusals = world.guard.answers(401)
    for _ in range(5):
        passed(world.lasting.get(world.hydra.mint("orders.read")))
    expect(world.lasting.renewals(), before + 1, "renewals after that")
    # nginx writes a line after the answer has gone out.
    wait_until(lambda: world.guard.answers(401) > refusals, "a refusal in the guard's log")
    expect(world.guard.answers(401), refusals + 1, "refusals that it took")


def no_hydra(world):
    """Both the guard's and the gateway's Hydra are gone for longer than an own token lives."""
    known, new = (world.hydra.mint("orders.read") for _ in range(2))
    passed(world.basic.get(known))
    world.hydra.stop()
    try:
        # nginx answers 500 when it cannot ask; 503 with a reason that says whose fault it is.
        expect(world.basic.get(new).status, 503, "the status while the own token lives")
        wait_until(
            lambda: world.basic.get(new).json["reason"] == "introspection_not_ready",
            "the own token has ended",
            seconds=10,
        )
        refused(world.basic.get(new), 503, "introspection_not_ready", retry_after=True)
        passed(world.basic.get(known))
    finally:
        world.hydra.start()
    started = time.monotonic()
    for door in (world.basic, world.post):
        wait_until(lambda door=door: door.get(new).status == 200, "it recovers by itself")
    print(f"      both recovered {time.monotonic() - started:.1f} s after Hydra was ready")
    expect(world.basic.renewals(result="unreachable") >= 1, True, "whether failures are counted")


def hanging_hydra(world):
    """As above, but connections stand open: neither side may wait for ever."""
    known, new = (world.hydra.mint("orders.read") for _ in range(2))
    passed(world.post.get(known))
    world.hydra.freeze()
    try:
        wait_until(
            lambda: world.post.get(new).json["reason"] == "introspection_not_ready",
            "the own token has ended",
            seconds=10,
        )
        passed(world.post.get(known))
    finally:
        world.hydra.thaw()
    started = time.monotonic()
    wait_until(lambda: world.post.get(new).status == 200, "it recovers by itself")
    print(f"      recovered {time.monotonic() - started:.1f} s after Hydra went on")


def not_obtained(door, token):
    """Refused at the token endpoint: not ready, never a client's 401, and no storm."""
    refused(door.get(token), 503, "introspection_not_ready", retry_after=True)
    expect(door.is_ready(), False, "whether it is ready")
    wait_until(lambda: door.renewals(result="refused") >= 2, "another attempt")
    expect(door.renewals(result="ok"), 0, "tokens")
    expect(door.renewals() <= 20, True, f"whether {door.renewals():.0f} attempts are few")


def command(world):
    done = world.lasting.introspect(world.hydra.mint("orders.read"))
    expect(done.returncode, 0, f"the exit code: {done.stdout} {done.stderr}")
    expect_in("orders-read: passes", done.stdout, "what it prints")


def command_that_is_refused(world):
    """The gateway is refused, which says nothing of the token: not the exit code for "inactive"."""
    done = world.misplaced.introspect(world.hydra.mint("orders.read"))
    expect_not_in(SECRET, done.stdout + done.stderr, "what it prints")
    expect_in("invalid_client", done.stderr, "the cause")
    blames_the_gateway = done.returncode in (NO_PERMISSION, UNAVAILABLE)
    expect(blames_the_gateway, True, f"whether {done.returncode} blames the gateway: {done.stderr}")


def raw(world):
    not_obtained(world.raw, world.hydra.mint("orders.read"))


def misplaced(world):
    not_obtained(world.misplaced, world.hydra.mint("orders.read"))


def greedy(world):
    not_obtained(world.greedy, world.hydra.mint("orders.read"))


def nothing_in_logs(world):
    for door in world.doors:
        text = door.child.output() + door.child.err.read_text() + door.scrape()
        expect_not_in("ory_at_", text, f"the log and metrics of {door.child.name}")
        expect_not_in("ory_rt_", text, f"the log and metrics of {door.child.name}")
        expect_not_in(SECRET, text, f"the log and metrics of {door.child.name}")
        expect_not_in("panicked", text, f"the log of {door.child.name}")


CASES = [
    ("the guard lets only good access tokens through", guard_works),
    ("own token, AUTH_HEADER_BEARER: id and secret are form-encoded", header),
    ("own token, POST_BODY_BEARER", body),
    (f"{LIVES} lives of own tokens: renewed in time, no client sees a failure", renewals),
    ("an own token that Hydra forgot: renewed once, no client sees a failure", deleted),
    ("Hydra gone for longer than an own token lives: 503, then recovers", no_hydra),
    ("Hydra hangs for longer than an own token lives: 503, then recovers", hanging_hydra),
    ("credentialEncoding raw with such a secret: refused, 503", raw),
    ("a client of client_secret_post with AUTH_HEADER_BEARER: refused, 503", misplaced),
    ("a scope that the client may not have: refused, 503", greedy),
    ("portcullis introspect gets a token of its own too", command),
    (
        "portcullis introspect without one: the exit code does not blame the token",
        command_that_is_refused,
    ),
    ("no token and no secret in logs and metrics", nothing_in_logs),
]
