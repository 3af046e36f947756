"""How fast and how many: from event to effect under load, many events at once, a broker that is away."""

import random
import signal
import subprocess
import time

import model
from cases_changes import TOPIC, subscription_event
from door import Door
from messages import MAP, TEXT, notification
from publisher import Publisher
from report import Failed, expect
from wire import LOOPBACK, wait_until

STATES = {"UNBLOCKED": 200, "BLOCKED": 403}
# Applications 1001 and on, each with its key: what floods and outages are about.
FIRST = 1001
MOST_MILLISECONDS = 50


def event_to_effect(world):
    # The broker was away in the case before.
    wait_until(lambda: world.connected("notifications") == 1, "events are listened to")
    load = Load(world) if world.is_release else None
    samples = []
    try:
        if load:
            load.start()
        with Publisher(world.broker) as publisher, Door(world.gateway.port, "/menu") as door:
            expect(door.status("t~known"), 200, "before")
            for number in range(200 if load else 40):
                state = "BLOCKED" if number % 2 == 0 else "UNBLOCKED"
                encoding = (MAP, TEXT)[number // 2 % 2]
                event = subscription_event(1, 1, state)
                body = notification("SUBSCRIPTIONS_UPDATE", world.now(), event, encoding)
                since = time.perf_counter()
                publisher.publish(TOPIC, body, encoding)
                samples.append(door.wait("t~known", STATES[state], since))
                time.sleep(0.02)
    finally:
        if load:
            world.report(load.stop())
    samples.sort()
    median, high = samples[len(samples) // 2], samples[len(samples) * 99 // 100]
    world.report(
        f"event to effect: p50 {median:.1f} ms, p99 {high:.1f} ms, max {samples[-1]:.1f} ms"
        f" of {len(samples)}"
    )
    if load and high > MOST_MILLISECONDS:
        raise Failed(f"p99 is above {MOST_MILLISECONDS} ms")


class Load:
    """More than 5,000 requests a second: each connection waits between its requests, and for answers."""

    CONNECTIONS = 56
    PAUSE_MILLISECONDS = 9

    def __init__(self, world):
        self.file = world.folder / "load.lua"
        self.file.write_text(
            f"wrk.headers['Authorization'] = 'Bearer t~second'\n"
            f"function delay() return {self.PAUSE_MILLISECONDS} end\n"
        )
        self.url = f"http://{LOOPBACK}:{world.gateway.port}/menu"
        self.process = None

    def start(self):
        command = ["wrk", "-t1", f"-c{self.CONNECTIONS}", "-d60s", "-s", str(self.file), self.url]
        self.process = subprocess.Popen(command, stdout=subprocess.PIPE, text=True)
        time.sleep(2)

    def stop(self):
        self.process.send_signal(2)
        printed, _ = self.process.communicate(timeout=30)
        lines = [line.strip() for line in printed.splitlines()]
        told = [line for line in lines if line.startswith(("Requests/sec", "Non-2xx", "Socket"))]
        return "load: " + ", ".join(told)


def many_events_at_once(world):
    """The table is as the source is afterwards, client by client."""
    count, seconds = (10_000, 10) if world.is_release else (2_000, 2)
    world.settle()
    events, last = random_events(world, count * seconds, count)
    before = world.events()
    with Publisher(world.broker) as publisher:
        started = time.perf_counter()
        for number, (body, encoding) in enumerate(events):
            publisher.publish(TOPIC, body, encoding)
            ahead = number / count - (time.perf_counter() - started)
            if number % 100 == 0 and ahead > 0:
                time.sleep(ahead)
        published = time.perf_counter() - started
    wait_until(lambda: world.events() == before + len(events), "all events are taken", 60)
    behind = time.perf_counter() - started - published
    check_and_settle(world, last)
    world.report(
        f"{len(events)} events in {published:.1f} s ({len(events) / published:.0f}/s),"
        f" the last taken {behind * 1000:.0f} ms after it was sent"
    )


def events_that_wait_at_the_broker(world):
    """What the gateway takes when nothing but itself is slow: it is stopped while they are published."""
    world.settle()
    count = 50_000 if world.is_release else 5_000
    events, last = random_events(world, count, 20_000)
    before = world.events()
    process = world.gateway.child
    process.signal(signal.SIGSTOP)
    try:
        with Publisher(world.broker) as publisher:
            for body, encoding in events:
                publisher.publish(TOPIC, body, encoding)
    finally:
        process.signal(signal.SIGCONT)
    started = time.perf_counter()
    wait_until(lambda: world.events() == before + count, "all events are taken", 60)
    took = time.perf_counter() - started
    check_and_settle(world, last)
    world.report(f"{count} events that waited: {took:.1f} s ({count / took:.0f}/s)")


def random_events(world, count, of_a_second):
    """Changes of all clients in both encodings, so many of them in a second by their times; and the last state
    of each client."""
    dice = random.Random(7)
    events, last = [], {}
    begin = world.now()
    for number in range(count):
        # Each in turn: two of one client in one millisecond would have no order.
        client = number % world.clients
        last[client] = dice.choice(tuple(STATES))
        at = begin + number * 1000 // of_a_second
        event = subscription_event(FIRST + client, 1, last[client])
        encoding = (MAP, TEXT)[number % 2]
        events.append((notification("SUBSCRIPTIONS_UPDATE", at, event, encoding), encoding))
    return events, last


def check_and_settle(world, last):
    compare(world, {client: last.get(client, "UNBLOCKED") for client in range(world.clients)})
    # So that the source says the same again.
    world.put_states(last)


def an_outage_with_changes_in_it(world):
    clients = world.clients
    # What was told in advance is in the past when the source says otherwise.
    wait_until(lambda: world.now() == world.time(), "the clock has caught up")
    world.broker.pause()
    wait_until(lambda: world.connected("notifications") == 0, "the gateway sees the broker go")
    dice = random.Random(11)
    states = {client: dice.choice(tuple(STATES)) for client in range(clients)}
    gone = [client for client in range(clients) if client % 10 == 0]
    ends = time.monotonic() + world.outage_seconds
    world.put_states(states)
    world.manager.remove("subscriptions", *(world.identity(client) for client in gone))
    expect(world.gateway.get("t~known", "/menu").status, 200, "while the broker is away")
    time.sleep(max(0, ends - time.monotonic()))
    world.broker.start()
    returned = time.perf_counter()
    expected = states | dict.fromkeys(gone)
    while True:
        wrong = differences(world, expected)
        took = time.perf_counter() - returned
        if not wrong:
            break
        if took > 60:
            raise Failed(f"{len(wrong)} clients differ after {took:.1f} s")
    world.report(f"outage of {world.outage_seconds} s: equal {took * 1000:.0f} ms after the return")
    if world.is_release:
        expect(took <= 2, True, f"within two seconds, not {took:.2f} s")


def compare(world, states):
    wrong = differences(world, states)
    expect(wrong, [], "clients that differ from the source")


def differences(world, states):
    with Door(world.gateway.port, "/menu") as door:
        return [
            client
            for client, state in states.items()
            if door.status(f"t~client-{client}") != STATES.get(state, 403)
        ]


def rows(clients):
    """What the API Manager knows of them at first."""
    numbers = range(FIRST, FIRST + clients)
    return {
        "applications": [model.application(number, f"app-{number}") for number in numbers],
        "application-key-mappings": [
            model.key_mapping(number, f"client-{number - FIRST}") for number in numbers
        ],
        "subscriptions": [model.subscription(number * 1000 + 1, 1, number) for number in numbers],
    }


CASES = [
    ("from event to effect", event_to_effect),
    ("many events at once", many_events_at_once),
    ("events that wait at the broker", events_that_wait_at_the_broker),
    ("an outage of the broker, with changes in it", an_outage_with_changes_in_it),
]
