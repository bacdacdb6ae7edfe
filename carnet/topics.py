"""MQTT topics of a device: ``carnet/1/<shard>/<device>/up`` towards the cloud, ``/down`` towards the car.

Law: a topic names a random device id and nothing else; neither tenant nor vehicle ever stands in one.
"""

from __future__ import annotations

from typing import Final

from carnet.errors import FormatError
from carnet.ids import device_bytes, device_text

ROOT: Final = "carnet/1"


def shard(device: bytes) -> str:
    """The shard that serves this device: its first byte as two hexadecimal digits."""
    return f"{device[0]:02x}"


def shard_name(number: int) -> str:
    """A shard by its number, 0 to 255."""
    return f"{number:02x}"


def shard_of(topic: str) -> int | None:
    """The number of the shard that a topic names; None if it names none."""
    parts = topic.split("/", 3)
    try:
        return int(parts[2], 16)
    except (IndexError, ValueError):
        return None


def topic_up(device: bytes) -> str:
    """Where the device publishes its envelopes."""
    return f"{ROOT}/{shard(device)}/{device_text(device)}/up"


def topic_down(device: bytes) -> str:
    """Where the cloud publishes its answers to the device."""
    return f"{ROOT}/{shard(device)}/{device_text(device)}/down"


def filter_up(name: str) -> str:
    """The subscription of a receiver that serves this shard; ``+`` for all of them."""
    return f"{ROOT}/{name}/+/up"


def parse_up(topic: str) -> bytes:
    """The device that a topic belongs to.

    FormatError ``topic_malformed`` for a topic of another form, ``topic_wrong_shard`` for one whose shard is not the
    device's: two receivers would otherwise work on one device.
    """
    return _parse(topic, "up")


def parse_down(topic: str) -> bytes:
    """The device that a down topic belongs to; refuses like `parse_up`."""
    return _parse(topic, "down")


def _parse(topic: str, direction: str) -> bytes:
    parts = topic.split("/")
    if len(parts) != 5 or "/".join(parts[:2]) != ROOT or parts[4] != direction:
        raise FormatError("topic_malformed", f"a topic has the form {ROOT}/<shard>/<device>/{direction}")
    try:
        device = device_bytes(parts[3])
    except FormatError as error:
        raise FormatError("topic_malformed", str(error)) from None
    if parts[2] != shard(device):
        raise FormatError("topic_wrong_shard", "the topic's shard is not the first byte of its device id")
    return device
