"""No bytes make two requests out of one: payloads through the gateway to three servers that read
HTTP in their own ways and tell what they saw.

    PYTHONPATH=tests/real/suite python3 tests/real/edge/framing.py BINARY FOLDER

Started by ../framing.sh.
"""

import json
import socket
from concurrent.futures import ThreadPoolExecutor

import raw_h2
from answers import ANSWERS, CUT
from payloads import AT_MOST_ONE, CLOSED, DENIED, KNOWN, ONE, REFUSED, SMUGGLED, TABLE
from payloads_h2 import TABLE_H2
from report import Failed, expect, expect_in
from stage import perform
from wire import LOOPBACK, send, wait_until
from world import World, nginx, node, python

READ_SECONDS = 5
# How long a connection has to be silent before what it has said counts as all.
SILENCE_SECONDS = 0.2
ECHO = """
    location / {
      default_type text/plain;
      return 200 "$request_method $request_uri";
    }
"""
# What the upstream has to be told, whatever a client calls a matter of the connection.
OURS = {"host", "traceparent", "x-forwarded-for", "x-forwarded-host", "x-forwarded-proto"}


class Framing(World):
    def __init__(self, stack, binary, folder):
        super().__init__(stack, binary, folder)
        self.upstreams = {
            "nginx": nginx("nginx", folder, ECHO),
            "node": node("recorder", folder, "node"),
            "python": python("recorder", folder, name="python"),
        }
        self.liar = python("liar", folder)
        self.edge = self.gateway(
            route("liar", self.liar.port)
            + "".join(route(name, part.port) for name, part in self.upstreams.items())
            + route("guarded", self.upstreams["node"].port, 'scopes = ["suite"]'),
            'http = "{http}"\nh2c = true',
        )
        self.number = 0

    def start(self):
        self.run_all([self.key_manager, *self.upstreams.values(), self.liar, self.edge])

    def print_tails(self):
        """Nothing: a payload's line says what there is to know."""

    def new_place(self):
        self.number += 1
        return f"p{self.number}"

    def seen(self, name, to):
        """Targets below `to` that the upstream has seen."""
        if name == "nginx":
            targets = [line.split(" ")[1] for line in self.upstreams[name].log.read_text().splitlines()]
        else:
            targets = [one["request"].split(" ")[1] for one in self.records(name)]
        return [target.removeprefix(to) for target in targets if target.startswith(f"{to}/")]

    def records(self, name):
        return [json.loads(line) for line in self.upstreams[name].child.output().splitlines()]

    def record(self, name, target):
        """What an upstream that says so has seen of a request."""
        found = [one for one in self.records(name) if one["request"].split(" ")[1] == target]
        expect(len(found), 1, f"how often {name} saw {target}")
        return found[0]


def route(name, port, policy="public = true"):
    return f"""
[[route]]
path = "/{name}/*"
{policy}
upstream = "http://{LOOPBACK}:{port}"
"""


def exchange(port, data, then=None, silence=SILENCE_SECONDS):
    """Sends bytes and returns what came back, and whether the gateway closed the connection."""
    with socket.create_connection((LOOPBACK, port), timeout=READ_SECONDS) as connection:
        try:
            connection.sendall(data)
            got, closed = read(connection, silence)
            if then and not closed:
                connection.sendall(then)
                more, closed = read(connection, silence)
                got += more
        except ConnectionError:
            return b"", True
        return got, closed


def read(connection, silence):
    """Until it is closed, or silent for so many seconds after an answer."""
    got = b""
    connection.settimeout(READ_SECONDS)
    while True:
        try:
            part = connection.recv(65536)
        except TimeoutError:
            return got, False
        except ConnectionError:
            return got, True
        if not part:
            return got, True
        got += part
        connection.settimeout(silence)


def status(answer):
    return int(answer[9:12]) if answer.startswith(b"HTTP/1.1 ") else None


def through_all_by_h2(fields, body, trailers, expected):
    def case(world):
        place = world.new_place()
        with ThreadPoolExecutor() as pool:
            list(pool.map(lambda name: by_h2(world, name, f"/{name}/{place}"), world.upstreams))

    def by_h2(world, name, to):
        def encoded(pairs):
            return [(filled(field, to), filled(value, to)) for field, value in pairs]

        parts = [filled(part, to) for part in body]
        answer = raw_h2.exchange(world.edge.port, encoded(fields), parts, encoded(trailers))
        meant = meant_after(world, name, to, answer)
        said = f"{name}: status {answer}"
        if expected == REFUSED:
            expect(meant, 0, f"requests that reached {said}")
        if expected in (REFUSED, CLOSED):
            # nginx answers as soon as it has the header, so it may tell of a request that never ends.
            early = expected == CLOSED and name == "nginx"
            expect(early or answer is None or answer >= 400, True, f"whether it is refused, {said}")
            expect(0 if early else meant, 0, f"whole requests that reached {said}")
        if expected == ONE:
            expect((answer, meant), (200, 1), f"status and requests that reached {said}")
        if meant and name != "nginx":
            is_as_meant(world.record(name, f"{to}/meant"), SMUGGLED.replace("{to}", to))

    return case


def filled(text, to):
    smuggled = SMUGGLED.replace("{to}", to)
    length = len(smuggled)
    text = text.replace("{length}", str(length)).replace("{length_hex}", f"{length:x}")
    return text.replace("{to}", to).encode("latin-1")


def through_all(payload, expected):
    def case(world):
        place = world.new_place()
        with ThreadPoolExecutor() as pool:
            list(pool.map(lambda name: through(world, name, f"/{name}/{place}", payload, expected), world.upstreams))

    return case


def through(world, name, to, payload, expected):
    # An end that has to come is waited for.
    silence = READ_SECONDS if expected in (REFUSED, CLOSED) else SILENCE_SECONDS
    answer, closed = exchange(world.edge.port, filled(payload, to), silence=silence)
    meant = meant_after(world, name, to, answer[:80])
    judge(world, name, to, expected, answer, closed, meant)


def meant_after(world, name, to, answer):
    """How many of the meant requests an upstream has seen, once it has certainly seen them."""
    # The next request to the same upstream, on a connection that the payload may have spoilt.
    probe = send(world.edge.port, "GET", f"{to}/probe")
    expect(probe.status, 200, f"the next request to {name}")
    expect_in(f"{to}/probe", probe.body, f"the answer of {name} to the next request")
    wait_until(lambda: "/probe" in world.seen(name, to), f"{name} has told of the next request", 5)
    seen = world.seen(name, to)
    for target in ("/meant", "/probe"):
        expect(seen.count(target) <= 1, True, f"whether {name} saw {target} once: {seen}")
    if set(seen) - {"/meant", "/probe"}:
        raise Failed(f"{name} saw {seen}, the client {answer!r}")
    return seen.count("/meant")


def judge(world, name, to, expected, answer, closed, meant):
    said = f"{name}: {answer[:60]!r}"
    if expected in (REFUSED, DENIED):
        expect(400 <= (status(answer) or 0) < 600 and status(answer) not in (502, 503), True, f"whether it is refused, {said}")
        expect(meant, 0, f"requests that reached {said}")
    if expected in (REFUSED, CLOSED):
        expect(closed, True, f"whether the connection was closed, {said}")
    # nginx answers as soon as it has the header, so it may tell of a request that never ends.
    if expected == CLOSED and name != "nginx":
        expect(meant, 0, f"whole requests that reached {said}")
    if expected in (ONE, KNOWN):
        expect(status(answer), 200, f"the status, {said}")
        expect(meant, 1, f"requests that reached {said}")
    if meant and name != "nginx":
        is_as_meant(world.record(name, f"{to}/meant"), SMUGGLED.replace("{to}", to))


def is_as_meant(record, smuggled):
    names = {field for field, _ in record["headers"]}
    expect(OURS - names, set(), "fields of ours that the upstream did not get")
    expect(record["body"] in ("", "hello", smuggled), True, f"whether this is the body: {record}")


def lying(number, expected):
    def case(world):
        data = f"GET /liar/{number} HTTP/1.1\r\nHost: edge\r\n\r\n".encode()
        silence = READ_SECONDS if expected == CUT else SILENCE_SECONDS
        answer, closed = exchange(world.edge.port, data, silence=silence)
        if expected == CUT:
            expect(status(answer) == 502 or closed, True, f"whether the client sees the end of {answer[:120]!r}")
            expect(answer.endswith(b"\r\n0\r\n\r\n"), False, "whether it looks whole")
        else:
            expect(status(answer), expected, f"the status of {answer[:120]!r}")
        expect(b"smuggled" in answer, False, "whether the client got the second answer")
        for _ in range(3):
            expect(send(world.edge.port, "GET", "/liar/good").body, "good", "the next answer")

    return case


def unread_body(head):
    """A 401 goes out before the body is read: what follows is never taken for a request."""

    def case(world):
        to = f"/guarded/{world.new_place()}"
        body = SMUGGLED.replace("{to}", to.replace("/guarded", "/node")).encode()
        data = f"POST {to}/meant HTTP/1.1\r\nHost: edge\r\n{head.format(length=len(body))}\r\n".encode()
        if "chunked" in head:
            body = b"%x\r\n%s\r\n0\r\n\r\n" % (len(body), body)
        before = len(world.records("node"))
        for first, then in ((data + body, None), (data, body)):
            answer, _ = exchange(world.edge.port, first, then)
            expect(status(answer), 401, f"the status of {answer[:60]!r}")
            expect(answer.count(b"HTTP/1.1 "), 1, f"answers in {answer!r}")
        expect(send(world.edge.port, "GET", "/node/probe").status, 200, "the next request")
        expect(len(world.records("node")), before + 1, "requests that reached the upstream")

    return case


def pipelined(world):
    """Requests that were sent at once are each looked at by themselves."""
    place = world.new_place()
    requests = "".join(
        f"GET /{name}/{place}/meant HTTP/1.1\r\nHost: edge\r\n\r\n" for name in ("node", "guarded", "python")
    )
    answer, _ = exchange(world.edge.port, requests.encode())
    statuses = [part[:3] for part in answer.split(b"HTTP/1.1 ")[1:]]
    expect(statuses in ([b"200", b"401", b"200"], [b"200", b"401"], [b"200"]), True, f"whether {statuses} are right")
    expect(world.seen("node", f"/guarded/{place}"), [], "what the upstream saw of the one without a token")


def log_agrees(world):
    """The gateway counted no more answers of upstreams than there were requests at them."""
    passed = [line for line in world.edge.access_log() if "upstream.address" in line]
    reached = sum(len(world.records(name)) for name in ("node", "python"))
    reached += len(world.upstreams["nginx"].log.read_text().splitlines())
    print(f"      {len(passed)} requests passed, {reached} reached the upstreams")
    expect(reached <= len(passed), True, f"whether {reached} is at most {len(passed)}")



CASES = [
    *((f"{expected}: {name}", through_all(payload, expected)) for name, payload, expected in TABLE),
    *((f"HTTP/2, {payload[-1]}: {name}", through_all_by_h2(*payload)) for name, payload in TABLE_H2.items()),
    *((f"answer, {one[1]}: {name}", lying(number, one[1])) for number, (name, one) in enumerate(ANSWERS.items())),
    ("401 and an unread body", unread_body("Content-Length: {length}\r\n")),
    ("401 and an unread body in chunks", unread_body("Transfer-Encoding: chunked\r\n")),
    ("401 to one that waits for 100 Continue", unread_body("Expect: 100-continue\r\nContent-Length: {length}\r\n")),
    ("three requests at once", pipelined),
    ("the upstreams saw no more than the gateway passed on", log_agrees),
]

perform(Framing, CASES)
