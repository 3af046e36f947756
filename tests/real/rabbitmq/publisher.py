"""Publishes to RabbitMQ as API Manager does."""

import pika

from broker import PASSWORD, USER, VIRTUAL_HOST
from messages import TEXT
from wire import LOOPBACK

EXCHANGE = "amq.topic"


class Publisher:
    """Open for as long as the context lasts."""

    def __init__(self, broker):
        credentials = pika.PlainCredentials(USER, PASSWORD)
        self.parameters = pika.ConnectionParameters(
            LOOPBACK, broker.port, VIRTUAL_HOST, credentials, heartbeat=0
        )

    def __enter__(self):
        self.connection = pika.BlockingConnection(self.parameters)
        self.channel = self.connection.channel()
        return self

    def __exit__(self, *_):
        self.connection.close()

    def publish(self, topic, body, content_type=TEXT):
        properties = pika.BasicProperties(content_type=content_type, delivery_mode=1)
        self.channel.basic_publish(EXCHANGE, topic, body, properties)

    def flush(self):
        self.connection.process_data_events(0)
