"""Which message the broker has taken: numbers come again after 65,535 messages."""

from __future__ import annotations

from paho.mqtt.client import MQTTMessageInfo
from pydantic import SecretStr

from gistline.outputs.mqtt import MqttLink
from gistline.settings_acting import MqttSettings


def test_a_number_that_nobody_answered_is_no_answer_when_it_comes_again() -> None:
    link = MqttLink(MqttSettings(url=SecretStr("mqtt://127.0.0.1:9")), name="test")
    taken: list[str] = []
    link._await(MQTTMessageInfo(5), lambda: taken.append("first"))
    link._await(MQTTMessageInfo(5), lambda: taken.append("second"))
    assert taken == []
