"""When the key manager, its opinion of the gateway, or the upstream is not as it should be."""

from cases_tokens import refusal_of
from checks import invalid_token, passed, refused
from proofs import at, basic
from report import expect
from wire import wait_until

INTROSPECTIONS = "portcullis_introspection_requests_total"


def idle_connection(world):
    """The server closes a connection that the gateway kept: the next question is asked all the same."""
    passed(world.steady.get(world.key_manager.mint("orders.read")))
    wait_until(world.key_manager.is_alone, "the server closes every connection")
    passed(world.steady.get(world.key_manager.mint("orders.read")))


def key_manager_is_gone(world):
    """Who is known passes, who is not must wait; nobody's token is blamed."""
    known = world.key_manager.mint("orders.read")
    new = world.key_manager.mint("orders.read")
    passed(world.steady.get(known))
    world.key_manager.stop()
    try:
        refused(world.steady.get(new), 503, "introspection_unreachable", retry_after=True)
        passed(world.steady.get(known))
        refused(world.brief.get(new), 503, "introspection_unreachable", retry_after=True)
        expect(world.steady.is_ready(), True, "whether the gateway still takes requests")
    finally:
        world.key_manager.start()


def key_manager_is_back(world):
    passed(world.steady.get(world.key_manager.mint("orders.read")))
    passed(world.brief.get(world.key_manager.mint("orders.read")))


def known_ones_outlive_it(world):
    """Where that is wanted: past the end of their answers, until the key manager has its say again."""
    gateway = world.open("lenient", basic(at(world.key_manager.introspection_url)), max_ttl="1s", stale_if_error="1h")
    known, new = (world.key_manager.mint("orders.read") for _ in range(2))
    passed(gateway.get(known))
    world.key_manager.stop()
    try:
        wait_until(lambda: passes_stale(gateway, known), "an answer past its end is used", 10)
        refused(gateway.get(new), 503, "introspection_unreachable", retry_after=True)
    finally:
        world.key_manager.start()
    # It has lost all its tokens, and says so as soon as it is asked.
    refusal = wait_until(lambda: refusal_of(gateway, known), "its word counts again", 30)
    invalid_token(refusal, "inactive")


def passes_stale(gateway, token):
    passed(gateway.get(token))
    return gateway.metric("portcullis_token_cache_lookups_total", result="stale") > 0


def key_manager_hangs(world):
    """It takes connections and says nothing: the gateway's timeout ends that."""
    known = world.key_manager.mint("orders.read")
    new = world.key_manager.mint("orders.read")
    passed(world.steady.get(known))
    timeouts = world.steady.metric(INTROSPECTIONS, outcome="timeout")
    world.key_manager.freeze()
    try:
        refused(world.steady.get(new), 503, "introspection_timeout", retry_after=True)
        passed(world.steady.get(known))
    finally:
        world.key_manager.thaw()
    wait_until(
        lambda: world.steady.metric(INTROSPECTIONS, outcome="timeout") == timeouts + 1,
        "the timeout is counted",
    )
    passed(world.steady.get(new))


def wrong_password(world):
    """The gateway is refused, not the caller: never 401."""
    answer = world.stranger.get(world.key_manager.mint("orders.read"))
    refused(answer, 503, "introspection_client_refused", retry_after=True)
    counted = world.stranger.metric(INTROSPECTIONS, outcome="client_refused")
    expect(counted, 1, "refusals in the metrics")


def raw_encoding(world):
    """This server answers 400 to credentials that are not form-encoded: no verdict, so no 401."""
    answer = world.raw.get(world.key_manager.mint("orders.read"))
    refused(answer, 502, "introspection_bad_answer")


def no_upstream(world):
    answer = world.steady.get(world.key_manager.mint("orders.read"), target="/nobody/home")
    refused(answer, 502, "upstream_connect")


CASES = [
    ("a kept connection that the key manager closed costs nothing", idle_connection),
    ("key manager stopped: new tokens 503 with Retry-After, known ones pass", key_manager_is_gone),
    ("key manager started again: new tokens pass", key_manager_is_back),
    ("key manager stopped, with stale_if_error: known ones pass past their end, until it is back", known_ones_outlive_it),
    ("key manager hangs: new tokens 503 in time, known ones pass", key_manager_hangs),
    ("wrong gateway password: 503 introspection_client_refused", wrong_password),
    ("credentials in the wrong encoding: 502, never 401", raw_encoding),
    ("no upstream: 502", no_upstream),
]
