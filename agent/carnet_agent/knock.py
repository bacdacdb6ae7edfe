"""Shell: ask the broker once whether it takes this unit, and go away again.

Law: the unit knocks by the name that it works under, since that is what the broker judges; a broker keeps one
connection of a name, so nobody may knock while the agent works.
"""

from __future__ import annotations

import time
from typing import Final

from paho.mqtt.enums import MQTTErrorCode, MQTTProtocolVersion

from carnet.brokertls import LastWords
from carnet.connecterrors import DID_NOT_ANSWER, hung_up, sentence
from carnet_agent import brokerclient
from carnet_agent.settings import MqttSection

ANSWER_S_MAX: Final = 5.0
"""For each of connection, handshake and answer, and for each version of MQTT."""
POLL_S: Final = 0.2
KEEPALIVE_S: Final = 20
UNSUPPORTED_VERSION: Final = 132


def knock(settings: MqttSection, name: str) -> str | None:
    """None if the broker takes a unit of this name; else why not and what to do. ConfigError for a file of ours."""
    refusal = None
    for version in (MQTTProtocolVersion.MQTTv5, MQTTProtocolVersion.MQTTv311):
        refusal, judged = _knock_once(settings, name, version)
        if judged:
            break
    return refusal


def _knock_once(settings: MqttSection, name: str, version: MQTTProtocolVersion) -> tuple[str | None, bool]:
    """The refusal, and whether another version of MQTT can change nothing about it."""
    client = brokerclient.make(settings, name, version)
    last_words = LastWords(client)
    answers: list[object] = []
    client.on_connect = lambda _client, _data, _flags, reason, _properties: answers.append(reason)
    client.connect_timeout = ANSWER_S_MAX
    try:
        client.connect(settings.host, settings.port, keepalive=KEEPALIVE_S)
    except OSError as error:
        return sentence(error), True
    until = time.monotonic() + ANSWER_S_MAX
    code = MQTTErrorCode.MQTT_ERR_SUCCESS
    while not answers and code == MQTTErrorCode.MQTT_ERR_SUCCESS and time.monotonic() < until:
        code = client.loop(POLL_S)
    client.disconnect()
    if not answers:
        silent = code == MQTTErrorCode.MQTT_ERR_SUCCESS
        refusal = DID_NOT_ANSWER if silent else hung_up(last_words.alert, tls=settings.ca_file is not None)
        return refusal, bool(last_words.alert)
    value = getattr(answers[0], "value", 0)
    return (refused(answers[0]) if value else None), value != UNSUPPORTED_VERSION


def refused(reason: object) -> str:
    """What the broker's refusal means for whoever installs the unit."""
    return f"it refuses this unit: {reason}; look at mqtt.username, mqtt.password_file and the broker's list of rights"
