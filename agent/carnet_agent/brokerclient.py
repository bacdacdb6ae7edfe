"""Shell: a paho client for one connection, as ``[mqtt]`` of agent.toml asks for it; it has not connected yet."""

from __future__ import annotations

from collections.abc import Iterator

from paho.mqtt.enums import CallbackAPIVersion, MQTTProtocolVersion

from carnet import brokertls
from carnet.errors import ConfigError
from carnet_agent.identity import read_bytes, read_secret
from carnet_agent.pahoclient import paho
from carnet_agent.settings import MqttSection

SECRETS = ("password_file", "key_file")


def wrong_files(settings: MqttSection) -> Iterator[ConfigError]:
    """For each file of the section that is missing, or a secret that others may read, one sentence with its key."""
    for name in (*SECRETS, "ca_file", "cert_file"):
        path = getattr(settings, name)
        if path is not None:
            try:
                (read_secret if name in SECRETS else read_bytes)(path)
            except ConfigError as error:
                away = error.reason == "file_missing" and path.is_relative_to(brokertls.CREDENTIALS)
                hint = f"; {brokertls.NOT_RUNNING}" if away else ""
                yield ConfigError("credential_away" if away else error.reason, f"mqtt.{name}: {error}{hint}")


def make(settings: MqttSection, name: str, version: MQTTProtocolVersion) -> paho.Client:
    """A client of this name; ConfigError says which file cannot be used."""
    client = paho.Client(CallbackAPIVersion.VERSION2, client_id=name, protocol=version, reconnect_on_failure=False)
    if settings.password_file is not None:
        password = read_secret(settings.password_file).decode().strip()
        client.username_pw_set(settings.username or name, password)
    elif settings.username:
        client.username_pw_set(settings.username)
    if settings.ca_file is not None:
        client.tls_set_context(brokertls.context(settings.ca_file, settings.cert_file, settings.key_file))
    return client
