"""Tokens that are revoked by events, or by the list."""

import time

from door import Door
from messages import MAP, TEXT, revocation
from publisher import Publisher
from report import expect
from wire import wait_until

TOPIC = "tokenRevocation"
JWT = "eyJhbGciOiJub25lIn0.e30.c2lnbmF0dXJl"


def revoke(world, door, token, body, encoding):
    """Publishes and waits for the refusal; in milliseconds."""
    expect(door.status(token), 200, f"{token} before")
    world.publisher.publish(TOPIC, body, encoding)
    return door.wait(token, 401, time.perf_counter())


def events_end_cached_tokens(world):
    with Publisher(world.broker) as world.publisher, Door(world.gateway.port, "/open") as door:
        revoke(world, door, "one~c", revocation("one~c", MAP), MAP)
        revoke(world, door, "two~c", revocation("two~c", TEXT), TEXT)
        revoke(world, door, JWT, revocation(JWT, MAP, ttl="60"), MAP)
        # 4.x has numbers, and the signature alone.
        other = JWT.replace("c2ln", "b3RoZXI")
        signature = other.rsplit(".", 1)[-1]
        later = (int(time.time()) + 60) * 1000
        body = revocation(signature, ttl=60, expiryTime=later, type="jwt")
        revoke(world, door, other, body, TEXT)
        expect(door.status("three~c"), 200, "a token that nobody revoked")
    refused = world.gateway.get("one~c", "/open")
    expect(refused.json["reason"], "revoked", "the reason")


def nonsense_is_skipped_and_counted(world):
    skipped = "portcullis_events_skipped_total"
    cut = revocation("x", MAP)[:-3]
    with Publisher(world.broker) as publisher:
        for body in (b"", b"hello", cut, b'{"event":', revocation(""), b"\0" * 300_000):
            publisher.publish(TOPIC, body)
    wait_until(
        lambda: world.gateway.metric(skipped, topic="revocations") == 6, "six messages are skipped"
    )
    expect(world.gateway.metric(skipped, topic="revocations", reason="envelope"), 4, "envelopes")
    expect(world.gateway.metric(skipped, topic="revocations", reason="token"), 1, "no token")
    expect(world.gateway.metric(skipped, topic="revocations", reason="too_long"), 1, "too long")
    expect(world.gateway.get("three~c", "/open").status, 200, "the gateway goes on")


def the_list_is_read_at_the_start_and_after_an_outage(world):
    expect(world.gateway.get("listed~c", "/open").status, 401, "a token of the list")
    expect(world.gateway.get("meanwhile~c", "/open").status, 200, "one that is not in it yet")
    world.broker.pause()
    wait_until(lambda: world.connected("revocations") == 0, "the gateway sees the broker go")
    world.key_manager.revoked.append({"jwt_signature": "meanwhile~c", "expiry_time": 0})
    expect(world.gateway.get("meanwhile~c", "/open").status, 200, "nobody has told yet")
    world.broker.start()
    returned = time.perf_counter()
    with Door(world.gateway.port, "/open") as door:
        milliseconds = door.wait("meanwhile~c", 401, returned)
    world.report(f"the list after the broker's return: {milliseconds:.0f} ms")
    if world.is_release:
        expect(milliseconds <= 2000, True, f"within two seconds, not {milliseconds:.0f} ms")


CASES = [
    ("revocation events end tokens that are cached, in both encodings", events_end_cached_tokens),
    ("messages that are nonsense are skipped and counted", nonsense_is_skipped_and_counted),
    (
        "the list is read at the start, and when the broker came back",
        the_list_is_read_at_the_start_and_after_an_outage,
    ),
]
