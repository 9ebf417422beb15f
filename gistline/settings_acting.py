"""Settings of what leaves the house: the verdict channel to sorting gates, alarms and their outputs."""

from __future__ import annotations

from ipaddress import ip_network
from typing import Annotated, Literal

from pydantic import AfterValidator, Field, SecretStr, model_validator

from gistline.settings_base import Section, knob, with_password

Failing = Literal["ng", "reinspect"]


class MqttSettings(Section):
    """The MQTT 5 broker that gates and alarms are published to."""

    url: SecretStr = knob(
        SecretStr(""), "Broker, such as mqtts://user:password@host:8883; mqtt:// is without TLS; empty is no MQTT."
    )
    password: SecretStr = knob(SecretStr(""), "Password for that URL when it holds none, such as one from a file.")
    prefix: str = knob("gistline", "First part of every topic.", pattern=r"^[^+#\x00]+$")
    ca_file: str = knob("", "PEM file of the authority that signed the broker's certificate; empty: the system's.")
    keepalive_s: int = knob(5, "A connection this long without a sign of life is dead.", unit="s", ge=1, le=600)
    connect_timeout_s: float = knob(2.0, "Longest wait for a connection.", unit="s", ge=0.1, le=30)
    ack_timeout_s: float = knob(
        5.0, "An alarm that the broker has not taken by then is tried again.", unit="s", ge=0.1, le=60
    )

    _join = model_validator(mode="before")(with_password)


class VerdictChannelSettings(Section):
    """The verdict channel: one verdict for every frame, published to sorting gates (docs/verdicts.md)."""

    enabled: bool = knob(False, "Publish a verdict for every frame over MQTT (mqtt.url) and Redis pub/sub.")
    deadline_ms: int = knob(
        1_000, "Without a verdict this long after its acceptance, a frame's is 'missing'.", unit="ms", ge=10, le=600_000
    )
    deadline_ms_by_camera: dict[str, Annotated[int, Field(ge=10, le=600_000)]] = Field(
        default_factory=dict,
        description="Deadlines of single cameras, by name, in place of deadline_ms.",
        json_schema_extra={"unit": "ms"},
    )
    missing: Failing = knob("ng", "What a gate is told of a frame whose verdict is missing: ng or reinspect.")
    failed: Failing = knob("reinspect", "What a gate is told of a frame that cannot be inspected: ng or reinspect.")
    heartbeat_ms: int = knob(
        500,
        "Pause between two heartbeats on which gates rely: without them they fail closed.",
        unit="ms",
        ge=50,
        le=60_000,
    )
    publish_again_ms: int = knob(
        500,
        "A decided verdict that the broker has not taken after this is published again.",
        unit="ms",
        ge=50,
        le=60_000,
    )
    expires_s: int = knob(
        60, "The broker drops a verdict for a gate that is away this long.", unit="s", ge=1, le=86_400
    )
    keep_days: int = knob(30, "Verdicts as they were published are deleted after this.", unit="days", ge=1, le=3_650)


def _networks(given: list[str]) -> list[str]:
    for one in given:
        ip_network(one)
    return given


class AlarmSettings(Section):
    """Alarms: when rules are looked at, and how their outputs are reached (docs/alarms.md)."""

    evaluate_s: float = knob(1.0, "Pause between two looks at the rules.", unit="s", ge=0.1, le=60)
    timeout_s: float = knob(10.0, "Longest that one delivery may take.", unit="s", ge=0.1, le=60)
    max_attempts: int = knob(12, "A delivery that failed this often becomes a dead letter.", ge=1, le=100)
    retry_backoff_s: float = knob(2.0, "Wait before the second attempt; doubles each time.", unit="s", ge=0, le=600)
    retry_backoff_max_s: float = knob(600.0, "That wait's longest.", unit="s", ge=0, le=86_400)
    max_per_minute: int = knob(60, "Deliveries a minute to one output; the others wait.", ge=1, le=10_000)
    keep_days: int = knob(
        90, "Resolved alarms and their deliveries are deleted after this.", unit="days", ge=1, le=3_650
    )
    webhook_url: SecretStr = knob(SecretStr(""), "Where the output 'webhook' posts; often a secret by itself.")
    webhook_secret: SecretStr = knob(SecretStr(""), "Key of the signature on every webhook (HMAC-SHA256).")
    webhook_networks: Annotated[list[str], AfterValidator(_networks)] = Field(
        default_factory=list,
        description="Networks besides public addresses that webhooks may reach, such as 10.20.0.0/16.",
        json_schema_extra={"unit": "CIDR"},
    )
    smtp_url: SecretStr = knob(
        SecretStr(""), "Mail server: smtps://user:password@host:465, smtp+starttls://host:587, smtp://host:25."
    )
    smtp_from: str = knob("", "Sender of alarm mails.")
    smtp_to: str = knob("", "Recipients of the output 'email', separated by commas.")
    mqtt_expires_s: int = knob(
        86_400, "The broker drops an alarm for a subscriber that is away this long.", unit="s", ge=1, le=2_592_000
    )
