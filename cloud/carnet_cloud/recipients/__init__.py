"""Where events go: one small protocol, one conformance suite, an adapter a file.

Law: an adapter keeps no queue of its own, and handing over is the disclosure.
"""

from carnet_cloud.recipients.base import Event, Outcome, Recipient
from carnet_cloud.recipients.jsonlines import JsonLines
from carnet_cloud.recipients.mqtt import Mqtt
from carnet_cloud.recipients.webhook import Webhook

__all__ = ["Event", "JsonLines", "Mqtt", "Outcome", "Recipient", "Webhook"]
