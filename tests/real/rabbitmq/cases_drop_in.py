"""A gateway that is told everything by a file of WSO2 API Microgateway."""

import model
from broker import PASSWORD, USER
from gateway import Gateway
from manager_process import ManagerProcess
from messages import MAP, notification, revocation
from publisher import Publisher
from report import expect
from wire import LOOPBACK, wait_until

# The accounts in the addresses are nobody's: those beside them count. The last tables are ours.
FILE = """
[listenerConfig]
  host = "{host}"
  httpPort = {port}
[keyManager]
  introspectUrl = "{key_manager}/introspect"
[security]
  validateSubscriptions = true
[apim.eventHub]
  enable = true
  serviceUrl = "{manager}"
  internalDataContext = "/internal/data/v1/"
  username = "{user}"
  password = "{password}"
  eventListeningEndpoints = "{broker}"
[tokenRevocationConfig.realtime]
  enableRealtimeMessageRetrieval = true
  jmsConnectionTopic = "tokenRevocation"
  jmsConnectionProviderUrl = "{broker}"
  jmsConnectionUsername = "{user}"
  jmsConnectionPassword = "{password}"
[admin]
listen = "{admin}"
[[route]]
path = "/menu"
api = {{ name = "Menu", version = "1.0.0" }}
upstream = "http://{host}:{upstream}"
"""


def events_of_an_original_file(world):
    account = ("--username", USER, "--password", PASSWORD)
    manager = ManagerProcess(world.folder, *account, name="manager-of-the-original")
    manager.rows = {
        "apis": [model.api(1, "Menu", "1.0.0", "/menu/1.0.0")],
        "applications": [model.application(1, "one")],
        "application-key-mappings": [model.key_mapping(1, "guest")],
        "subscriptions": [model.subscription(1001, 1, 1)],
    }
    world.run(manager)
    brokers = f"brokerlist='tcp://{LOOPBACK}:{world.broker.port}'"

    def text(http, admin):
        host, port = http.split(":")
        return FILE.format(
            host=host,
            port=port,
            admin=admin,
            key_manager=world.key_manager.url,
            manager=manager.url,
            user=USER,
            password=PASSWORD,
            broker=f"amqp://nobody:nothing@carbon/carbon?{brokers}",
            upstream=world.upstream.port,
        )

    gateway = Gateway("drop-in", world.binary, world.folder, text, file="micro-gw.conf")
    world.run(gateway)
    def is_connected(topic):
        return gateway.metric("portcullis_broker_connected", topic=topic) == 1

    for topic in ("notifications", "revocations"):
        wait_until(lambda topic=topic: is_connected(topic), f"{topic} are listened to")

    def code_of(token):
        answer = gateway.get(token, "/menu")
        return None if answer.status == 200 else (answer.status, answer.json["fault"]["code"])

    expect(code_of("one~guest"), None, "a client that has subscribed")
    with Publisher(world.broker) as publisher:
        publisher.publish("tokenRevocation", revocation("one~guest", MAP), MAP)
        wait_until(lambda: code_of("one~guest") == (401, 900901), "the token is revoked")
        expect(code_of("two~guest"), None, "another token of the client")
        event = {
            "subscriptionId": 1001,
            "applicationId": 1,
            "apiId": 1,
            "policyId": "Unlimited",
            "subscriptionState": "BLOCKED",
        }
        message = notification("SUBSCRIPTIONS_UPDATE", world.now(), event, MAP)
        publisher.publish("notification", message, MAP)
        wait_until(lambda: code_of("two~guest") == (401, 900907), "the subscription is blocked")
    gateway.stop()


CASES = [
    ("events and revocation by a micro-gw.conf, in the original's codes", events_of_an_original_file),
]
