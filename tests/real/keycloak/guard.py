"""An introspection endpoint that asks for a bearer token.

Keycloak's own takes a client's credentials and no bearer token. So an nginx stands before it, as
before a server that is secured this way: it lets Keycloak's userinfo endpoint judge the bearer
token of a request, and passes the request on with the credentials of a client.
"""

import os

from child import Child
from server import basic
from upstream import FOLDERS
from wire import LOOPBACK, accepts, free_ports, wait_until


def configuration(port, folder, keycloak):
    temporary = "\n".join(f"  {name}_temp_path {folder}/{name};" for name in FOLDERS)
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
  access_log {folder}/access.log;
  server {{
    listen {LOOPBACK}:{port};
    location = /introspect {{
      auth_request /judge;
      proxy_set_header Authorization "{basic("gateway")}";
      proxy_pass {keycloak.url("token/introspect")};
    }}
    location = /judge {{
      internal;
      proxy_method GET;
      proxy_pass_request_body off;
      proxy_set_header Content-Length "";
      proxy_pass {keycloak.url("userinfo")};
    }}
  }}
}}
"""


class Guard:
    def __init__(self, folder, keycloak):
        [self.port] = free_ports(1)
        own = folder / "guard"
        own.mkdir()
        file = own / "nginx.conf"
        file.write_text(configuration(self.port, own, keycloak))
        # `-e`: nginx opens a log at its usual place before it has read the file.
        self.child = Child("guard", ["nginx", "-e", "stderr", "-p", own, "-c", file], folder)

    @property
    def url(self):
        return f"http://{LOOPBACK}:{self.port}/introspect"

    def start(self):
        self.child.start()
        wait_until(
            lambda: self.child.check_running() and accepts(self.port), "nginx takes connections"
        )

    def stop(self):
        self.child.stop()
