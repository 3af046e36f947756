"""Nobody notices what an operator does: reload, upgrade, drain, an upstream that is killed, all
under load of mixed HTTP/1.1 and HTTP/2.

    PYTHONPATH=tests/real/suite python3 tests/real/edge/life.py BINARY FOLDER

Started by ../life.sh, which sets RATE (requests/s).
"""

import os
import signal
import time

from keys import Keys
from load import Load, none_failed
from report import expect
from stage import perform
from wire import LOOPBACK, send, wait_until
from world import HERE, Peer, World, listening

RATE = int(os.environ["RATE"])
RELOADS = 100
UPGRADES = DRAINS = 5
RELOAD_SECONDS = 0.1
ANSWER_MS = 5
CHECK_SECONDS = 1
CONFIGURATION = """
[upstreams.orders]
servers = [{servers}]
    [upstreams.orders.health_check]
    path = "/health"
    interval = "{check}s"

[[route]]
path = "/orders/*"
upstream = "orders"
scopes = ["suite"]
"""
# What a reload changes: a route more, or one less.
MORE = """
[[route]]
path = "/more/*"
upstream = "orders"
public = true
"""


def waiter(name, folder):
    return Peer(name, folder, ["node", HERE / "peers" / "waiter.mjs", ANSWER_MS])


class Life(World):
    def __init__(self, stack, binary, folder):
        super().__init__(stack, binary, folder)
        self.keys = Keys(folder)
        self.upstreams = [waiter("one", folder), waiter("other", folder)]
        servers = ", ".join(f'"{upstream.url}"' for upstream in self.upstreams)
        self.routes = CONFIGURATION.format(servers=servers, check=CHECK_SECONDS)
        self.edge = self.new_gateway("gateway")
        # Takes over what the first one gives up.
        self.second = self.new_gateway("second")

    def start(self):
        self.run_all([self.key_manager, *self.upstreams, self.edge, self.second])

    def new_gateway(self, name):
        socket = f'[process]\nupgrade_socket = "{self.folder}/{name}.sock"\n'
        return self.gateway(socket + self.routes, listening([self.keys.server]), access="off", name=name)

    def load(self, seconds, *origins):
        load = Load(self.folder, RATE, seconds, "/orders/1", origins or [self.edge.https], self.keys.authority[0])
        self.run(load)
        return load

    def print_tails(self):
        for gateway in self.gateways:
            print(gateway.child.tail(), flush=True)


def undisturbed(world):
    """The yardstick: what load and machine do by themselves."""
    none_failed(world.load(5).result())


def reloads(world):
    text = world.edge.file.read_text()
    load = world.load(60)
    before = world.edge.metric("portcullis_config_reloads_total", result="ok")
    for number in range(RELOADS):
        world.edge.file.write_text(text if number % 2 else text + MORE)
        # The last ten by the command that people type; it waits for the outcome.
        if number < RELOADS - 10:
            world.edge.child.signal(signal.SIGHUP)
            wait_until(
                lambda wanted=before + number + 1: world.edge.metric("portcullis_config_reloads_total", result="ok") >= wanted,
                f"reload {number + 1}",
            )
        else:
            expect(world.edge.command("reload", world.edge.file).returncode, 0, "the exit code of `reload`")
        time.sleep(RELOAD_SECONDS)  # so that requests begin under each of them
    load.end()
    none_failed(load.result())
    expect(world.edge.metric("portcullis_config_reloads_total", result="ok") - before, RELOADS, "reloads that were counted")


def bad_reload(world):
    """Keeps what is in force."""
    text = world.edge.file.read_text()
    load = world.load(3)
    world.edge.file.write_text(text + "\n[nonsense]\n")
    expect(world.edge.command("reload", world.edge.file).returncode, 78, "the exit code of `reload`")
    world.edge.file.write_text(text)
    expect(world.edge.command("reload", world.edge.file).returncode, 0, "the exit code of `reload`")
    none_failed(load.result())


def drains(world):
    """The gateway ends, one after the other takes its place: what it has begun it finishes."""
    load = world.load(60, world.edge.https, world.second.https)
    for _ in range(DRAINS):
        time.sleep(1)  # under load
        expect(world.edge.stop(), 0, "the exit code")
        time.sleep(1)
        world.edge.start()
    load.end()
    result = load.result()
    expect(result["elsewhere"] > 0, True, "whether the other gateway was needed")
    none_failed(result)


def upgrades(world):
    """A new process gets the sockets, the old one finishes what it has begun."""
    load = world.load(90)
    for _ in range(UPGRADES):
        time.sleep(1)  # under load
        old = upgrade(world.edge)
        wait_until(lambda old=old: old.poll() is not None, "the old process ends", 60)
        expect(old.returncode, 0, "the exit code of the old process")
    time.sleep(1)
    load.end()
    none_failed(load.result())


def upgrade(gateway):
    """Puts a new process in the place of the old one, and returns that."""
    old, child = gateway.child.process, gateway.child
    command, child.command = child.command, [*child.command[:2], "--upgrade", *child.command[2:]]
    child.start()
    child.command = command
    old.send_signal(signal.SIGQUIT)
    return old


def killed_upstream(world):
    """Only what was on its way to it may fail; it is left out, and comes back."""
    one, other = world.upstreams
    load = world.load(30)
    time.sleep(2)  # under load
    one.child.signal(signal.SIGKILL)
    one.child.process.wait()
    killed, killed_at = time.monotonic(), time.time()
    wait_until(lambda: not is_healthy(world, one), "the killed one counts as down")
    noticed = time.monotonic() - killed
    time.sleep(1)
    one.start()
    started = time.monotonic()
    wait_until(lambda: is_healthy(world, one), "it counts as up again")
    back = time.monotonic() - started
    served = len(one.child.output())
    wait_until(lambda: len(one.child.output()) > served + 100, "it gets requests again", 10)
    load.end()
    result = load.result()
    late = [at - killed_at for at in result["refusedAt"] if at > killed_at]
    print(f"      {len(result['refusedAt'])} requests failed, {len(late)} of them sent after the end"
          f" (the last {max(late, default=0) * 1000:.0f} ms after it); left out after {noticed:.1f} s, back after {back:.1f} s")
    expect(result["failed"], 0, "requests without an answer")
    expect(late, [], "requests that failed though they were sent after its end")
    expect(noticed <= 2 * CHECK_SECONDS + 1, True, f"whether {noticed:.1f} s are two checks")


def is_healthy(world, upstream):
    address = upstream.url.removeprefix("http://")
    return world.edge.metric("portcullis_upstream_healthy", address=address) == 1


CASES = [
    (f"{RATE} requests/s, nothing happens", undisturbed),
    (f"{RELOADS} reloads", reloads),
    ("a reload with a bad file", bad_reload),
    ("an upstream is killed and comes back", killed_upstream),
    (f"{DRAINS} ends, another gateway beside it", drains),
    (f"{UPGRADES} upgrades of the running process", upgrades),
]

perform(Life, CASES)
