"""An introspection endpoint that asks for a bearer token.

Keycloak's own takes a client's credentials and no bearer token. So an nginx stands before it, as
before a server that is secured this way: it lets Keycloak's userinfo endpoint judge the bearer
token of a request, and passes the request on with the credentials of a client.
"""

from nginx import Nginx
from server import basic
from wire import LOOPBACK, free_ports


def configuration(port, keycloak):
    return f"""
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
"""


class Guard(Nginx):
    def __init__(self, folder, keycloak):
        [port] = free_ports(1)
        super().__init__("guard", folder, port, configuration(port, keycloak))

    @property
    def url(self):
        return f"http://{LOOPBACK}:{self.port}/introspect"
