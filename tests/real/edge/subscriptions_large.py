"""A million subscriptions of 100,000 applications to 1,000 APIs: how long they take, and how much memory.

    python3 tests/real/edge/subscriptions_large.py BINARY FOLDER

Started by ../subscriptions.sh --large.
"""

import json
import time

from apim_world import REQUESTS, ApimWorld, call, route
from checks import passed, refused
from report import expect
from stage import perform
from wire import wait_until

SUBSCRIPTIONS, APPLICATIONS, APIS = 1_000_000, 100_000, 1_000
LOAD_SECONDS = 10
# What applications and their keys take beside is counted in.
BYTES_EACH = 200


def resident(gateway):
    """Bytes."""
    with open(f"/proc/{gateway.child.process.pid}/status") as status:
        for line in status:
            if line.startswith("VmRSS:"):
                return int(line.split()[1]) * 1024
    return 0


class World(ApimWorld):
    def start(self):
        super().start()
        self.manager.tell("large", subscriptions=SUBSCRIPTIONS, applications=APPLICATIONS, apis=APIS)
        # Everything but the lists is there before them.
        self.manager.behave("status", status=503)
        routes = [route(f"api-{number}", f"API-{number}", self.upstream) for number in (1, 500, 1000)]
        self.wide = self.validating("wide", self.manager, routes, 'resyncInterval = "1s"')
        wait_until(lambda: self.wide.metric(REQUESTS, outcome="http_error") > 0, "it has asked")


def load(world):
    before = resident(world.wide)
    world.manager.behave("ok")
    wait_until(world.wide.is_ready, "all lists are read", 120)
    world.synchronised(world.wide)
    after = resident(world.wide)
    lines = world.wide.child.err.read_text().splitlines()
    took = [json.loads(line)["took"] for line in lines if "were read" in line][0]
    print(f"      read in {took}")
    each = (after - before) / SUBSCRIPTIONS
    print(f"      memory: {before >> 20} MiB before, {after >> 20} MiB after: {each:.0f} bytes for each")
    expect(each < BYTES_EACH, True, f"whether {each:.0f} bytes for each are few enough")
    seconds = float(took.removesuffix("s")) if took[-2].isdigit() else 0
    expect(seconds <= LOAD_SECONDS, True, f"whether {took} are short enough")


def read_anew(world):
    world.synchronised(world.wide)
    before, started = world.readings(world.wide), time.monotonic()
    wait_until(lambda: world.readings(world.wide) > before, "they are read again", 120)
    # The pause between two readings is one second.
    took = time.monotonic() - started - 1
    print(f"      read anew in {took:.1f} s; memory {resident(world.wide) >> 20} MiB")
    right_ones_pass(world)


def right_ones_pass(world):
    # Application N has subscribed to ten APIs from N on.
    passed(call(world.wide, "key-1", "api-1"))
    passed(call(world.wide, "key-491", "api-500"))
    passed(call(world.wide, "key-100000", "api-1000"))
    refused(call(world.wide, "key-2", "api-1"), 403, "subscription_missing")
    refused(call(world.wide, "key-501", "api-500"), 403, "subscription_missing")


CASES = [
    (f"a million subscriptions are read within {LOAD_SECONDS} s", load),
    ("those who have subscribed pass, and nobody else", right_ones_pass),
    ("they are read anew, and nothing changes", read_anew),
]
perform(World, CASES)
