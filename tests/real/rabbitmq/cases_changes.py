"""What each type of event does to who may call what, seen at the front door. The data API fails meanwhile:
only events can be the cause."""

import itertools

import model
from door import Door
from messages import MAP, TEXT, notification
from publisher import Publisher
from report import expect
from wire import wait_until

TOPIC = "notification"
BOTH = itertools.cycle((MAP, TEXT))
FORBIDDEN = 403
# What the gateway says where it has never asked about a pair and nobody answers.
UNKNOWN = (403, 503)


class Told:
    """Publishes events with times that go on, in one encoding after the other."""

    def __init__(self, world, publisher):
        self.world = world
        self.publisher = publisher

    def __call__(self, kind, event, at=None, encoding=None):
        encoding = encoding or next(BOTH)
        at = at or self.world.now()
        self.publisher.publish(TOPIC, notification(kind, at, event, encoding), encoding)
        return at


def api_event(number, name, version="1.0.0", status="PUBLISHED"):
    return {
        "apiId": number,
        "apiName": name,
        "apiVersion": version,
        "apiContext": f"/{name.lower()}/{version}",
        "apiProvider": "admin",
        "apiStatus": status,
    }


def application_event(number, name="app"):
    return {
        "applicationId": number,
        "uuid": model.uuid("applications", number),
        "applicationName": name,
        "applicationPolicy": "Unlimited",
        "tokenType": "JWT",
        "subscriber": "admin",
    }


def key_event(app_id, key, kind="PRODUCTION"):
    return {"applicationId": app_id, "consumerKey": key, "keyType": kind, "keyManager": "Default"}


def subscription_event(app_id, api_id, state="UNBLOCKED"):
    return {
        "subscriptionId": app_id * 1000 + api_id,
        "applicationId": app_id,
        "apiId": api_id,
        "policyId": "Unlimited",
        "subscriptionState": state,
    }


def with_events_only(case):
    """The data API answers 500 while the case runs; all of it is told by events."""

    def wrapped(world):
        world.manager.behave("status")
        try:
            with Publisher(world.broker) as publisher, Door(world.gateway.port, "/menu") as door:
                case(world, Told(world, publisher), door)
        finally:
            world.manager.behave("ok")

    return wrapped


def until(door, token, *statuses):
    wait_until(lambda: door.status(token) in statuses, f"{token} gets one of {statuses}")


@with_events_only
def a_subscription_from_its_creation_to_its_end(_, tell, door):
    expect(door.status("t~known") in UNKNOWN, False, "the known client passes")
    until(door, "t~new", *UNKNOWN)
    tell("APPLICATION_CREATE", application_event(50))
    tell("APPLICATION_REGISTRATION_CREATE", key_event(50, "new"))
    expect(door.status("t~new") in UNKNOWN, True, "without a subscription")
    tell("SUBSCRIPTIONS_CREATE", subscription_event(50, 1))
    until(door, "t~new", 200)
    for state, status in (
        ("BLOCKED", FORBIDDEN),
        ("UNBLOCKED", 200),
        ("ON_HOLD", FORBIDDEN),
        ("TIER_UPDATE_PENDING", 200),
        ("REJECTED", FORBIDDEN),
        ("unblocked", 200),
        ("PROD_ONLY_BLOCKED", FORBIDDEN),
    ):
        tell("subscriptions_update", subscription_event(50, 1, state))
        until(door, "t~new", status)
    # The same key for the sandbox.
    tell("APPLICATION_REGISTRATION_CREATE", key_event(50, "new", "SANDBOX"))
    until(door, "t~new", 200)
    tell("SUBSCRIPTIONS_DELETE", subscription_event(50, 1))
    until(door, "t~new", *UNKNOWN)


@with_events_only
def keys_that_are_removed_stop_working(_, tell, door):
    tell("APPLICATION_CREATE", application_event(51))
    tell("SUBSCRIPTIONS_CREATE", subscription_event(51, 1))
    tell("APPLICATION_REGISTRATION_CREATE", key_event(51, "key"))
    until(door, "t~key", 200)
    tell("REMOVE_APPLICATION_KEYMAPPING", key_event(51, "key"))
    until(door, "t~key", *UNKNOWN)


@with_events_only
def applications_that_are_deleted(_, tell, door):
    for encoding in (MAP, TEXT):
        tell("APPLICATION_CREATE", application_event(52), encoding=encoding)
        tell("APPLICATION_REGISTRATION_CREATE", key_event(52, "gone"), encoding=encoding)
        tell("SUBSCRIPTIONS_CREATE", subscription_event(52, 1), encoding=encoding)
        until(door, "t~gone", 200)
        tell("APPLICATION_UPDATE", application_event(52, "renamed"), encoding=encoding)
        tell("APPLICATION_DELETE", application_event(52), encoding=encoding)
        until(door, "t~gone", *UNKNOWN)


@with_events_only
def apis_that_come_and_go(world, tell, door):
    del door
    with Door(world.gateway.port, "/later") as later:
        until(later, "t~known", *UNKNOWN)
        tell("SUBSCRIPTIONS_CREATE", subscription_event(1, 60))
        tell("API_CREATE", api_event(60, "Later"))
        until(later, "t~known", 200)
        tell("API_DELETE", api_event(60, "Later"))
        until(later, "t~known", *UNKNOWN)
        tell("API_UPDATE", api_event(60, "Later"))
        until(later, "t~known", 200)
        tell("API_LIFECYCLE_CHANGE", api_event(60, "Later", status="RETIRED"))
        until(later, "t~known", *UNKNOWN)


@with_events_only
def the_newest_word_counts_in_any_order(world, tell, door):
    now = world.now()
    tell("SUBSCRIPTIONS_UPDATE", subscription_event(1, 1, "BLOCKED"), at=now)
    until(door, "t~known", FORBIDDEN)
    tell("SUBSCRIPTIONS_UPDATE", subscription_event(1, 1, "UNBLOCKED"), at=now - 1000)
    tell("SUBSCRIPTIONS_UPDATE", subscription_event(2, 1, "BLOCKED"))
    until(door, "t~second", FORBIDDEN)
    expect(door.status("t~known"), FORBIDDEN, "an older event came later")
    tell("SUBSCRIPTIONS_UPDATE", subscription_event(1, 1, "UNBLOCKED"))
    tell("SUBSCRIPTIONS_UPDATE", subscription_event(2, 1, "UNBLOCKED"))
    until(door, "t~known", 200)
    until(door, "t~second", 200)


def a_time_to_come_hides_nothing(world):
    with Publisher(world.broker) as publisher, Door(world.gateway.port, "/menu") as door:
        tell = Told(world, publisher)
        hour = world.time() + 3_600_000
        tell("SUBSCRIPTIONS_UPDATE", subscription_event(1, 1, "BLOCKED"), at=hour)
        until(door, "t~known", FORBIDDEN)
        # The lists know better, and are read soon.
        wait_until(lambda: door.status("t~known") == 200, "the lists are read again", 60)


@with_events_only
def other_tenants_and_nonsense_change_nothing(world, tell, door):
    before = skipped(world)
    other = {"tenantDomain": "example.com", "tenantId": 2}
    tell("SUBSCRIPTIONS_UPDATE", subscription_event(1, 1, "BLOCKED") | other)
    for event in (
        {},
        {"applicationId": None, "apiId": 1, "subscriptionState": "BLOCKED"},
        {"applicationId": 1, "apiId": -1, "subscriptionState": "BLOCKED"},
        {"applicationId": 1, "apiId": 1},
        subscription_event(1, 1, "BLOCKED") | {"timeStamp": 2**62},
    ):
        tell("SUBSCRIPTIONS_UPDATE", event)
    whole = notification("SUBSCRIPTIONS_UPDATE", world.now(), subscription_event(1, 1), MAP)
    for body in (whole[:-1], b"", b"[]", b'{"event":{"payloadData":{"eventType":"X","event":"%"}}}'):
        tell.publisher.publish(TOPIC, body)
    wait_until(lambda: skipped(world) == before + 10, "ten messages are skipped")
    expect(skipped(world, reason="other_tenant"), 1, "another tenant")
    expect(door.status("t~known"), 200, "the known client passes")


def policies_are_read_again(world):
    calls = "subscription-policies"
    world.settle()
    before = len(world.manager.calls(calls))
    world.manager.put(calls, model.subscription_policy(9, "Platinum", 9000))
    with Publisher(world.broker) as publisher:
        tell = Told(world, publisher)
        event = {"policyId": 9, "policyName": "Platinum", "policyType": "SUBSCRIPTION"}
        tell("POLICY_CREATE", event)
        for _ in range(20):
            tell("POLICY_UPDATE", event)
        wait_until(lambda: world.rows("subscription_policies") == 4, "the new policy is there")
        readings = len(world.manager.calls(calls)) - before
        expect(1 <= readings <= 5, True, f"whether {readings} readings are few for 21 events")
        world.manager.remove(calls, {"name": "Platinum"})
        tell("POLICY_DELETE", event)
        wait_until(lambda: world.rows("subscription_policies") == 3, "the policy is gone")


def skipped(world, **labels):
    return world.gateway.metric(
        "portcullis_events_skipped_total", topic="notifications", **labels
    )


CASES = [
    ("a subscription from its creation to its end", a_subscription_from_its_creation_to_its_end),
    ("keys that are removed stop working", keys_that_are_removed_stop_working),
    ("applications that are deleted", applications_that_are_deleted),
    ("APIs that come and go", apis_that_come_and_go),
    ("the newest word counts, in any order", the_newest_word_counts_in_any_order),
    ("an event with a time to come hides nothing that comes later", a_time_to_come_hides_nothing),
    ("other tenants and nonsense change nothing", other_tenants_and_nonsense_change_nothing),
    ("policies are read again", policies_are_read_again),
]
