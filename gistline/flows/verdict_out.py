"""Where verdicts leave: MQTT, whose broker says what it has taken, and Redis pub/sub beside it."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable
from datetime import UTC, datetime
from uuid import UUID

from gistline.domain_acting import GateVerdict
from gistline.errors import SettingsError
from gistline.outputs.mqtt import Message, MqttLink
from gistline.outputs.pubsub import RedisChannel
from gistline.outputs.verdict_message import (
    HEARTBEAT_TOPIC,
    OFFLINE,
    heartbeat_payload,
    redis_channel,
    verdict_payload,
    verdict_topic,
)
from gistline.settings import Settings


class VerdictOut:
    """Publishes verdicts; :meth:`taken` tells which of them have arrived."""

    def __init__(self, settings: Settings, *, name: str, beats: bool = False) -> None:
        """``beats``: it will send heartbeats, and the broker an 'offline' in its name should it vanish.

        Raises:
            SettingsError: neither ``mqtt.url`` nor ``redis.url`` is set, or one is wrong.

        """
        self._settings = settings
        self._name = name
        has_mqtt, has_redis = (bool(one.url.get_secret_value()) for one in (settings.mqtt, settings.redis))
        if not (has_mqtt or has_redis):
            raise SettingsError(
                "verdicts.enabled is on, but neither mqtt.url nor redis.url says where verdicts go.",
                cure="Set GISTLINE_MQTT__URL.",
            )
        will = self._heartbeat(OFFLINE, {}) if beats else None
        self._mqtt = MqttLink(settings.mqtt, name=name, will=will) if has_mqtt else None
        self._redis = RedisChannel(settings.redis) if has_redis else None
        self._taken: deque[UUID] = deque()

    def open(self, on_change: Callable[[bool], None] = lambda _up: None) -> None:
        """Seek the broker; ``on_change`` is told when it comes and goes."""
        if self._mqtt is not None:
            self._mqtt.open(on_change)

    @property
    def is_up(self) -> bool:
        """Whether publishing has a purpose now."""
        return self._mqtt is None or self._mqtt.is_up

    def publish(self, verdict: GateVerdict) -> None:
        """Send once; never waits. What is not taken is found by :class:`VerdictWatch` and sent again."""
        payload = verdict_payload(verdict)
        prefix = self._settings.mqtt.prefix
        if self._mqtt is not None:
            topic = verdict_topic(prefix, verdict.line, verdict.camera)
            told = {"frame": str(verdict.frame_id), "seq": str(verdict.seq), "verdict": verdict.kind.value}
            message = Message(topic, payload, self._settings.verdicts.expires_s, properties=told)
            self._mqtt.publish(message, lambda: self._taken.append(verdict.frame_id))
        else:
            self._taken.append(verdict.frame_id)  # Redis says nothing about who heard it
        if self._redis is not None:
            self._redis.publish(redis_channel(prefix, verdict.line, verdict.camera), payload)

    def beat(self, state: str, last: dict[str, int]) -> None:
        """Publish a heartbeat, kept by the broker for gates that come later; never waits."""
        message = self._heartbeat(state, last)
        if self._mqtt is not None:
            self._mqtt.publish(message)
        if self._redis is not None:
            self._redis.publish(message.topic.replace("/", ":"), message.payload)

    def taken(self) -> list[UUID]:
        """Frames whose verdicts have arrived since the last call; hand back what could not be noted."""
        found = []
        while self._taken:
            found.append(self._taken.popleft())
        return found

    def hand_back(self, frame_ids: list[UUID]) -> None:
        """:meth:`taken` tells these again."""
        self._taken.extendleft(frame_ids)

    def close(self) -> None:
        """Say goodbye."""
        if self._mqtt is not None:
            self._mqtt.close()
        if self._redis is not None:
            self._redis.close()

    def _heartbeat(self, state: str, last: dict[str, int]) -> Message:
        interval_ms = self._settings.verdicts.heartbeat_ms
        payload = heartbeat_payload(state, self._name, datetime.now(UTC), last, interval_ms)
        return Message(f"{self._settings.mqtt.prefix}/{HEARTBEAT_TOPIC}", payload, retain=True)
