"""Notices leave by the output that their rule names."""

from __future__ import annotations

import logging
from collections.abc import Callable
from threading import Lock
from typing import Final
from urllib.parse import quote

from gistline.alarms.notice import body, payload, subject
from gistline.domain_acting import AlarmSeverity, Notice
from gistline.outputs.delivery import NotDelivered, Parcel
from gistline.outputs.mail import send_mail
from gistline.outputs.mqtt import Message, MqttLink
from gistline.outputs.webhook import send_webhook
from gistline.settings import Settings

log = logging.getLogger("gistline.alarms")

LEVELS: Final = {
    AlarmSeverity.INFO: logging.INFO,
    AlarmSeverity.WARNING: logging.WARNING,
    AlarmSeverity.CRITICAL: logging.ERROR,
}


class Outputs:
    """Every output of one process; connections open when they are first used."""

    def __init__(self, settings: Settings) -> None:
        self._settings = settings
        self._mqtt: MqttLink | None = None
        self._lock = Lock()
        self._send: dict[str, Callable[[Parcel, Notice], None]] = {
            "webhook": lambda parcel, _: send_webhook(parcel, settings.alarms),
            "email": lambda parcel, _: send_mail(parcel, settings.alarms),
            "mqtt": lambda parcel, _: self._publish(parcel),
            "log": lambda parcel, notice: log.log(LEVELS[notice.severity], "%s %s", parcel.subject, notice.text),
        }

    def send(self, output: str, target: str, notice: Notice) -> None:
        """Send once, waiting for the receiver's word.

        Raises:
            NotDelivered: it did not take it.

        """
        if output not in self._send:
            raise NotDelivered(f"there is no output {output!r}", final=True)
        self._send[output](_parcel(notice, target, self._settings.mqtt.prefix), notice)

    def close(self) -> None:
        """End the connections."""
        if self._mqtt is not None:
            self._mqtt.close()

    def _publish(self, parcel: Parcel) -> None:
        mqtt = self._settings.mqtt
        if not mqtt.url.get_secret_value():
            raise NotDelivered("mqtt.url is empty: set GISTLINE_MQTT__URL.", final=True)
        with self._lock:
            if self._mqtt is None:
                self._mqtt = MqttLink(mqtt, name="alarms")
                self._mqtt.open()
        if not self._mqtt.wait_until_up(mqtt.connect_timeout_s):
            raise NotDelivered("no connection to the MQTT broker")
        expires_s = self._settings.alarms.mqtt_expires_s
        message = Message(
            parcel.topic, parcel.payload, expires_s, properties={"id": str(parcel.id)} | dict(parcel.labels)
        )
        if not self._mqtt.publish_and_wait(message, mqtt.ack_timeout_s):
            raise NotDelivered("the MQTT broker did not take it in time")


def _parcel(notice: Notice, target: str, prefix: str) -> Parcel:
    where = quote(notice.scope.line or "all", safe="")
    labels = {"event": notice.event.value, "severity": notice.severity.value, "rule": notice.rule}
    topic = f"{prefix}/alarms/{notice.severity.value}/{where}"
    return Parcel(notice.id, target, subject(notice), body(notice), payload(notice), topic, labels)
