"""Counts what passed and what failed, and prints one line for each case."""

import sys
import time
import traceback


class Failed(Exception):
    """A case found something else than it expected."""


def expect(actual, wanted, what):
    if actual != wanted:
        raise Failed(f"{what}: expected {wanted!r}, got {actual!r}")


def expect_in(part, whole, what):
    if part not in whole:
        raise Failed(f"{what}: expected {part!r} in {whole!r}")


def expect_not_in(part, whole, what):
    if part in whole:
        raise Failed(f"{what}: did not expect {part!r} in {whole!r}")


class Report:
    """Runs cases; one that fails does not keep the others from running."""

    def __init__(self):
        self.passed = 0
        self.failed = 0

    def run(self, name, case, on_failure):
        started = time.monotonic()
        try:
            case()
        except Failed as fault:
            self._fail(name, str(fault), on_failure)
        except Exception:  # a crash of a case is a failure of it, and not the end of the suite
            self._fail(name, traceback.format_exc(), on_failure)
        else:
            self.passed += 1
            print(f"ok    {name} ({time.monotonic() - started:.1f} s)", flush=True)

    def _fail(self, name, why, on_failure):
        self.failed += 1
        print(f"FAIL  {name}\n      {why}", flush=True)
        on_failure()

    def finish(self):
        """Prints the sum as the last line. A run without a case is not a good run."""
        print(f"{self.passed} passed, {self.failed} failed", flush=True)
        sys.exit(0 if self.passed and not self.failed else 1)
