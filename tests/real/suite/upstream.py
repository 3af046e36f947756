"""The upstream: an nginx of its own, which answers with the headers that reached it."""

import os

from child import Child
from wire import LOOPBACK, accepts, free_ports, wait_until

# nginx reads `$http_x_auth_client` from the header of that name; one that is not there is empty.
SHOWN = [
    "authorization",
    "traceparent",
    "x_auth_client",
    "x_auth_note",
    "x_auth_tenant",
    "x_evil",
    "x_forwarded_for",
]
FOLDERS = ["client_body", "proxy", "fastcgi", "uwsgi", "scgi"]


def configuration(port, folder):
    shown = "".join(f"{name}=[$http_{name}]\\n" for name in SHOWN)
    temporary = "\n".join(f"  {name}_temp_path {folder}/nginx-{name};" for name in FOLDERS)
    # The workers must get into a folder that belongs to whoever runs the suite.
    user = "user root;" if os.geteuid() == 0 else ""
    return f"""{user}
daemon off;
worker_processes 1;
pid {folder}/nginx.pid;
error_log stderr warn;
events {{ worker_connections 256; }}
http {{
{temporary}
  access_log {folder}/nginx-access.log;
  server {{
    listen {LOOPBACK}:{port};
    location / {{
      default_type text/plain;
      return 200 "method=[$request_method]\\nuri=[$request_uri]\\n{shown}";
    }}
  }}
}}
"""


class Upstream:
    def __init__(self, folder):
        [self.port] = free_ports(1)
        file = folder / "nginx.conf"
        file.write_text(configuration(self.port, folder))
        # `-e`: nginx opens a log at its usual place before it has read the file.
        command = ["nginx", "-e", "stderr", "-p", folder, "-c", file]
        self.child = Child("nginx", command, folder)

    def start(self):
        self.child.start()
        wait_until(
            lambda: self.child.check_running() and accepts(self.port), "nginx takes connections"
        )

    def stop(self):
        self.child.stop()
