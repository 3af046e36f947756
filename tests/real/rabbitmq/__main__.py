"""The gateway with RabbitMQ: events of API Manager, and tokens that are revoked.

    PYTHONPATH=tests/real/suite python3 tests/real/rabbitmq BINARY PROFILE SECONDS FOLDER

PROFILE is `debug` or `release`: figures count for a release build only. SECONDS: how long the broker is away.
Started by ../rabbitmq.sh.
"""

import sys
import time
from pathlib import Path

# The rows of the API Manager are made by the one that serves them.
sys.path.append(str(Path(__file__).resolve().parent.parent / "api_manager"))

import cases_changes
import cases_drop_in
import cases_figures
import cases_revocation
import model
from broker import Broker
from gateway import Gateway
from key_manager import LIST, KeyManager
from manager_process import ManagerProcess
from report import expect
from stage import Stage, perform
from upstream import Upstream
from wire import wait_until

CASES = [
    *cases_changes.CASES,
    *cases_revocation.CASES,
    *cases_figures.CASES,
    *cases_drop_in.CASES,
]
EVENTS = "portcullis_events_total"


class World(Stage):
    def __init__(self, stack, binary, profile, seconds, folder):
        super().__init__(stack)
        self.folder = folder
        self.binary = binary
        self.is_release = profile.name == "release"
        self.outage_seconds = int(seconds.name)
        self.clients = 500 if self.is_release else 200
        self.last = 0
        self.broker = Broker(folder)
        self.key_manager = KeyManager()
        self.key_manager.revoked.append({"jwt_signature": "listed~c", "expiry_time": 0})
        self.manager = ManagerProcess(folder)
        self.manager.rows = first_rows(self.clients)
        self.upstream = Upstream(folder)
        self.gateway = Gateway("gateway", binary, folder, self.text)

    def text(self, front, admin):
        upstream = f"http://127.0.0.1:{self.upstream.port}"
        return f"""
[listen]
http = "{front}"
[admin]
listen = "{admin}"
[log]
access = "off"

[keyManager]
introspectUrl = "{self.key_manager.url}/introspect"
timeout = "20s"
[keymanager.security.none]

[token_cache]
max_ttl = "10m"

[subscriptions]
validate = true

[apim.eventHub]
serviceUrl = "{self.manager.url}"
username = "admin"
password = "admin"
eventListeningEndpoints = \"\"\"{self.broker.url}\"\"\"

[revocation]
list_url = "{self.key_manager.url}{LIST}"

[[route]]
path = "/menu"
api = {{ name = "Menu", version = "1.0.0" }}
upstream = "{upstream}"
sandbox_upstream = "{upstream}"

[[route]]
path = "/later"
api = {{ name = "Later", version = "1.0.0" }}
upstream = "{upstream}"

[[route]]
path = "/open"
validate_subscriptions = false
upstream = "{upstream}"
"""

    def start(self):
        self.stack.callback(self.key_manager.stop)
        self.key_manager.start()
        self.run_all([self.upstream, self.manager])
        # Before its broker: that keeps nothing from starting.
        self.run(self.gateway)
        expect(self.gateway.get("early~c", "/open").status, 200, "a request without a broker")
        wait_until(
            lambda: self.gateway.get("t~known", "/menu").status == 200, "subscriptions are read"
        )
        self.run(self.broker)
        for topic in ("notifications", "revocations"):
            wait_until(lambda topic=topic: self.connected(topic) == 1, f"{topic} are listened to")

    def connected(self, topic):
        return self.gateway.metric("portcullis_broker_connected", topic=topic)

    def events(self):
        return self.gateway.metric(EVENTS, topic="notifications")

    def rows(self, kind):
        return self.gateway.metric("portcullis_subscriptions_rows", kind=kind)

    def time(self):
        """Milliseconds since 1970, as API Manager stamps its events."""
        return time.time_ns() // 1_000_000

    def now(self):
        """The same, later than every one before."""
        self.last = max(self.last + 1, self.time())
        return self.last

    def settle(self):
        """Waits until nobody reads lists any more, not even after a doubt."""
        seen = [0, time.monotonic()]

        def is_quiet():
            calls = len(self.manager.calls())
            if calls != seen[0]:
                seen[:] = [calls, time.monotonic()]
            return time.monotonic() - seen[1] > 14

        wait_until(is_quiet, "no list is read any more", 60)

    def put_states(self, states):
        """The API Manager says this of these clients, from now on."""
        rows = [self.identity(client) | {"subscriptionState": state} for client, state in states.items()]
        whole = [row_of(client) | row for client, row in zip(states, rows, strict=True)]
        self.manager.put("subscriptions", *whole)

    @staticmethod
    def identity(client):
        return {"subscriptionId": row_of(client)["subscriptionId"]}

    @staticmethod
    def report(line):
        print(f"      {line}", flush=True)


def row_of(client):
    number = cases_figures.FIRST + client
    return model.subscription(number * 1000 + 1, 1, number)


def first_rows(clients):
    rows = {
        "apis": [model.api(1, "Menu", "1.0.0", "/menu/1.0.0")],
        "applications": [model.application(1, "one"), model.application(2, "two")],
        "application-key-mappings": [model.key_mapping(1, "known"), model.key_mapping(2, "second")],
        "subscriptions": [model.subscription(1001, 1, 1), model.subscription(2001, 1, 2)],
    }
    for kind, more in cases_figures.rows(clients).items():
        rows[kind] += more
    return rows


perform(World, CASES)
