"""The adapter that a ``[[recipient]]`` of the configuration asks for.

Law: what can be wrong with its files is said here, before anything starts.
"""

from __future__ import annotations

from carnet import brokertls
from carnet_cloud.keyfolder import read_secret
from carnet_cloud.recipients.base import Recipient
from carnet_cloud.recipients.jsonlines import JsonLines
from carnet_cloud.recipients.mqtt import Mqtt
from carnet_cloud.recipients.mqttconnection import Broker
from carnet_cloud.recipients.webhook import Webhook
from carnet_cloud.recipientsections import AnyRecipient, BrokerSection, FileRecipient, WebhookRecipient


def open_recipient(section: AnyRecipient) -> Recipient:
    """ConfigError if a file of it cannot be used."""
    if isinstance(section, FileRecipient):
        return JsonLines(section.path)
    if isinstance(section, WebhookRecipient):
        return Webhook(section.url, read_secret(section.secret_file).decode().strip())
    return Mqtt(_broker(section), section.topic)


def _broker(section: BrokerSection) -> Broker:
    """The recipient's id is our client id: two connections of one recipient are one client to its broker."""
    password = read_secret(section.password_file).strip() if section.password_file else None
    if section.key_file is not None:
        read_secret(section.key_file)
    tls = None
    if section.ca_file is not None:
        tls = brokertls.context(section.ca_file, section.cert_file, section.key_file, f"recipient {section.id}")
    return Broker(section.host, section.port, section.id, section.username or None, password, tls)
