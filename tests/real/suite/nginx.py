"""An nginx of its own, in a folder of its own."""

import os

from child import Child
from wire import accepts, wait_until

FOLDERS = ["client_body", "proxy", "fastcgi", "uwsgi", "scgi"]


def configuration(folder, servers):
    temporary = "\n".join(f"  {name}_temp_path {folder}/{name};" for name in FOLDERS)
    # The workers must get into a folder that belongs to whoever runs the suite.
    user = "user root;" if os.geteuid() == 0 else ""
    return f"""{user}
daemon off;
worker_processes 1;
pid {folder}/nginx.pid;
error_log stderr warn;
events {{ worker_connections 4096; }}
http {{
{temporary}
  log_format short "$status $request_uri";
  access_log {folder}/access.log short;
{servers}
}}
"""


class Nginx:
    """`servers` are its `server` blocks, of which one listens on `port`."""

    def __init__(self, name, folder, port, servers):
        self.port = port
        own = folder / name
        own.mkdir()
        self.log = own / "access.log"
        file = own / "nginx.conf"
        file.write_text(configuration(own, servers))
        # `-e`: nginx opens a log at its usual place before it has read the file.
        self.child = Child(name, ["nginx", "-e", "stderr", "-p", own, "-c", file], folder)

    def start(self):
        self.child.start()
        wait_until(
            lambda: self.child.check_running() and accepts(self.port),
            f"{self.child.name} takes connections",
        )

    def stop(self):
        self.child.stop()

    def answers(self, status):
        """How many requests it has answered with this status."""
        lines = self.log.read_text().splitlines()
        return sum(1 for line in lines if line.startswith(f"{status} "))
