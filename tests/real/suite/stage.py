"""The frame of every suite: processes that run, cases one after the other, an end on every way out."""

import contextlib
import pathlib
import signal
import sys

from report import Report


class Stage:
    """The processes of a run; those that were started are stopped in the opposite order."""

    def __init__(self, stack):
        self.stack = stack
        self.parts = []

    def run(self, part, start=None):
        # Before the start: one that fails half-way must not be left behind.
        self.stack.callback(part.stop)
        self.parts.append(part)
        (start or part.start)()

    def run_all(self, parts):
        for part in parts:
            self.run(part)

    def print_tails(self):
        for part in self.parts:
            tail = part.child.tail()
            if tail:
                print(tail, flush=True)


def paths(arguments):
    """Not resolved: the place of a Python interpreter tells it where its packages are."""
    return [pathlib.Path(argument).absolute() for argument in arguments]


def perform(make_world, cases):
    """`make_world` takes what ends processes and the paths of the command line. Its world is a
    `Stage` with `start`; without a good start no case is run."""
    for number in (signal.SIGTERM, signal.SIGINT, signal.SIGHUP):
        signal.signal(number, leave)
    report = Report()
    with contextlib.ExitStack() as stack:
        world = make_world(stack, *paths(sys.argv[1:]))
        report.run("everything starts", world.start, world.print_tails)
        if report.passed:
            for name, case in cases:
                report.run(name, lambda case=case: case(world), world.print_tails)
    report.finish()


def leave(number, _):
    """Turns a signal into an ordinary end, so that every process is stopped."""
    sys.exit(128 + number)
