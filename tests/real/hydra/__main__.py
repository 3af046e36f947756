"""The gateway against a real Ory Hydra, and a guard that demands the gateway's own token.

    python3 tests/real/hydra BINARY HYDRA FOLDER

Started by ../hydra.sh. FOLDER is empty and belongs to this run: configurations, logs and Hydra's
database go there.
"""

import contextlib
import pathlib
import signal
import sys

sys.path.append(str(pathlib.Path(__file__).parents[1] / "suite"))

import cases_own_token  # noqa: E402
import cases_tokens_of_hydra  # noqa: E402
from door import Door, OwnToken, without_credentials  # noqa: E402
from guard import Guard  # noqa: E402
from hydra import SECRET, Hydra  # noqa: E402
from report import Report  # noqa: E402
from upstream import Upstream  # noqa: E402

CASES = [*cases_tokens_of_hydra.CASES, *cases_own_token.CASES]


class World:
    """All processes of a run; those that were started are stopped in the opposite order."""

    def __init__(self, binary, hydra, folder):
        self.hydra = Hydra(hydra, folder)
        self.guard = Guard(folder, self.hydra)
        self.upstream = Upstream(folder)
        self.doors = []

        def door(name, keys, **options):
            made = Door(name, binary, folder, self.upstream, keys, **options)
            self.doors.append(made)
            return made

        asks_admin = without_credentials(self.hydra.introspection_url)
        # Keeps answers for longer than the suite runs.
        self.steady = door("steady", asks_admin)
        # Forgets fast enough to be waited for.
        self.brief = door("brief", asks_admin, max_ttl="2s", inactive_ttl="1s")

        def own(name, client, ready=True, scopes="introspection", **more):
            urls = self.guard.introspection_url, self.hydra.token_url
            keys = OwnToken(*urls, client, SECRET, scopes)
            for key, value in more.items():
                setattr(keys, key, value)
            return door(name, keys, ready=ready)

        self.basic = own("own-basic", "gw:basic@x")
        self.post = own("own-post", "gw:post@x", bearer="POST_BODY_BEARER")
        self.lasting = own("own-lasting", "gw:lasting@x")
        # Never get a token.
        self.raw = own("own-raw", "gw:basic@x", ready=False, encoding="raw")
        self.misplaced = own("own-misplaced", "gw:post@x", ready=False)
        self.greedy = own("own-greedy", "gw:basic@x", ready=False, scopes="root")
        self.parts = [self.hydra, self.guard, self.upstream, *self.doors]

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
    binary, hydra, folder = (pathlib.Path(argument).resolve() for argument in sys.argv[1:])
    world = World(binary, hydra, folder)
    report = Report()
    with contextlib.ExitStack() as stack:
        report.run("everything starts", lambda: world.start(stack), world.print_tails)
        if report.passed:
            for name, case in CASES:
                report.run(name, lambda case=case: case(world), world.print_tails)
    report.finish()


main()
