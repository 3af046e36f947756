"""RabbitMQ as a process of its own: its name, ports, data and home belong to this run."""

import base64
import hashlib
import json
import os
import secrets

from child import Child
from wire import LOOPBACK, accepts, free_ports, wait_until

SERVER = "/usr/lib/rabbitmq/bin/rabbitmq-server"
VIRTUAL_HOST = "carbon"
USER = "admin"
PASSWORD = "admin@broker:1"
START_SECONDS = 90


class Broker:
    """Messages and queues do not survive a stop: everything is on files of this run, and nothing that
    the gateway makes is durable. The port stays the same."""

    def __init__(self, folder):
        self.port, self.dist_port, self.epmd_port = free_ports(3)
        home = folder / "broker"
        home.mkdir()
        definitions = home / "definitions.json"
        definitions.write_text(json.dumps(described()))
        config = home / "rabbitmq.conf"
        config.write_text(
            f"listeners.tcp.1 = {LOOPBACK}:{self.port}\n"
            f"load_definitions = {definitions}\n"
            "loopback_users = none\nlog.console.level = warning\n"
        )
        (home / "enabled_plugins").write_text("[].\n")
        environment = os.environ | {
            "HOME": str(home),
            "ERL_EPMD_PORT": str(self.epmd_port),
            "ERL_EPMD_ADDRESS": LOOPBACK,
            # Otherwise a shell stays in front that stops it by commands of its own.
            "RABBITMQ_ALLOW_INPUT": "true",
            "RABBITMQ_CONF_ENV_FILE": str(home / "none"),
            "RABBITMQ_CONFIG_FILE": str(config),
            "RABBITMQ_DIST_PORT": str(self.dist_port),
            "RABBITMQ_ENABLED_PLUGINS_FILE": str(home / "enabled_plugins"),
            "RABBITMQ_LOGS": "-",
            "RABBITMQ_LOG_BASE": str(home / "log"),
            "RABBITMQ_MNESIA_BASE": str(home / "data"),
            "RABBITMQ_NODENAME": f"portcullis-{self.port}@localhost",
            "RABBITMQ_PID_FILE": str(home / "pid"),
            "RABBITMQ_SERVER_ADDITIONAL_ERL_ARGS": (
                "-kernel inet_dist_use_interface {127,0,0,1} -noinput"
            ),
        }
        # A name server of Erlang's, so that the broker starts none that would stay behind.
        epmd = ["epmd", "-address", LOOPBACK, "-port", self.epmd_port]
        self.names = Child("epmd", epmd, folder)
        self.child = Child("rabbitmq", ["env", *pairs(environment), SERVER], folder)

    def start(self):
        if self.names.process is None:
            self.names.start()
            wait_until(lambda: accepts(self.epmd_port), "epmd listens")
        self.child.start()
        wait_until(
            lambda: self.child.check_running() and accepts(self.port),
            "RabbitMQ listens",
            START_SECONDS,
        )

    def stop(self):
        self.child.stop()
        self.names.stop()

    def pause(self):
        """Ends it; `start` brings it back."""
        self.child.stop()

    @property
    def url(self):
        """As the original writes it."""
        user, password = (part.replace("@", "%40").replace(":", "%3A") for part in (USER, PASSWORD))
        return (
            f"amqp://{user}:{password}@client/{VIRTUAL_HOST}?retries='3'&connectdelay='5000'"
            f"&brokerlist='tcp://{LOOPBACK}:{self.port}?retries='5'&connectdelay='50''"
        )


def pairs(environment):
    return [f"{name}={value}" for name, value in environment.items()]


def described():
    everything = {"configure": ".*", "write": ".*", "read": ".*"}
    return {
        "users": [
            {
                "name": USER,
                "password_hash": hashed(PASSWORD),
                "hashing_algorithm": "rabbit_password_hashing_sha256",
                "tags": "administrator",
            }
        ],
        "vhosts": [{"name": VIRTUAL_HOST}],
        "permissions": [{"user": USER, "vhost": VIRTUAL_HOST} | everything],
    }


def hashed(password):
    salt = secrets.token_bytes(4)
    return base64.b64encode(salt + hashlib.sha256(salt + password.encode()).digest()).decode()
