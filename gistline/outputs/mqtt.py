"""MQTT 5: one connection that mends itself, and messages whose taking by the broker is told."""

from __future__ import annotations

import logging
import ssl
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from threading import Event, Lock
from typing import Any, Final
from urllib.parse import unquote, urlsplit
from uuid import uuid4

from paho.mqtt.client import Client, MQTTMessage, MQTTMessageInfo, MQTTv5
from paho.mqtt.enums import CallbackAPIVersion
from paho.mqtt.packettypes import PacketTypes
from paho.mqtt.properties import Properties

from gistline.errors import SettingsError
from gistline.settings_acting import MqttSettings

log = logging.getLogger(__name__)

QOS: Final = 1
PORTS: Final = {"mqtt": 1883, "mqtts": 8883}
LONGEST_PAUSE_S: Final = 4
IN_FLIGHT: Final = 10
"""Messages sent and not yet taken: no more than the brokers in use allow, because paho does not heed what they say."""

Taken = Callable[[], None]


@dataclass(frozen=True, slots=True)
class Message:
    """One message: ``properties`` are MQTT 5's user properties, after ``expires_s`` the broker drops it (0 never)."""

    topic: str
    payload: bytes
    expires_s: int = 0
    retain: bool = False
    properties: Mapping[str, str] = ()  # type: ignore[assignment]

    def packed(self, kind: int = PacketTypes.PUBLISH) -> Properties:
        """As the protocol writes its properties."""
        made = Properties(kind)  # type: ignore[no-untyped-call]
        made.ContentType = "application/json"
        if self.expires_s:
            made.MessageExpiryInterval = self.expires_s
        for pair in dict(self.properties).items():
            made.UserProperty = pair
        return made


@dataclass(frozen=True, slots=True)
class Broker:
    """Where a broker listens, and who we are to it."""

    host: str
    port: int
    tls: bool
    user: str
    password: str


def parse_broker(url: str) -> Broker:
    """``mqtt://user:password@host:1883`` or ``mqtts://...``.

    Raises:
        SettingsError: another scheme, no host, or no such port; the URL itself is not shown, since it may hold secrets.

    """
    cure = "Write mqtts://user:password@host:8883, or mqtt://host:1883 without TLS."
    try:
        parts = urlsplit(url)
        port = parts.port
    except ValueError as error:
        raise SettingsError(f"mqtt.url is no URL: {error}.", cure=cure) from error
    if parts.scheme not in PORTS or not parts.hostname:
        raise SettingsError(f"mqtt.url begins with {parts.scheme!r} and names host {parts.hostname!r}.", cure=cure)
    user, password = unquote(parts.username or ""), unquote(parts.password or "")
    return Broker(parts.hostname, port or PORTS[parts.scheme], parts.scheme == "mqtts", user, password)


class MqttLink:
    """A connection that is sought again for ever; nothing is queued while there is none.

    What the broker has not taken when a connection breaks is sent again on the next one (QoS 1: at least once).
    """

    def __init__(self, settings: MqttSettings, *, name: str, will: Message | None = None) -> None:
        """``will`` is published by the broker should this process vanish.

        Raises:
            SettingsError: ``mqtt.url`` is empty or wrong, or ``mqtt.ca_file`` cannot be read.

        """
        broker = parse_broker(settings.url.get_secret_value())
        self._acks: dict[int, Taken | None] = {}
        self._lock = Lock()
        self._up = Event()
        self._listen: dict[str, Callable[[MQTTMessage], None]] = {}
        self._on_change: Callable[[bool], None] = lambda _up: None
        self._client = Client(CallbackAPIVersion.VERSION2, f"gistline-{name}-{uuid4().hex[:8]}", protocol=MQTTv5)
        self._client.connect_timeout = settings.connect_timeout_s
        self._client.reconnect_delay_set(1, LONGEST_PAUSE_S)
        self._client.max_inflight_messages_set(IN_FLIGHT)
        if broker.user:
            self._client.username_pw_set(broker.user, broker.password)
        if broker.tls:
            self._client.tls_set_context(_tls(settings.ca_file))
        if will is not None:
            self._client.will_set(will.topic, will.payload, QOS, will.retain, will.packed(PacketTypes.WILLMESSAGE))
        self._client.on_connect = self._connected
        self._client.on_disconnect = self._disconnected
        self._client.on_connect_fail = lambda *_: log.warning("the MQTT broker %s does not answer", broker.host)
        self._client.on_publish = self._taken
        self._client.on_message = lambda _client, _data, message: self._heard(message)
        self._client.connect_async(broker.host, broker.port, keepalive=settings.keepalive_s)

    @property
    def is_up(self) -> bool:
        """Whether there is a connection, as far as is known."""
        return self._up.is_set()

    def open(self, on_change: Callable[[bool], None] = lambda _up: None) -> None:
        """Seek the connection, in a thread of its own; ``on_change`` is told in that thread when it comes and goes."""
        self._on_change = on_change
        self._client.loop_start()

    def wait_until_up(self, seconds: float) -> bool:
        """Whether there is a connection within this time."""
        return self._up.wait(seconds)

    def subscribe(self, topic: str, hear: Callable[[MQTTMessage], None]) -> None:
        """Hear what is published on a topic (wildcards allowed), on this connection and all that follow it."""
        self._listen[topic] = hear
        if self.is_up:
            self._client.subscribe(topic, QOS)

    def publish(self, message: Message, taken: Taken = lambda: None) -> bool:
        """Send; ``taken`` is called, in another thread, once the broker has it. False: no connection, not sent."""
        if not self.is_up:
            return False
        info = self._client.publish(message.topic, message.payload, QOS, message.retain, properties=message.packed())
        self._await(info, taken)
        return True

    def publish_and_wait(self, message: Message, seconds: float) -> bool:
        """Send; true when the broker has taken it within this time."""
        done = Event()
        return self.publish(message, done.set) and done.wait(seconds)

    def close(self) -> None:
        """Say goodbye: the will is not published."""
        self._client.disconnect()
        self._client.loop_stop()

    def _await(self, info: MQTTMessageInfo, taken: Taken) -> None:
        # The answer may be quicker than this thread. The lock is not held while sending: paho calls back under its own.
        with self._lock:
            answered = self._acks.get(info.mid, taken) is None  # a call under this number is one that nobody answered
            if answered:
                del self._acks[info.mid]
            else:
                self._acks[info.mid] = taken
        if answered:
            taken()

    def _taken(self, _client: Client, _data: object, mid: int, reason: Any, _properties: object) -> None:
        with self._lock:
            call = self._acks.pop(mid, None)
            if call is None and not reason.is_failure:
                self._acks[mid] = None
        if reason.is_failure:
            log.error("the MQTT broker refused a message: %s", reason)
        elif call is not None:
            call()

    def _connected(self, client: Client, _data: object, _flags: object, reason: Any, _properties: object) -> None:
        if reason.is_failure:
            log.error("the MQTT broker refused the connection: %s", reason)
            return
        for topic in self._listen:
            client.subscribe(topic, QOS)
        self._up.set()
        self._on_change(True)

    def _disconnected(self, _client: Client, _data: object, _flags: object, reason: Any, _properties: object) -> None:
        if self._up.is_set():
            log.info("the MQTT connection ended: %s", reason)
        self._up.clear()
        self._on_change(False)

    def _heard(self, message: MQTTMessage) -> None:
        for topic, hear in self._listen.items():
            if _matches(topic, message.topic):
                hear(message)


def _matches(pattern: str, topic: str) -> bool:
    wanted, given = pattern.split("/"), topic.split("/")
    if wanted[-1] == "#":
        wanted, given = wanted[:-1], given[: len(wanted) - 1]
    return len(wanted) == len(given) and all(one in ("+", other) for one, other in zip(wanted, given, strict=True))


def _tls(ca_file: str) -> ssl.SSLContext:
    try:
        return ssl.create_default_context(cafile=ca_file or None)
    except OSError as error:
        raise SettingsError(
            f"mqtt.ca_file = {ca_file!r} cannot be read: {error}.", cure="Name a PEM file, or leave it empty."
        ) from error
