"""What stands around the gateway in the suites of this folder, all on loopback."""

import pathlib
import sys

from child import Child
from gateway import Gateway
from nginx import Nginx
from stage import Stage
from wire import LOOPBACK, accepts, free_ports, wait_until

HERE = pathlib.Path(__file__).parent
# What the key manager says of tokens: of this one that it is good for an hour, of `until-TIME` that
# it is good until then (seconds since 1970), of all others that they are inactive.
GOOD = "good-token-of-the-suite"


class Peer:
    """A process that listens on a port of its own: a program of this folder, or another command."""

    def __init__(self, name, folder, command):
        [self.port] = free_ports(1)
        self.child = Child(name, [*command, self.port], folder)

    def start(self):
        self.child.start()
        wait_until(
            lambda: self.child.check_running() and accepts(self.port), f"{self.child.name} listens"
        )

    def stop(self):
        self.child.stop()

    @property
    def url(self):
        return f"http://{LOOPBACK}:{self.port}"


def python(program, folder, *arguments, name=None):
    command = [sys.executable, "-B", HERE / "peers" / f"{program}.py", *arguments]
    return Peer(name or program, folder, command)


def node(program, folder, name):
    return Peer(name, folder, ["node", HERE / "peers" / f"{program}.mjs"])


def nginx(name, folder, locations, listens="{}"):
    """`locations`: the inside of its `server` block; `listens`: what follows its address."""
    [port] = free_ports(1)
    listen = listens.format(f"{LOOPBACK}:{port}")
    return Nginx(name, folder, port, f"  server {{\n    listen {listen};\n{locations}\n  }}\n")


def key_manager_tables(key_manager):
    return f"""
[keyManager]
introspectUrl = "{key_manager.url}/introspect"
timeout = "20s"
    [keymanager.security.basic]
    username = "gateway"
    password = "demo-secret"
"""


def listening(certificates, more=""):
    """`[listen]` with HTTP/1.1 and HTTP/2, without TLS and with it; the first certificate is shown to
    whoever names nobody. `more`: further tables."""
    tables = "".join(
        f"""
[[listen.tls]]
cert_file = "{certificate}"
key_file = "{key}"
"""
        for certificate, key in certificates
    )
    return f'''http = "{{http}}"
https = "{{https}}"
h2c = true
{tables}
{more}'''


class World(Stage):
    def __init__(self, stack, binary, folder):
        super().__init__(stack)
        self.binary = binary
        self.folder = folder
        self.key_manager = python("key_manager", folder)
        self.gateways = []

    def gateway(self, more, listen='http = "{http}"', access="json", name="gateway"):
        """Not started yet. `more` is the configuration beside listeners, log and key manager."""
        [https] = free_ports(1)

        def text(http, admin):
            return f"""
[listen]
{listen.format(http=http, https=f"{LOOPBACK}:{https}")}

[admin]
listen = "{admin}"

[log]
level = "info"
access = "{access}"
{key_manager_tables(self.key_manager)}
{more}
"""

        gateway = Gateway(name, self.binary, self.folder, text)
        gateway.https_port = https
        gateway.http = f"http://{LOOPBACK}:{gateway.port}"
        gateway.https = f"https://{LOOPBACK}:{https}"
        self.gateways.append(gateway)
        return gateway
