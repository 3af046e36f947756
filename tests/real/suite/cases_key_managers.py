"""One gateway and three key managers: by Basic, over TLS, and with a token of the gateway's own."""

from cases_certificates import UNREACHABLE, asks
from cases_operator import ended
from checks import invalid_token, passed, refused
from gateway import write_private
from key_manager import CLIENTS
from proofs import Proof, at, basic, own_token
from report import expect, expect_in
from wire import LOOPBACK, wait_until

NAME = "several"
SCOPE = "orders.read"


def named(name, tables):
    """The tables of `[keyManager]` as those of one of several."""
    return f"[keyManagers.{name}]\n" + tables.replace("[keymanager.", f"[keymanagers.{name}.")


def opened(world):
    """The gateway of all cases here."""
    usual = basic(at(world.key_manager.introspection_url))
    safe = basic(asks(world))
    own = own_token(at(world.guard.introspection_url), world.own_key_manager.token_url, CLIENTS["own"])
    files = {name: f"{NAME}-{name}.secret" for name in ("safe", "own")}
    for name, proof in (("safe", safe), ("own", own)):
        write_private(world.folder / files[name], proof.secret + "\n")
    routes = "".join(
        f"""
[[route]]
name = "{name}"
path = "/{name}/*"
key_manager = "{name}"
scopes = ["{SCOPE}"]
upstream = "http://{LOOPBACK}:{world.upstream.port}"
"""
        for name in files
    )

    def tables(file):
        several = named("safe", safe.tables(files["safe"])) + named("own", own.tables(files["own"]))
        return usual.tables(file) + several + routes

    return world.open(NAME, Proof(tables, usual.secret))


def each_route_asks_its_own(world):
    gateway = opened(world)
    managers = {
        "orders": world.key_manager,
        "safe": world.safe_key_manager,
        "own": world.own_key_manager,
    }
    tokens = {name: manager.mint(SCOPE) for name, manager in managers.items()}
    for _ in range(2):
        for path in managers:
            for name, token in tokens.items():
                answer = gateway.get(token, f"/{path}/1")
                if name == path:
                    passed(answer)
                else:
                    invalid_token(answer, "inactive", "inactive_cached")
    # The three tokens, once at each of the three; the second time the cache knew.
    for issuer in (f"{LOOPBACK}:{world.key_manager.port}", "safe", "own"):
        asked = {
            outcome: gateway.metric("portcullis_introspection_requests_total", issuer=issuer, outcome=outcome)
            for outcome in ("active", "inactive")
        }
        expect(asked, {"active": 1, "inactive": 2}, f"what {issuer} was asked")


def one_is_away(world):
    gateway = world.gateway(NAME)
    known, new = (world.safe_key_manager.mint(SCOPE) for _ in range(2))
    passed(gateway.get(known, "/safe/1"))
    world.safe_key_manager.stop()
    try:
        refused(gateway.get(new, "/safe/1"), 503, UNREACHABLE, retry_after=True)
        passed(gateway.get(known, "/safe/1"))
        passed(gateway.get(world.key_manager.mint(SCOPE)))
        passed(gateway.get(world.own_key_manager.mint(SCOPE), "/own/1"))
        expect(gateway.is_ready(), True, "whether the gateway still takes requests")
    finally:
        world.safe_key_manager.start()
    wait_until(
        lambda: gateway.get(world.safe_key_manager.mint(SCOPE), "/safe/1").status == 200,
        "the gateway recovers by itself",
    )


def operators_can_tell_them_apart(world):
    gateway = world.gateway(NAME)
    result = gateway.check("--online")
    ended(result, 0)
    for name in (f"{LOOPBACK}:{world.key_manager.port}", "safe", "own"):
        expect_in(f"key manager {name}: ok", result.stdout, "what is said of each")
    token = world.safe_key_manager.mint(SCOPE)
    result = gateway.introspect(token, "--key-manager", "safe")
    ended(result, 0)
    expect_in("safe: passes", result.stdout, "its own route")
    expect_in("orders-read: another_key_manager", result.stdout, "a route of another")
    ended(gateway.introspect(token), 1)
    result = gateway.introspect(token, "--key-manager", "nobody")
    ended(result, 1)
    expect_in("there is no [keyManagers.nobody]", result.stderr, "what is wrong")


CASES = [
    ("three key managers: each route asks its own, once", each_route_asks_its_own),
    (f"three key managers: one is away, 503 {UNREACHABLE}, the others go on", one_is_away),
    ("three key managers: check --online and introspect --key-manager", operators_can_tell_them_apart),
]
