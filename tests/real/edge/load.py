"""Load on a gateway while something happens to it."""

import json
import os
import subprocess

from child import Child
from report import Failed, expect
from wire import wait_until
from world import GOOD, HERE


class Load(Child):
    """`peers/load.mjs`, which says how the requests have fared."""

    count = 0

    def __init__(self, folder, rate, seconds, path, origins, authority=None):
        Load.count += 1
        command = ["node", HERE / "peers" / "load.mjs", rate, seconds, path, *origins]
        super().__init__(f"load-{Load.count}", command, folder)
        self.seconds = seconds
        self.environment = {**os.environ, "TOKEN": GOOD}
        if authority:
            self.environment["AUTHORITY"] = str(authority)

    def start(self):
        with self.out.open("ab") as out, self.err.open("ab") as err:
            self.process = subprocess.Popen(
                self.command, cwd=self.folder, env=self.environment,
                stdin=subprocess.PIPE, stdout=out, stderr=err,
            )

    def end(self):
        """Ends it early."""
        self.process.stdin.write(b'{"stop":true}\n')
        self.process.stdin.flush()

    def result(self):
        wait_until(lambda: self.process.poll() is not None, "the load ends", self.seconds + 60)
        lines = self.output().splitlines()
        if not lines:
            raise Failed(f"the load did not end well\n{self.tail()}")
        result = json.loads(lines[-1])
        print(
            f"      {result['sent']} requests at {result['rate']}/s: failed {result['failed']}, sent again"
            f" {result['again']}, statuses {result['statuses']}, p50 {result['p50']} ms,"
            f" p99 {result['p99']} ms, longest {result['longest']} ms"
        )
        for failure in result["failures"]:
            print(f"        {failure}")
        return result


def none_failed(result):
    expect(result["failed"], 0, "requests that failed")
    expect(list(result["statuses"]), ["200"], "statuses of answers")
