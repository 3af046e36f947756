"""A process that the suite starts, reads the output of, and ends by its id."""

import contextlib
import signal
import subprocess

from report import Failed

STOP_SECONDS = 40
TAIL_LINES = 8


class Child:
    """`NAME.out` and `NAME.err` in `folder` keep what it prints, over restarts too."""

    def __init__(self, name, command, folder):
        self.name = name
        self.command = [str(part) for part in command]
        self.folder = folder
        self.out = folder / f"{name}.out"
        self.err = folder / f"{name}.err"
        self.process = None

    def start(self):
        with self.out.open("ab") as out, self.err.open("ab") as err:
            self.process = subprocess.Popen(
                self.command,
                cwd=self.folder,
                stdin=subprocess.DEVNULL,
                stdout=out,
                stderr=err,
            )

    def check_running(self):
        """For conditions that wait for it: says at once when it will never be."""
        code = self.process.poll()
        if code is not None:
            raise Failed(f"{self.name} ended with {code}\n{self.tail()}")
        return True

    def signal(self, number):
        self.process.send_signal(number)

    def stop(self):
        """Ends it and returns its exit code; does nothing when it is not running."""
        if self.process is None:
            return None
        process, self.process = self.process, None
        # A stopped process takes no other signal before it goes on.
        with contextlib.suppress(ProcessLookupError):
            process.send_signal(signal.SIGCONT)
            process.terminate()
        try:
            return process.wait(STOP_SECONDS)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()
            raise Failed(f"{self.name} did not end by itself and was killed") from None

    def output(self):
        return self.out.read_text(errors="replace")

    def tail(self):
        """The last lines of both files, for whoever has to find out what went wrong."""
        parts = []
        for file in (self.out, self.err):
            lines = file.read_text(errors="replace").splitlines() if file.exists() else []
            parts += [f"      | {file.name}: {line}" for line in lines[-TAIL_LINES:]]
        return "\n".join(parts)
