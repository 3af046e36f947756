"""Requests, ports, and waiting for something to become true."""

import http.client
import json
import random
import socket
import time

from report import Failed

LOOPBACK = "127.0.0.1"
REQUEST_SECONDS = 15
START_SECONDS = 30
PAUSE_SECONDS = 0.05
# Below the range that the system takes ports for outgoing connections from: a server that is
# stopped and started again must find its port still free.
PORTS = range(20000, 30000)
# Those that were given out, and that nobody may listen on yet.
given_out = set()


class Answer:
    """What came back: status, headers by any case, body."""

    def __init__(self, response):
        self.status = response.status
        self.headers = response.headers
        self.body = response.read().decode()

    def header(self, name):
        return self.headers.get(name)

    @property
    def json(self):
        try:
            return json.loads(self.body)
        except ValueError:
            raise Failed(f"this is not JSON: {self.body!r}") from None

    def __repr__(self):
        return f"{self.status} {dict(self.headers)} {self.body!r}"


def send(port, method, target, headers=None, body=None, tls=None):
    """`tls`: the context of an https connection."""
    if tls is None:
        connection = http.client.HTTPConnection(LOOPBACK, port, timeout=REQUEST_SECONDS)
    else:
        connection = http.client.HTTPSConnection(
            LOOPBACK, port, timeout=REQUEST_SECONDS, context=tls
        )
    try:
        connection.request(method, target, body=body, headers=headers or {})
        return Answer(connection.getresponse())
    finally:
        connection.close()


def is_free(port):
    with socket.socket() as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind((LOOPBACK, port))
        except OSError:
            return False
    return True


def free_ports(count):
    """Ports that nobody listens on, each once."""
    candidates = random.sample(PORTS, 50 * count)
    candidates = [port for port in candidates if port not in given_out]
    found = [port for port in candidates if is_free(port)][:count]
    if len(found) < count:
        raise Failed("there are not enough free ports")
    given_out.update(found)
    return found


def accepts(port):
    try:
        socket.create_connection((LOOPBACK, port), timeout=1).close()
    except OSError:
        return False
    return True


def wait_until(condition, what, seconds=START_SECONDS):
    """Asks again and again until `condition` gives something true, and returns that."""
    deadline = time.monotonic() + seconds
    while True:
        result = condition()
        if result:
            return result
        if time.monotonic() >= deadline:
            raise Failed(f"not within {seconds} s: {what}")
        time.sleep(PAUSE_SECONDS)
