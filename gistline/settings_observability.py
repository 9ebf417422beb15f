"""Settings of what the processes tell about themselves: logs, metrics, traces."""

from __future__ import annotations

from typing import Literal

from pydantic import SecretStr

from gistline.settings_base import Section, knob


class LogSettings(Section):
    """What the processes write to standard error."""

    format: Literal["text", "json"] = knob("text", "A line for people (text), or one JSON object a line (json).")
    level: Literal["debug", "info", "warning", "error"] = knob("info", "Least severity that is written.")
    access: bool = knob(False, "Write a line for each HTTP request; it costs about as much as a small request.")


class MetricsSettings(Section):
    """Prometheus metrics and health, on an address of their own: never on the one that cameras reach."""

    host: str = knob("127.0.0.1", "Address that metrics and health are served on.")
    port: int = knob(
        0,
        "First port of this machine's metrics: the API takes it, 'gistline metrics' the next, beat the one after, each "
        "worker the first free one from there; 0 serves none.",
        ge=0,
        le=65_000,
    )
    workers: int = knob(64, "Ports that a worker tries, so that many fit on one machine.", unit="ports", ge=1, le=512)
    token: SecretStr = knob(
        SecretStr(""), "Who asks for metrics must send it as a bearer token; empty asks for none. Health needs none."
    )
    refresh_s: float = knob(
        5.0, "How old the figures of the queue may be that 'gistline metrics' gives.", unit="s", ge=0, le=300
    )
    totals_refresh_s: float = knob(
        60.0,
        "How old its sums over whole tables may be; older where they take long, so that they cost 5 % of a core.",
        unit="s",
        ge=0,
        le=3_600,
    )


class TracingSettings(Section):
    """OpenTelemetry traces from submission to report; needs ``pip install gistline[trace]``."""

    endpoint: str = knob(
        "", "OTLP/HTTP address that spans are sent to, such as http://otel-collector:4318/v1/traces; empty is off."
    )
    authorization: SecretStr = knob(SecretStr(""), "Value of the Authorization header that the endpoint asks for.")
    share: float = knob(
        0.01, "Share of the submissions that are traced, chosen when they arrive.", unit="share", ge=0.0, le=1.0
    )
    timeout_s: float = knob(5.0, "Longest that sending a batch of spans may take.", unit="s", ge=0.1, le=60)
