"""The gateway against a real Keycloak.

    PYTHONPATH=tests/real/suite python3 tests/real/keycloak BINARY KEYCLOAK FOLDER

Started by ../keycloak.sh. KEYCLOAK is an unpacked distribution, FOLDER is empty; both belong to
this run.
"""

import contextlib
import pathlib
import signal
import sys

import cases_introspection
import cases_outage
import cases_own_token
from report import Report
from world import World

CASES = [*cases_introspection.CASES, *cases_own_token.CASES, *cases_outage.CASES]


def leave(number, _):
    """Turns a signal into an ordinary end, so that every process is stopped."""
    sys.exit(128 + number)


def main():
    for number in (signal.SIGTERM, signal.SIGINT, signal.SIGHUP):
        signal.signal(number, leave)
    binary, home, folder = (pathlib.Path(argument).resolve() for argument in sys.argv[1:])
    world = World(binary, home, folder)
    report = Report()
    with contextlib.ExitStack() as stack:
        report.run("everything starts", lambda: world.start(stack), world.print_tails)
        if report.passed:
            for name, case in CASES:
                report.run(name, lambda case=case: case(world), world.print_tails)
    report.finish()


main()
