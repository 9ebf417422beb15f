"""Notices as text and as JSON; both hold the findings as text, so that a receiver need look nowhere else."""

from __future__ import annotations

import json
from datetime import datetime
from typing import Any
from uuid import UUID

from gistline.domain_acting import AlarmEvent, AlarmSeverity, Notice, Scope

VERSION = 1


def subject(notice: Notice) -> str:
    """One line."""
    head = {AlarmEvent.FIRING: notice.severity.value.upper(), AlarmEvent.RESOLVED: "OVER", AlarmEvent.TEST: "TEST"}
    return f"[{head[notice.event]}] {notice.rule}: {notice.scope}"


def body(notice: Notice) -> str:
    """Everything, for people."""
    lines = [notice.text, ""]
    if notice.event is AlarmEvent.RESOLVED:
        lines.append(f"Fired at {notice.since:%Y-%m-%d %H:%M:%S} UTC, over at {notice.at:%Y-%m-%d %H:%M:%S} UTC.")
    else:
        lines.append(f"Since {notice.since:%Y-%m-%d %H:%M:%S} UTC; counted {notice.count} so far.")
    if notice.held_back:
        lines.append(f"{notice.held_back} more were held back by the rule's cooldown.")
    return "\n".join([*lines, f"Rule {notice.rule} ({notice.kind}), alarm {notice.alarm_id}, notice {notice.id}."])


def as_json(notice: Notice) -> dict[str, Any]:
    """Everything, for programs. Version 1; fields are only ever added."""
    return {
        "v": VERSION,
        "id": str(notice.id),
        "alarm_id": str(notice.alarm_id),
        "event": notice.event.value,
        "rule": notice.rule,
        "kind": notice.kind,
        "severity": notice.severity.value,
        "line": notice.scope.line,
        "camera": notice.scope.camera,
        "class": notice.scope.label,
        "subject": subject(notice),
        "text": notice.text,
        "since": notice.since.isoformat(),
        "at": notice.at.isoformat(),
        "count": notice.count,
        "held_back": notice.held_back,
        "facts": notice.facts,
    }


def from_json(told: dict[str, Any]) -> Notice:
    """The notice that :func:`as_json` wrote."""
    return Notice(
        id=UUID(told["id"]),
        alarm_id=UUID(told["alarm_id"]),
        event=AlarmEvent(told["event"]),
        rule=told["rule"],
        kind=told["kind"],
        severity=AlarmSeverity(told["severity"]),
        scope=Scope(told["line"], told["camera"], told["class"]),
        text=told["text"],
        since=datetime.fromisoformat(told["since"]),
        at=datetime.fromisoformat(told["at"]),
        count=told["count"],
        held_back=told["held_back"],
        facts=told["facts"],
    )


def payload(notice: Notice) -> bytes:
    """:func:`as_json` as bytes, the same ones for every attempt."""
    return json.dumps(as_json(notice), ensure_ascii=False, separators=(",", ":")).encode()
