"""An MQTT topic of the recipient's own broker: one message an event, the CloudEvent as a webhook would have it.

A PUBACK that says success confirms. One that says that nobody is subscribed does not: such a broker has thrown the
message away. One event is under way at a time, so that a cut takes back this event and no other (decision 0024).
"""

from __future__ import annotations

from collections.abc import Sequence

from mqtt5 import DisconnectReasonCode, PubAckReasonCode

from carnet.connecterrors import sentence
from carnet_cloud.lease import Lease, LeaseOver
from carnet_cloud.recipients.base import Event, Outcome, Trouble
from carnet_cloud.recipients.mqttconnection import BrokenAnswer, Broker, Connection, Message, Refused, TooLarge

TIMEOUT_S = 15.0
CONTENT_TYPE = "application/cloudevents+json; charset=utf-8"
BROKEN = Trouble("answer_broken", "its broker broke off, or answered what is no MQTT 5: look at its log")
UNHEARD = Trouble("unheard", "nobody is subscribed to its topic: its broker throws away what comes; subscribe to it")


class MqttLink:
    """A connection to one broker that is made anew whenever the last one was cut or has ended. Used by one thread."""

    def __init__(self, broker: Broker, *, timeout_s: float = TIMEOUT_S) -> None:
        self._broker = broker
        self._timeout_s = timeout_s
        self._connection: Connection | None = None
        self.made = 0
        """Connections so far."""
        self.trouble: Trouble | None = None
        """Why the last event that is to be tried again is."""

    def deliver(self, messages: Sequence[Message], lease: Lease, *, unheard: Outcome = Outcome.RETRY) -> Outcome:
        """What became of messages that are one event; ``unheard``: if nobody was subscribed to one of them."""
        done = False
        try:
            lease.guard()
            reasons = self._open(lease).exchange(messages, lease)
            done = True
            return self._settled(reasons, unheard)
        except LeaseOver:
            return Outcome.CUT
        except TooLarge:
            return Outcome.REFUSED
        except BrokenAnswer as broken:
            if broken.reason == int(DisconnectReasonCode.PACKET_TOO_LARGE):
                return Outcome.REFUSED
            return self._again(lease, BROKEN)
        except Refused as error:
            return self._again(lease, error.trouble)
        except OSError as error:
            return self._again(lease, Trouble("unreachable", sentence(error)))
        finally:
            if not done:
                self._drop()

    @property
    def is_open(self) -> bool:
        """Whether the next message goes through the connection that took the last one."""
        return self._connection is not None and not self._connection.is_stale

    def close(self) -> None:
        if self._connection is not None:
            self._connection.close()
            self._connection = None

    def _settled(self, reasons: Sequence[int], unheard: Outcome) -> Outcome:
        """The worst of what the PUBACKs say; nothing to publish is well."""
        worst = max(reasons, key=lambda reason: _WORST.index(_judge(reason, unheard)), default=int(SUCCESS))
        outcome = _judge(worst, unheard)
        if outcome is Outcome.RETRY:
            self.trouble = _trouble(worst)
        return outcome

    def _again(self, lease: Lease, trouble: Trouble) -> Outcome:
        """Unless our own cut is what it failed for."""
        if lease.over:
            return Outcome.CUT
        self.trouble = trouble
        return Outcome.RETRY

    def _open(self, lease: Lease) -> Connection:
        if not self.is_open:
            self._drop()
        if self._connection is None:
            self._connection = Connection(self._broker, lease, self._timeout_s)
            self.made += 1
        return self._connection

    def _drop(self) -> None:
        if self._connection is not None:
            self._connection.cut()
            self._connection = None


class Mqtt:
    """Publishes every event to ``topic``."""

    def __init__(self, broker: Broker, topic: str, *, timeout_s: float = TIMEOUT_S) -> None:
        self._link = MqttLink(broker, timeout_s=timeout_s)
        self._topic = topic

    def send(self, event: Event, lease: Lease, now_s: int) -> Outcome:  # noqa: ARG002 - TLS and login say who we are
        """Publish it and wait for the PUBACK; see `Recipient.send`."""
        return self._link.deliver([Message(self._topic, event.body, CONTENT_TYPE)], lease)

    def finish(self) -> Outcome:
        """Every answer has come by itself."""
        return Outcome.CONFIRMED

    @property
    def trouble(self) -> Trouble | None:
        return self._link.trouble

    def close(self) -> None:
        self._link.close()


SUCCESS, NOBODY = PubAckReasonCode.SUCCESS, PubAckReasonCode.NO_MATCHING_SUBSCRIBERS
_WORST = (Outcome.CONFIRMED, Outcome.RETRY, Outcome.REFUSED)


def _judge(reason: int, unheard: Outcome) -> Outcome:
    if reason == int(SUCCESS):
        return Outcome.CONFIRMED
    if reason == int(NOBODY):
        return unheard
    # a list of rights, a quota or a wrong topic is somebody's to mend; these bytes stay what they are
    return Outcome.REFUSED if reason == int(PubAckReasonCode.PAYLOAD_FORMAT_INVALID) else Outcome.RETRY


def _trouble(reason: int) -> Trouble:
    """Why a publication is to be tried again, by its PUBACK."""
    if reason == int(NOBODY):
        return UNHEARD
    return Trouble(f"puback_{reason}", f"its broker answers a publication with reason code 0x{reason:02X} of MQTT 5")
