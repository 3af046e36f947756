"""nginx before Hydra's admin port: lets a question through only with an access token that Hydra
itself finds good at that moment. Hydra's introspection does not look at the header."""

import os

from child import Child
from upstream import FOLDERS
from wire import LOOPBACK, accepts, free_ports, wait_until

PATH = "/admin/oauth2/introspect"


def configuration(port, hydra, folder):
    temporary = "\n".join(f"  {name}_temp_path {folder}/guard-{name};" for name in FOLDERS)
    user = "user root;" if os.geteuid() == 0 else ""
    return f"""{user}
daemon off;
worker_processes 1;
pid {folder}/guard.pid;
error_log stderr warn;
events {{ worker_connections 256; }}
http {{
{temporary}
  log_format short "$status $request_uri";
  access_log {folder}/guard-access.log short;
  server {{
    listen {LOOPBACK}:{port};
    location = {PATH} {{
      auth_request /asks-hydra;
      proxy_pass http://{LOOPBACK}:{hydra.admin};
      # It has done its work.
      proxy_set_header Authorization "";
    }}
    location = /asks-hydra {{
      internal;
      proxy_pass http://{LOOPBACK}:{hydra.port}/userinfo;
      proxy_method GET;
      proxy_pass_request_body off;
      proxy_set_header Content-Length "";
    }}
  }}
}}
"""


class Guard:
    def __init__(self, folder, hydra):
        [self.port] = free_ports(1)
        self.log = folder / "guard-access.log"
        file = folder / "guard.conf"
        file.write_text(configuration(self.port, hydra, folder))
        command = ["nginx", "-e", "stderr", "-p", folder, "-c", file]
        self.child = Child("guard", command, folder)

    def start(self):
        self.child.start()
        wait_until(
            lambda: self.child.check_running() and accepts(self.port), "the guard takes connections"
        )

    def stop(self):
        self.child.stop()

    @property
    def introspection_url(self):
        return f"http://{LOOPBACK}:{self.port}{PATH}"

    def answers(self, status):
        """How many questions it has answered with this status."""
        lines = self.log.read_text().splitlines()
        return sum(1 for line in lines if line.startswith(f"{status} "))
