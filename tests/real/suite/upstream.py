"""The upstream: an nginx that answers with the headers that reached it."""

from nginx import Nginx
from wire import LOOPBACK, free_ports

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


def server(port):
    shown = "".join(f"{name}=[$http_{name}]\\n" for name in SHOWN)
    return f"""
  server {{
    listen {LOOPBACK}:{port};
    location / {{
      default_type text/plain;
      return 200 "method=[$request_method]\\nuri=[$request_uri]\\n{shown}";
    }}
  }}
"""


class Upstream(Nginx):
    def __init__(self, folder):
        [port] = free_ports(1)
        super().__init__("nginx", folder, port, server(port))
