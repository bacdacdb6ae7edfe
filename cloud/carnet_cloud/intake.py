"""The checks an envelope passes before anybody opens it, in an order that never changes.

length and fixed fields -> topic -> device -> signature -> replay table. Law 5: a number is taken once; the same number
with another manifest is proof of a clone, and nothing of that device is believed any more.
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import Enum, auto

from carnet.envelope import Envelope, parse_envelope, verify
from carnet.errors import FormatError, RemoteError, SignatureError, UnavailableError
from carnet.topics import parse_up
from carnet_cloud.store import Transaction
from carnet_cloud.store.devices import Device


class Seen(Enum):
    """What the replay table says of a number."""

    NEW = auto()
    DUPLICATE = auto()
    CLONE = auto()


@dataclass(frozen=True, slots=True)
class Arrived:
    """An envelope whose sender and signature are certain. ``data`` are the bytes as they came."""

    device: Device
    envelope: Envelope
    data: bytes

    @property
    def key(self) -> tuple[bytes, bytes, int]:
        header = self.envelope.header
        return header.device, header.stream, header.seq


def authenticate(t: Transaction, topic: str, payload: bytes) -> Arrived:
    """The envelope in ``payload`` if an enrolled, active device signed it and sent it on its own topic.

    RemoteError with its reason; UnavailableError for a quarantined device:
    it keeps its rows until somebody has decided.
    """
    sender = parse_up(topic)
    envelope = parse_envelope(payload)
    if envelope.header.device != sender:
        raise FormatError("topic_other_device", "the envelope names another device than its topic")
    device = t.devices.get(sender)
    if device is None:
        raise SignatureError("device_unknown", "the device is not enrolled here")
    t.others.keep_vehicle(device.vehicle)
    verify(envelope, device.sign_key)
    if device.state == "quarantined":
        raise UnavailableError("device_quarantined", "the device is quarantined: two of it, or an old image, were seen")
    if device.state != "active":
        raise RemoteError("device_ended", "the device's pairing has ended")
    return Arrived(device, envelope, payload)


def replay(t: Transaction, arrived: Arrived) -> Seen:
    """Compare number, manifest and neighbours with what is known of the stream."""
    device, stream, seq = arrived.key
    digest, prev = arrived.envelope.manifest_hash, arrived.envelope.header.prev
    around = t.streams.around(device, stream, seq)
    if seq in around:
        return Seen.DUPLICATE if around[seq][0] == digest else Seen.CLONE
    before, after = around.get(seq - 1), around.get(seq + 1)
    if (before and before[0] != prev) or (after and after[1] != digest):
        return Seen.CLONE
    # below the watermark without a row: older than the table, or named in a gap; never forwarded, no verdict
    return Seen.DUPLICATE if seq <= t.streams.get(device, stream).watermark else Seen.NEW
