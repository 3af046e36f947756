"""The front door, seen by one client that keeps its connection: fast enough to see when a change is in force."""

import http.client
import time

from report import Failed
from wire import LOOPBACK


class Door:
    def __init__(self, port, target):
        self.connection = http.client.HTTPConnection(LOOPBACK, port, timeout=30)
        self.target = target

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.connection.close()

    def status(self, token):
        self.connection.request("GET", self.target, headers={"Authorization": f"Bearer {token}"})
        answer = self.connection.getresponse()
        answer.read()
        return answer.status

    def wait(self, token, status, since, seconds=60):
        """Milliseconds from `since` (of `time.perf_counter`) to the first answer with this status."""
        while True:
            asked = time.perf_counter()
            found = self.status(token)
            if found == status:
                return (asked - since) * 1000
            if asked - since > seconds:
                raise Failed(f"{token}: {found} and not {status} after {seconds} s")
