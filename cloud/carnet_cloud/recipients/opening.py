"""The adapter that a ``[[recipient]]`` of the configuration asks for.

Law: what can be wrong with its files is said here, before anything starts.
"""

from __future__ import annotations

import sys

from carnet import brokertls
from carnet.errors import ConfigError
from carnet_cloud.recipients.base import Recipient
from carnet_cloud.recipients.homeassistant import HomeAssistant
from carnet_cloud.recipients.jsonlines import JsonLines
from carnet_cloud.recipients.mqtt import Mqtt
from carnet_cloud.recipients.mqttconnection import Broker
from carnet_cloud.recipients.webhook import Webhook
from carnet_cloud.recipientsections import (
    AnyRecipient,
    BrokerSection,
    FileRecipient,
    HomeAssistantRecipient,
    KafkaRecipient,
    WebhookRecipient,
)
from carnet_cloud.running.keyfolder import read_secret


def open_recipient(section: AnyRecipient, receiver: str = "") -> Recipient:
    """ConfigError if a file of it cannot be used. ``receiver`` is this one's name if there are others beside it."""
    if isinstance(section, FileRecipient):
        return JsonLines(section.path)
    if isinstance(section, WebhookRecipient):
        return _webhook(section)
    if isinstance(section, KafkaRecipient):
        return _kafka(section)
    if isinstance(section, HomeAssistantRecipient):
        return HomeAssistant(_broker(section, receiver), section.discovery_prefix, section.topic)
    return Mqtt(_broker(section, receiver), section.topic)


def _webhook(section: WebhookRecipient) -> Recipient:
    name = f"recipient {section.id}"
    secret = read_secret(section.secret_file, f"{name}.secret_file").decode().strip()
    try:
        return Webhook(section.url, secret)
    except ConfigError as error:
        key = "secret_file" if error.reason == "webhook_secret" else "url"
        raise ConfigError(error.reason, f"{name}.{key}: {error}") from error


def _kafka(section: KafkaRecipient) -> Recipient:
    try:
        from carnet_cloud.recipients.kafka import Cluster, Kafka
    except ModuleNotFoundError as error:
        command = f"{sys.executable} -m pip install confluent-kafka"
        raise ConfigError("kafka_missing", f"a recipient of kind kafka needs confluent-kafka: {command}") from error
    return Kafka(Cluster(section.brokers, _login(section)), section.topic)


def _login(section: KafkaRecipient) -> dict[str, str]:
    """In librdkafka's words; its files are tried here, for it would only say that it cannot connect."""
    login = {"security.protocol": f"{'sasl_' if section.username else ''}{'ssl' if section.ca_file else 'plaintext'}"}
    if section.password_file is not None:
        password = read_secret(section.password_file, f"recipient {section.id}.password_file").decode().strip()
        login |= {"sasl.mechanism": section.mechanism, "sasl.username": section.username, "sasl.password": password}
    if section.ca_file is not None:
        brokertls.context(section.ca_file, section.cert_file, section.key_file, f"recipient {section.id}")
        login["ssl.ca.location"] = str(section.ca_file)
    if section.cert_file is not None and section.key_file is not None:
        read_secret(section.key_file, f"recipient {section.id}.key_file")
        login |= {"ssl.certificate.location": str(section.cert_file), "ssl.key.location": str(section.key_file)}
    return login


def _broker(section: BrokerSection, receiver: str) -> Broker:
    """The recipient's id is our client id, and the receiver's name behind it: of two clients with one id a broker
    throws the first out, in the middle of what it sends.
    """
    client_id = f"{section.id}-{receiver}" if receiver else section.id
    name = f"recipient {section.id}"
    password = read_secret(section.password_file, f"{name}.password_file").strip() if section.password_file else None
    if section.key_file is not None:
        read_secret(section.key_file, f"{name}.key_file")
    tls = None
    if section.ca_file is not None:
        tls = brokertls.context(section.ca_file, section.cert_file, section.key_file, name)
    return Broker(section.host, section.port, client_id, section.username or None, password, tls)
