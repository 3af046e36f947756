"""A gateway whose subscriptions come from an API Manager."""

import sys

from gateway import Gateway
from manager_process import FOLDER, ManagerProcess
from wire import wait_until
from world import World, nginx

# The rows' shapes are the API Manager's own.
sys.path.append(str(FOLDER))
import model  # noqa: E402

USER, PASSWORD = "gateway", "s3cret:of/the+API&Manager"
AGE = "portcullis_subscriptions_age_seconds"
REQUESTS = "portcullis_apim_requests_total"
SKIPPED = "portcullis_apim_rows_skipped_total"


# As the original writes them, with a slip of one of its pages (`service_url`); the last two tables are ours.
MICRO_GW = """
[listenerConfig]
  host = "{host}"
  httpPort = {port}
[keyManager]
  introspectUrl = "{key_manager}/introspect"
  [keymanager.security.basic]
    enabled = true
    username = "gateway"
    password = "demo-secret"
[security]
  validateSubscriptions = true
[apim.eventHub]
  enable = true
  service_url = "{manager}/"
  internalDataContext = "/internal/data/v1/"
  username = "{user}"
  password = "{password}"
  eventListeningEndpoints = "amqp://admin:admin@carbon/carbon?brokerlist='tcp://127.0.0.1:9'"
[admin]
listen = "{admin}"
[log]
access = "json"
"""
DEFINITION = """
openapi: 3.0.0
info: {{ title: {title}, version: 1.0.0 }}
x-wso2-basePath: /{path}/{{version}}
x-wso2-production-endpoints: {{ urls: [ "{upstream}" ], type: http }}
x-wso2-sandbox-endpoints: {{ urls: [ "{upstream}" ], type: http }}
paths:
  /menu:
    get: {{ responses: {{ "200": {{ description: ok }} }} }}
"""


def event_hub(manager, more="", password=PASSWORD):
    return f"""
[apim.eventHub]
enable = true
serviceUrl = "{manager.url}/"
internalDataContext = "/internal/data/v1/"
username = "{USER}"
password = "{password}"
{more}
"""


def route(slug, name, upstream, version="1.0.0", more=""):
    return f"""
[[route]]
name = "{slug}"
path = "/{slug}/*"
upstream = "{upstream.url}"
api = {{ name = "{name}", version = "{version}", context = "/{slug}" }}
{more}
"""


class ApimWorld(World):
    def __init__(self, stack, binary, folder):
        super().__init__(stack, binary, folder)
        self.upstream = nginx("nginx", folder, '    location / { return 200 "through\\n"; }')
        self.upstream.url = f"http://127.0.0.1:{self.upstream.port}"
        self.manager = self.make_manager("api-manager")

    def make_manager(self, name, *options):
        account = ("--username", USER, "--password", PASSWORD)
        return ManagerProcess(self.folder, *account, *options, name=name)

    def start(self):
        self.run_all([self.key_manager, self.upstream, self.manager])

    def validating(self, name, manager, routes, hub="", password=PASSWORD, start=True):
        """A gateway that lets nobody pass who has not subscribed; `hub`: more keys of its table."""
        text = "[subscriptions]\nvalidate = true\n" + "".join(routes)
        gateway = self.gateway(text + event_hub(manager, hub, password), name=name)
        if start:
            self.run(gateway, gateway.start_unready)
        return gateway

    def drop_in(self, apis):
        """A gateway that is told everything by a file and a project of WSO2 API Microgateway; `apis`: titles by
        path."""
        project = self.folder / "project"
        definitions = project / "api_definitions"
        definitions.mkdir(parents=True)
        for path, title in apis.items():
            (definitions / f"{path}.yaml").write_text(DEFINITION.format(
                title=title, path=path, upstream=self.upstream.url))

        def text(http, admin):
            host, port = http.split(":")
            return MICRO_GW.format(host=host, port=port, admin=admin, key_manager=self.key_manager.url,
                                   manager=self.manager.url, user=USER, password=PASSWORD)

        gateway = Gateway("drop-in", self.binary, project, text, file="micro-gw.conf")
        self.gateways.append(gateway)
        self.run(gateway, gateway.start_unready)
        return gateway

    def readings(self, gateway):
        """How often all lists were read: this one is the last, and is asked for as a list only."""
        return gateway.metric(REQUESTS, list="subscription_policies", outcome="ok")

    def synchronised(self, gateway):
        """Waits until all lists have been read from now on: of the next reading nobody knows when it
        began."""
        before = self.readings(gateway)
        wait_until(lambda: self.readings(gateway) >= before + 2, "all lists are read", 60)


def call(gateway, client, slug):
    return gateway.get(f"of-{client}", f"/{slug}/menu")
