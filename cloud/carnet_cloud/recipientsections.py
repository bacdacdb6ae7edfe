"""The tables ``[[recipient]]`` of the cloud's configuration, one model a kind."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Literal

from pydantic import BaseModel, ConfigDict, Field, model_validator

from carnet.loopback import is_loopback

TOPIC = r"^[^+#\x00]{1,1024}$"
RECIPIENT_ID = r"^rcp_[a-z2-7]{16}$"
KAFKA_BROKER = r"^[^,\s]+:\d{1,5}$"
KAFKA_TOPIC = r"^[A-Za-z0-9._-]{1,249}$"
KINDS = ("file", "webhook", "mqtt", "homeassistant", "kafka")
FORMS_OF_RECIPIENTS = {
    TOPIC: "a topic without + and #, of at most 1,024 characters",
    RECIPIENT_ID: "rcp_ and 16 of the characters a-z and 2-7, which you choose once",
    KAFKA_BROKER: "host:port",
    KAFKA_TOPIC: "at most 249 letters, digits, dots, dashes and underscores",
}
"""Patterns in words."""


class Section(BaseModel):
    """A table: frozen, and a key that nobody knows is refused."""

    model_config = ConfigDict(frozen=True, extra="forbid")


class AnyKind(Section):
    """What every recipient has."""

    id: str = Field(pattern=RECIPIENT_ID, description="the recipient's id, as in its offers")
    name: str = Field(description="the recipient's name, for people: what its offers must call it")
    token_file: Path | None = Field(
        default=None, description="file with the token that it asks for a replay with; absent: it cannot ask"
    )


class FileRecipient(AnyKind):
    """A recipient that reads a file on this machine."""

    kind: Literal["file"]
    path: Path = Field(description="JSON Lines file to append to")


class WebhookRecipient(AnyKind):
    """A recipient that is called over HTTP."""

    kind: Literal["webhook"]
    url: str = Field(description="https address that takes the events; http for one on this machine")
    secret_file: Path = Field(description="file with the whsec_ secret that both sides know")


class BrokerSection(AnyKind):
    """A recipient's MQTT 5 broker and what we show it."""

    host: str = Field(description="host name or address of the recipient's broker, which speaks MQTT 5")
    port: int = Field(default=8883, ge=1, le=65535, description="the broker's port")
    username: str = Field(default="", description="name at the broker, if it asks for a password")
    password_file: Path | None = Field(default=None, description="file with the password")
    ca_file: Path | None = Field(
        default=None,
        description="authority that signed the broker's certificate; absent: no TLS, for a broker on this machine only",
    )
    cert_file: Path | None = Field(default=None, description="certificate to show; absent: none is shown")
    key_file: Path | None = Field(default=None, description="key of this certificate")

    @model_validator(mode="after")
    def _private(self) -> BrokerSection:
        check_tls(self.ca_file, self.cert_file, self.key_file, [self.host])
        return self


class MqttRecipient(BrokerSection):
    """A recipient that reads a topic of its own MQTT broker."""

    kind: Literal["mqtt"]
    topic: str = Field(pattern=TOPIC, description="topic to publish to, without wildcards")


class HomeAssistantRecipient(BrokerSection):
    """A Home Assistant that shows the newest value of every path, found by MQTT discovery."""

    kind: Literal["homeassistant"]
    discovery_prefix: str = Field(
        default="homeassistant", pattern=TOPIC, description="where Home Assistant looks for sensors"
    )
    topic: str = Field(default="carnet", pattern=TOPIC, description="first words of the topics that hold the values")


class KafkaRecipient(AnyKind):
    """A recipient that reads a topic of its own Kafka cluster; needs the extra `kafka`."""

    kind: Literal["kafka"]
    brokers: tuple[Annotated[str, Field(pattern=KAFKA_BROKER)], ...] = Field(
        min_length=1, description="some brokers of the cluster, each as host:port"
    )
    topic: str = Field(pattern=KAFKA_TOPIC, description="topic to publish to; it must be there")
    username: str = Field(default="", description="name at the cluster, if it asks for a password")
    password_file: Path | None = Field(default=None, description="file with the password")
    mechanism: Literal["PLAIN", "SCRAM-SHA-256", "SCRAM-SHA-512"] = Field(
        default="SCRAM-SHA-512", description="how name and password are shown"
    )
    ca_file: Path | None = Field(
        default=None,
        description="authority that signed the brokers' certificates; absent: no TLS, for a cluster on this machine",
    )
    cert_file: Path | None = Field(default=None, description="certificate to show; absent: none is shown")
    key_file: Path | None = Field(default=None, description="key of this certificate")

    @model_validator(mode="after")
    def _private(self) -> KafkaRecipient:
        hosts = [broker.rpartition(":")[0].strip("[]") for broker in self.brokers]
        check_tls(self.ca_file, self.cert_file, self.key_file, hosts)
        if bool(self.username) != (self.password_file is not None):
            raise ValueError("username and password_file belong together")
        return self


AnyRecipient = Annotated[
    FileRecipient | WebhookRecipient | MqttRecipient | HomeAssistantRecipient | KafkaRecipient,
    Field(discriminator="kind"),
]


def check_tls(ca_file: Path | None, cert_file: Path | None, key_file: Path | None, hosts: list[str]) -> None:
    """ValueError unless TLS is whole, or there is none and every host is this machine."""
    if (cert_file is None) != (key_file is None):
        raise ValueError("cert_file and key_file belong together")
    if cert_file is not None and ca_file is None:
        raise ValueError("a certificate needs ca_file, without which there is no TLS")
    if ca_file is None and not all(map(is_loopback, hosts)):
        raise ValueError("a broker on another machine needs ca_file, the authority that signed its certificate")
