"""An introspection endpoint that asks for a bearer token, before oidc-provider."""

from child import Child
from key_manager import PROJECT
from wire import LOOPBACK, free_ports, wait_until


class BearerGuard:
    def __init__(self, folder, key_manager):
        [self.port] = free_ports(1)
        command = ["node", PROJECT / "guard.mjs", self.port, key_manager.port]
        self.child = Child("guard", command, folder)

    def start(self):
        self.child.start()
        wait_until(
            lambda: self.child.check_running() and "ready" in self.child.output(),
            "the guard is ready",
        )

    def stop(self):
        self.child.stop()

    @property
    def introspection_url(self):
        return f"http://{LOOPBACK}:{self.port}/introspect"

    def answers(self, status):
        """How many requests it has answered with this status."""
        return self.child.output().splitlines().count(f"answered {status}")
