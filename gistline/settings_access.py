"""Settings of who may do what."""

from __future__ import annotations

from typing import Literal

from gistline.settings_base import Section, knob


class AccessSettings(Section):
    """Signing in, sessions, passwords, and how often a key may ask (what they mean: docs/access.md)."""

    session_idle_min: int = knob(60, "A session that asks for nothing this long is over.", unit="min", ge=1, le=43_200)
    session_max_h: int = knob(
        12, "A session is over this long after signing in, used or not.", unit="h", ge=1, le=8_760
    )
    secure_cookie: Literal["auto", "always"] = knob(
        "auto", "Whether the session's cookie goes over HTTPS only: auto (where it was asked for by HTTPS) or always."
    )
    min_password: int = knob(12, "Fewest characters of a password.", unit="characters", ge=8, le=128)
    attempts: int = knob(
        5, "Failed sign-ins of one name from one address that close it for a while.", unit="attempts", ge=1, le=100
    )
    attempts_anywhere: int = knob(
        50,
        "Failed sign-ins of one name from anywhere, or of any names from one address, that do.",
        unit="attempts",
        ge=1,
        le=100_000,
    )
    lockout_min: int = knob(15, "How long a failed sign-in counts.", unit="min", ge=1, le=1_440)
    camera_rate: float = knob(
        500.0, "Requests that one camera may make for long, in one API process.", unit="requests/s", ge=0.1, le=100_000
    )
    program_rate: float = knob(
        50.0, "The same for a program's key, and for a person.", unit="requests/s", ge=0.1, le=100_000
    )
    burst_s: float = knob(
        4.0, "Seconds' worth of requests that may come at once after a rest.", unit="s", ge=1, le=3_600
    )
