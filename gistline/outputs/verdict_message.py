"""A verdict and a heartbeat as gates read them: topic and JSON. Version 1; fields are only ever added."""

from __future__ import annotations

import json
from collections.abc import Mapping
from datetime import datetime
from typing import Any, Final
from urllib.parse import quote

from gistline.domain_acting import GateVerdict

VERSION: Final = 1
HEARTBEAT_TOPIC: Final = "heartbeat"
WATCHING, BLIND, OFFLINE = "watching", "blind", "offline"
"""States of a heartbeat: all is well; the database does not answer; no watcher is connected."""


def verdict_topic(prefix: str, line: str, camera: str) -> str:
    """Topic of a camera's verdicts; names are percent-encoded, so that none can hold a wildcard or a slash."""
    return f"{prefix}/verdicts/{quote(line, safe='')}/{quote(camera, safe='')}"


def redis_channel(prefix: str, line: str, camera: str) -> str:
    """Channel of a camera's verdicts in Redis: the topic with colons."""
    return verdict_topic(prefix, line, camera).replace("/", ":")


def verdict_payload(verdict: GateVerdict) -> bytes:
    """The message's body."""
    told: dict[str, Any] = {
        "v": VERSION,
        "seq": verdict.seq,
        "verdict": verdict.kind.value,
        "reason": verdict.reason,
        "source": verdict.source.value,
        "camera": verdict.camera,
        "line": verdict.line,
        "frame_id": str(verdict.frame_id),
        "frame_key": verdict.frame_key,
        "part_number": verdict.part_number,
        "captured_at": verdict.captured_at.isoformat(),
        "accepted_at": verdict.accepted_at.isoformat(),
        "decided_at": verdict.decided_at.isoformat(),
        "engine_id": verdict.engine_id,
        "passport_id": str(verdict.passport_id) if verdict.passport_id else None,
    }
    return json.dumps(told, separators=(",", ":")).encode()


def heartbeat_payload(state: str, watcher: str, at: datetime, last: Mapping[str, int], interval_ms: int) -> bytes:
    """A heartbeat's body; ``last`` has each camera's newest number, so that a gate misses a lost last verdict too."""
    told = {"v": VERSION, "state": state, "watcher": watcher, "at": at.isoformat(), "interval_ms": interval_ms}
    return json.dumps(told | {"last_seq": dict(last)}, separators=(",", ":")).encode()
