"""Rules that look at every frame that has ended. Pure: what a rule remembers of a scope goes in and comes out as JSON.

Memory is small and of constant size: a rate keeps counts of twenty slices of its window, not frames.
"""

from __future__ import annotations

from collections.abc import Sequence
from datetime import UTC, datetime, timedelta
from typing import Any, Final

from gistline.alarms.rules import ClassParams, RateParams, Rule
from gistline.domain import VerdictKind
from gistline.domain_acting import EndedFrame, Reading, RuleKind, Scope

SLICES: Final = 20
MOST_HITS: Final = 200
NAMED: Final = 5
"""Findings that a text names; the others are counted."""

Memory = dict[str, Any]


def concerns(rule: Rule, frame: EndedFrame) -> bool:
    """Whether a frame lies in the rule's scope."""
    return rule.line in (None, frame.line) and rule.camera in (None, frame.camera)


def scope_of(rule: Rule, frame: EndedFrame) -> Scope:
    """The scope of an alarm about this frame."""
    if rule.kind is RuleKind.NG_RATE and rule.told.per == "line":
        return Scope(line=frame.line)
    return Scope(frame.line, frame.camera, rule.label)


def feed(rule: Rule, memory: Memory, scope: Scope, frames: Sequence[EndedFrame], now: datetime) -> Reading | None:
    """Take in frames of one scope, oldest first (none: time has passed); changes ``memory``.

    Returns:
        What the rule says now; None when nothing new can be said.

    """
    ordered = sorted(frames, key=lambda frame: frame.captured_at)
    if rule.kind in (RuleKind.CLASS, RuleKind.SEVERITY):
        return _findings(rule, memory, scope, ordered, now)
    if rule.kind is RuleKind.NG_RATE:
        return _rate(rule.told, memory, scope, ordered, now)
    if rule.kind is RuleKind.CONSECUTIVE_NG:
        return _run(rule.told.count, memory, scope, ordered)
    return _silence(rule.told.seconds, memory, scope, ordered, now)


def _findings(rule: Rule, memory: Memory, scope: Scope, frames: Sequence[EndedFrame], now: datetime) -> Reading | None:
    told: ClassParams = rule.told
    hits = [(frame, found) for frame in frames if (found := _matching(rule, frame))]
    kept = [one for one in memory.get("hits", []) if _moment(one[0]) > now - timedelta(seconds=told.window_s)]
    kept += [[frame.finished_at.isoformat(), len(found)] for frame, found in hits]
    memory["hits"] = kept[-MOST_HITS:]
    if hits:
        memory["last"] = hits[-1][0].finished_at.isoformat()
    counts = [sum(one[1] for one in kept)] if told.window_s else [len(found) for _, found in hits]
    enough = bool(hits) and max(counts) >= told.at_least
    if not enough:
        quiet_s = max(told.window_s, rule.cooldown_s, 1)
        last = memory.get("last")
        if last is None or now - _moment(last) < timedelta(seconds=quiet_s):
            return None
        return Reading(scope, False, f"Nothing of it for {quiet_s} s.")
    frame, found = hits[-1]
    named = "; ".join(
        f"{label} {confidence:.2f} (severity {grave}) near ({x:.0f}, {y:.0f})"
        for label, confidence, grave, (x, y) in found[:NAMED]
    )
    more = f" and {len(found) - NAMED} more" if len(found) > NAMED else ""
    total = sum(len(one) for _, one in hits)
    window = f", {counts[0]} within {told.window_s} s" if told.window_s else ""
    text = (
        f"{_count(total, 'finding')} on {_count(len(hits), 'frame')} of {frame.camera} ({frame.line}){window}. "
        f"Latest: {named}{more}; {_part(frame)}."
    )
    facts = {"frame_id": str(frame.frame_id), "part_number": frame.part_number, "labels": sorted({f[0] for f in found})}
    return Reading(scope, True, text, hits[0][0].captured_at, len(hits), facts)


def _matching(rule: Rule, frame: EndedFrame) -> list[tuple[str, float, int, tuple[float, float]]]:
    told = rule.told
    least = getattr(told, "min_severity", 1)
    return [
        one
        for one in frame.findings
        if rule.label in (None, one[0]) and one[1] >= told.min_confidence and one[2] >= least
    ]


def _rate(told: RateParams, memory: Memory, scope: Scope, frames: Sequence[EndedFrame], now: datetime) -> Reading:
    width = max(1, told.window_s // SLICES)
    slices: dict[str, list[int]] = memory.get("slices", {})
    for frame in frames:
        counted = slices.setdefault(str(int(frame.finished_at.timestamp()) // width), [0, 0])
        counted[0] += 1
        if frame.kind is not VerdictKind.OK:
            counted[1] += 1
            memory.setdefault("seen", {})
            for label in {one[0] for one in frame.findings} or {"no finding"}:
                memory["seen"][label] = memory["seen"].get(label, 0) + 1
    oldest = (int(now.timestamp()) - told.window_s) // width
    memory["slices"] = slices = {key: value for key, value in slices.items() if int(key) > oldest}
    total, bad = (sum(value[place] for value in slices.values()) for place in (0, 1))
    share = bad / total if total else 0.0
    firing = total >= told.least_frames and share >= told.share
    if not firing and not bad:
        memory.pop("seen", None)
    seen = sorted(memory.get("seen", {}).items(), key=lambda pair: -pair[1])[:NAMED]
    classes = ", ".join(f"{label} on {count}" for label, count in seen) or "none"
    text = (
        f"{bad} of {total} frames ({share:.1%}) of {scope} within {told.window_s} s are not OK; the rule's limit is "
        f"{told.share:.1%}. Classes: {classes}."
    )
    began = datetime.fromtimestamp(min((int(key) for key in slices), default=0) * width, UTC)
    return Reading(scope, firing, text, began, facts={"frames": total, "not_ok": bad, "share": round(share, 4)})


def _run(count: int, memory: Memory, scope: Scope, frames: Sequence[EndedFrame]) -> Reading | None:
    if not frames:
        return None
    for frame in frames:
        if frame.kind is VerdictKind.OK:
            memory.clear()
            continue
        memory["run"] = memory.get("run", 0) + 1
        memory.setdefault("since", frame.captured_at.isoformat())
        classes = memory.setdefault("classes", {})
        for label in {one[0] for one in frame.findings} or {"no finding"}:
            classes[label] = classes.get(label, 0) + 1
        memory["latest"] = f"{frame.reason}; {_part(frame)}"
    if memory.get("run", 0) < count:
        return Reading(scope, False, "A frame was OK again.")
    classes = ", ".join(f"{label} on {number}" for label, number in memory["classes"].items())
    text = (
        f"{memory['run']} frames of {scope} in a row are not OK, since {memory['since']}. Classes: {classes}. "
        f"Latest: {memory['latest']}."
    )
    facts = {"run": memory["run"], "classes": dict(memory["classes"])}
    return Reading(scope, True, text, _moment(memory["since"]), facts=facts)


def _silence(seconds: int, memory: Memory, scope: Scope, frames: Sequence[EndedFrame], now: datetime) -> Reading:
    seen = [frame.accepted_at for frame in frames]
    if "last" in memory:
        seen.append(_moment(memory["last"]))
    last = max(seen, default=now)
    memory["last"] = last.isoformat()
    silent_s = (now - last).total_seconds()
    text = f"No frame from {scope} for {silent_s:.0f} s; the last one came at {last:%Y-%m-%d %H:%M:%S} UTC."
    if silent_s < seconds:
        text = f"Frames come from {scope} again."
    return Reading(scope, silent_s >= seconds, text, last, facts={"silent_s": round(silent_s)})


def _part(frame: EndedFrame) -> str:
    part = f"part {frame.part_number}, " if frame.part_number else ""
    return f"{part}frame {frame.frame_id} captured at {frame.captured_at:%Y-%m-%d %H:%M:%S} UTC"


def _count(number: int, word: str) -> str:
    return f"{number} {word}" if number == 1 else f"{number} {word}s"


def _moment(text: str) -> datetime:
    return datetime.fromisoformat(text)
