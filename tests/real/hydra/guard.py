"""nginx before Hydra's admin port: lets a question through only with an access token that Hydra
itself finds good at that moment. Hydra's introspection does not look at the header."""

from nginx import Nginx
from wire import LOOPBACK, free_ports

PATH = "/admin/oauth2/introspect"


def server(port, hydra):
    return f"""
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
"""


class Guard(Nginx):
    def __init__(self, folder, hydra):
        [port] = free_ports(1)
        super().__init__("guard", folder, port, server(port, hydra))

    @property
    def introspection_url(self):
        return f"http://{LOOPBACK}:{self.port}{PATH}"
