"""Tokens of the gateway's own, by each grant of Keycloak; they live 5 s."""

import json
import stat
import time

from checks import passed, refused
from report import expect, expect_in, expect_not_in
from wire import send, wait_until

RENEWALS = 5
TRICKLE_SECONDS = 90
PAUSE_SECONDS = 0.1


def guard_asks_for_a_token(world):
    """What the next cases rest on: the endpoint refuses without, and with a wrong one."""
    form = {"Content-Type": "application/x-www-form-urlencoded"}
    for headers in (form, form | {"Authorization": "Bearer wrong"}):
        answer = send(world.guard.port, "POST", "/introspect", headers, "token=a")
        expect(answer.status, 401, "the answer of the guard")


def rotation_is_on(world):
    """What the next cases rest on: a used refresh token is refused, and ends the session."""
    keycloak = world.keycloak
    _, first = keycloak.sign_in("edge", "gateway", "openid")
    second = refresh(keycloak, first)
    expect(second.status, 200, "the answer to the first use")
    expect(refresh(keycloak, first).status, 400, "the answer to the second use")
    answer = refresh(keycloak, second.json["refresh_token"])
    expect(answer.status, 400, "the answer to the next token of a session that is over")


def refresh(keycloak, token):
    return keycloak.grant("gateway", grant_type="refresh_token", refresh_token=token)


def trickle(world, gateway, count, what):
    """Sends new tokens until `count` says that enough was renewed; each of them must pass."""
    deadline = time.monotonic() + TRICKLE_SECONDS
    requests, failures = 0, gateway.failed_renewals()
    while count() < RENEWALS:
        expect(time.monotonic() < deadline, True, f"whether there were {what} in time: {count()}")
        passed(gateway.get(world.keycloak.mint()))
        requests += 1
        time.sleep(PAUSE_SECONDS)
    expect(gateway.failed_renewals(), failures, "renewals that failed")
    print(f"      {requests} new tokens passed over {count():.0f} {what}", flush=True)


def client_credentials(world):
    gateway = world.client_credentials
    before = gateway.renewals(grant="client_credentials", result="ok")
    trickle(
        world,
        gateway,
        lambda: gateway.renewals(grant="client_credentials", result="ok") - before,
        "renewals by client credentials",
    )


def client_credentials_in_the_form(world):
    passed(world.client_credentials_post.get(world.keycloak.mint()))


def password(world):
    gateway = world.password
    before = gateway.renewals(grant="password", result="ok")
    trickle(
        world,
        gateway,
        lambda: gateway.renewals(grant="password", result="ok") - before,
        "renewals by password",
    )


def rotated_refresh(world):
    gateway = world.refresh
    renewed = world.keycloak.events("REFRESH_TOKEN", "gateway")
    errors = world.keycloak.events("REFRESH_TOKEN_ERROR", "gateway")
    before = gateway.renewals(grant="refresh_token", result="ok")
    trickle(
        world,
        gateway,
        lambda: gateway.renewals(grant="refresh_token", result="ok") - before,
        "renewals by refresh token",
    )
    expect(gateway.renewals(grant="password"), 1, "uses of the password")
    seen = world.keycloak.events("REFRESH_TOKEN", "gateway") - renewed
    expect(seen >= RENEWALS, True, f"whether Keycloak has seen the renewals too: {seen}")
    seen = world.keycloak.events("REFRESH_TOKEN_ERROR", "gateway")
    expect(seen, errors, "refresh tokens that Keycloak refused")


def state_file_is_private(world):
    expect(stat.S_IMODE(world.state_file.stat().st_mode), 0o600, "the mode of the state file")


def restart_goes_on(world):
    """The rotated token comes from the state file: nobody signs in again."""
    gateway = world.refresh
    gateway.stop()
    gateway.start()
    passed(gateway.get(world.keycloak.mint()))
    trickle(
        world,
        gateway,
        lambda: gateway.renewals(grant="refresh_token", result="ok"),
        "renewals by refresh token",
    )
    expect(gateway.renewals(grant="password"), 0, "uses of the password")


def direct_token(world):
    """There is no grant to fall back to: a lost refresh token would be the end."""
    tokens = world.keycloak.sign_in("edge", "gateway", "openid")
    tables = world.direct_tables(tokens, world.folder / "direct.state")
    world.direct = world.gateway("direct", tables)
    world.run(world.direct)
    for _ in range(2):
        passed(world.direct.get(world.keycloak.mint()))
        trickle(
            world,
            world.direct,
            lambda: world.direct.renewals(grant="refresh_token", result="ok"),
            "renewals by refresh token",
        )
        world.direct.stop()
        world.direct.start()


def introspect_with_an_own_token(world):
    for gateway in (world.client_credentials, world.password):
        result = gateway.introspect(world.keycloak.mint())
        expect(result.returncode, 0, f"the exit code of {result.stdout!r} {result.stderr!r}")
        expect_in("orders-read: passes", result.stdout, "the route that it would pass")


def introspect_beside_a_gateway(world):
    """The command must not use up the refresh token of the gateway that runs."""
    result = world.refresh.introspect(world.keycloak.mint())
    expect(result.returncode, 0, f"the exit code of {result.stdout!r} {result.stderr!r}")
    goes_on(world, world.refresh)


def introspect_beside_a_direct_token(world):
    """Whether it finds a way or not: the gateway that runs has no other token to go on with."""
    passed(world.direct.get(world.keycloak.mint()))
    result = world.direct.introspect(world.keycloak.mint())
    print(f"      exit code {result.returncode}: {result.stderr.strip()!r}", flush=True)
    goes_on(world, world.direct)


def goes_on(world, gateway):
    attempts, failures = gateway.renewals(), gateway.failed_renewals()
    wait_until(lambda: gateway.renewals() >= attempts + 2, "two more attempts", 30)
    expect(gateway.failed_renewals(), failures, "renewals that failed")
    passed(gateway.get(world.keycloak.mint()))


def session_ends(world):
    """Both own tokens end at once: the password brings new ones within the request."""
    gateway = world.refresh
    used = gateway.renewals(grant="password")
    before = gateway.renewals(grant="refresh_token", result="refused")
    world.keycloak.sign_out(kept_token(world.state_file), client="gateway")
    passed(gateway.get(world.keycloak.mint()))
    expect(gateway.renewals(grant="password", result="ok"), used + 1, "uses of the password")
    counted = gateway.renewals(grant="refresh_token", result="refused")
    expect(counted, before + 1, "refused refresh tokens")
    renewed = gateway.renewals(grant="refresh_token", result="ok")
    trickle(
        world,
        gateway,
        lambda: gateway.renewals(grant="refresh_token", result="ok") - renewed,
        "renewals by the new session's refresh tokens",
    )


def direct_session_ends(world):
    """Nothing can be done about it but to say so; no client's token is blamed."""
    world.keycloak.sign_out(kept_token(world.folder / "direct.state"), client="gateway")
    answer = world.direct.get(world.keycloak.mint())
    refused(answer, 503, "introspection_client_refused", retry_after=True)
    expect_in("configure another", world.direct.child.err.read_text(), "the log")


def kept_token(state_file):
    return json.loads(state_file.read_text())["refresh_token"]


def logs_tell_no_secret(world):
    tokens = world.keycloak.minted
    expect(len(tokens) > 100, True, "whether enough tokens were minted for this to mean something")
    for gateway in world.gateways:
        for file in (gateway.child.out, gateway.child.err):
            text = file.read_text(errors="replace")
            # The signature is the part that makes a token one.
            for token in tokens:
                expect_not_in(token.rsplit(".", 1)[1], text, file.name)
            expect_not_in("Bearer ey", text, file.name)


CASES = [
    ("the guard refuses who has no token", guard_asks_for_a_token),
    ("Keycloak refuses a used refresh token", rotation_is_on),
    ("client credentials: renewed under a trickle of new tokens", client_credentials),
    ("client credentials: id and secret in the form", client_credentials_in_the_form),
    ("password: renewed under a trickle of new tokens", password),
    ("password and refresh: rotated under a trickle of new tokens", rotated_refresh),
    ("the state file is for its owner only", state_file_is_private),
    ("a restart goes on with the rotated refresh token", restart_goes_on),
    ("direct token and refresh: rotated over two restarts", direct_token),
    ("introspect gets a token of its own", introspect_with_an_own_token),
    ("the session ends: the password makes another, and the request passes", session_ends),
    ("introspect leaves a running gateway's refresh token alone", introspect_beside_a_gateway),
    ("introspect leaves a running direct token alone", introspect_beside_a_direct_token),
    ("a direct token's session ends: 503, and the log says so", direct_session_ends),
    ("no log has a token in it", logs_tell_no_secret),
]
