"""The gateway against a real django-oauth-toolkit, whose introspection demands an own token.

    python3 tests/real/dot BINARY PYTHON FOLDER

Started by ../dot.sh; PYTHON has the packages of requirements.txt. FOLDER is empty and belongs to
this run.
"""

import contextlib
import pathlib
import signal
import sys

sys.path.append(str(pathlib.Path(__file__).parents[1] / "suite"))

from cases import CASES  # noqa: E402
from door import Door, OwnToken, basic  # noqa: E402
from provider import PERSON, SECRET, Provider  # noqa: E402
from report import Report  # noqa: E402
from upstream import Upstream  # noqa: E402


class World:
    """All processes of a run; those that were started are stopped in the opposite order."""

    def __init__(self, binary, python, folder):
        self.provider = Provider(python, folder)
        self.upstream = Upstream(folder)
        self.doors = []

        def door(name, keys, ready=True, **more):
            for key, value in more.items():
                setattr(keys, key, value)
            made = Door(
                name, binary, folder, self.upstream, keys, ready, max_ttl="2s", inactive_ttl="1s"
            )
            self.doors.append(made)
            return made

        def own(client, scopes="introspection"):
            urls = self.provider.introspection_url, self.provider.token_url
            return OwnToken(*urls, client, SECRET, scopes)

        self.by_basic = door("basic", basic(self.provider.introspection_url, "app", SECRET))
        self.header = door("own-header", own("gw:short@x"))
        self.body = door("own-body", own("gw:short@x"), bearer="POST_BODY_BEARER")
        self.person = door("own-person", own("gw:person@x"), person=PERSON)
        self.lasting = door("own-lasting", own("gw:lasting@x"))
        # Gets tokens, which may not introspect.
        self.humble = door("own-humble", own("gw:lasting@x", scopes="orders.read"))
        # Never gets a token.
        self.stranger = door("own-stranger", own("gw:nobody"), ready=False)
        self.parts = [self.provider, self.upstream, *self.doors]

    def start(self, stack):
        for part in self.parts:
            # Before the start: one that fails half-way must not be left behind.
            stack.callback(part.stop)
            part.start()

    def print_tails(self):
        for part in self.parts:
            tail = part.child.tail()
            if tail:
                print(tail, flush=True)


def leave(number, _):
    """Turns a signal into an ordinary end, so that every process is stopped."""
    sys.exit(128 + number)


def main():
    for number in (signal.SIGTERM, signal.SIGINT, signal.SIGHUP):
        signal.signal(number, leave)
    # Not resolved: the interpreter's own place tells it where its packages are.
    binary, python, folder = (pathlib.Path(argument).absolute() for argument in sys.argv[1:])
    world = World(binary, python, folder)
    report = Report()
    with contextlib.ExitStack() as stack:
        report.run("everything starts", lambda: world.start(stack), world.print_tails)
        if report.passed:
            for name, case in CASES:
                report.run(name, lambda case=case: case(world), world.print_tails)
    report.finish()


main()
