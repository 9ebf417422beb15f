"""Rules over frames: what fires, what it says, and that memory stays small."""

from __future__ import annotations

import json
from collections.abc import Sequence
from datetime import UTC, datetime, timedelta
from typing import Any
from uuid import UUID

import pytest

from gistline.alarms.frames import concerns, feed, scope_of
from gistline.alarms.rules import Rule, check_rule
from gistline.domain import VerdictKind
from gistline.domain_acting import EndedFrame, Reading, Scope
from gistline.errors import RequestRejected

START = datetime(2026, 11, 26, 12, tzinfo=UTC)
SHORT = ("short", 0.93, 3, (120.0, 88.0))
SPUR = ("spur", 0.6, 2, (10.0, 20.0))
SCOPE = Scope("line-1", "cam-1")


def frame(second: int, *findings: tuple[str, float, int, tuple[float, float]], kind: VerdictKind | None = None) -> Any:
    at = START + timedelta(seconds=second)
    verdict = kind or (VerdictKind.NG if findings else VerdictKind.OK)
    return EndedFrame(UUID(int=second + 1), "cam-1", "line-1", f"P-{second}", at, at, at, verdict, "because", findings)


def rule(kind: str, **more: Any) -> Rule:
    return check_rule({"name": "r", "kind": kind, **more})


class Fed:
    """A rule with its memory, which goes through JSON after each feeding, as in the database."""

    def __init__(self, given: Rule) -> None:
        self.rule = given
        self.memory: dict[str, Any] = {}

    def __call__(self, frames: Sequence[EndedFrame], second: int) -> Reading | None:
        memory: dict[str, Any] = json.loads(json.dumps(self.memory))
        found = feed(self.rule, memory, SCOPE, frames, START + timedelta(seconds=second))
        self.memory = memory
        return found


def test_a_class_fires_with_all_that_somebody_must_know() -> None:
    fed = Fed(rule("class", label="short"))
    assert fed([frame(0, SPUR)], 1) is None
    found = fed([frame(1, SHORT, SPUR), frame(2, SHORT)], 3)
    assert found is not None
    assert (found.firing, found.hits, found.since) == (True, 2, START + timedelta(seconds=1))
    assert found.text == (
        "2 findings on 2 frames of cam-1 (line-1). Latest: short 0.93 (severity 3) near (120, 88); part P-2, frame "
        "00000000-0000-0000-0000-000000000003 captured at 2026-11-26 12:00:02 UTC."
    )
    assert fed([], 100) is None, "quiet, but not for long enough"
    over = fed([], 400)
    assert over is not None
    assert not over.firing


def test_a_count_within_a_window_forgets_what_is_older() -> None:
    fed = Fed(rule("severity", params={"at_least": "3", "window_s": 60, "min_severity": 3}))
    assert fed([frame(0, SHORT)], 0) is None
    assert fed([frame(50, SHORT, SPUR)], 50) is None
    assert fed([frame(70, SHORT)], 70) is None, "the first one is too old by now"
    found = fed([frame(75, SHORT)], 75)
    assert found is not None
    assert "3 within 60 s" in found.text


def test_a_rate_needs_enough_frames_and_ends_by_itself() -> None:
    fed = Fed(rule("ng_rate", params={"share": 0.2, "window_s": 100, "least_frames": 10}))
    few = fed([frame(0, SHORT), frame(1)], 2)
    assert few is not None
    assert not few.firing
    found = fed([frame(n) for n in range(2, 9)] + [frame(9, SPUR)], 10)
    assert found is not None
    assert found.firing
    assert "2 of 10 frames (20.0%) of cam-1 (line-1) within 100 s" in found.text
    assert "short on 1, spur on 1" in found.text
    later = fed([], 150)
    assert later is not None
    assert not later.firing


def test_the_memory_of_a_rate_is_bounded() -> None:
    fed = Fed(rule("ng_rate", params={"window_s": 600}))
    for second in range(0, 3_000, 3):
        fed([frame(second)], second)
    assert len(fed.memory["slices"]) <= 21


def test_frames_in_a_row() -> None:
    fed = Fed(rule("consecutive_ng", params={"count": 3}))
    assert [fed([frame(n, SHORT)], n).firing for n in range(3)] == [False, False, True]  # type: ignore[union-attr]
    found = fed([frame(3, kind=VerdictKind.REINSPECT)], 3)
    assert found is not None
    assert found.text.startswith("4 frames of cam-1 (line-1) in a row are not OK, since 2026-11-26T12:00:00")
    assert "short on 3, no finding on 1" in found.text
    over = fed([frame(4)], 4)
    assert over is not None
    assert not over.firing


def test_frames_are_taken_in_the_order_of_capture() -> None:
    fed = Fed(rule("consecutive_ng", params={"count": 2}))
    found = fed([frame(2, SHORT), frame(1), frame(0, SHORT)], 3)
    assert found is not None
    assert not found.firing


def test_silence() -> None:
    fed = Fed(rule("silence", params={"seconds": 30}))
    heard = fed([frame(0)], 1)
    assert heard is not None
    assert not heard.firing
    silent = fed([], 31)
    assert silent is not None
    assert silent.firing
    assert silent.text == "No frame from cam-1 (line-1) for 31 s; the last one came at 2026-11-26 12:00:00 UTC."
    again = fed([frame(32)], 33)
    assert again is not None
    assert not again.firing


def test_scopes() -> None:
    assert concerns(rule("class", label="short", line="line-1"), frame(0))
    assert not concerns(rule("class", label="short", camera="cam-2"), frame(0))
    assert scope_of(rule("ng_rate", params={"per": "line"}), frame(0)) == Scope("line-1")
    assert scope_of(rule("class", label="short"), frame(0)) == Scope("line-1", "cam-1", "short")
    assert Scope("a", None).key != Scope(None, "a").key


@pytest.mark.parametrize(
    ("given", "said"),
    [
        ({"name": "No Spaces", "kind": "class", "label": "x"}, "name = 'No Spaces'"),
        ({"name": "r", "kind": "classes"}, "kind = 'classes'"),
        ({"name": "r", "kind": "class"}, "names none"),
        ({"name": "r", "kind": "silence", "label": "x"}, "does not look at classes"),
        ({"name": "r", "kind": "ng_rate", "params": {"share": 2}}, "params.share = 2"),
        ({"name": "r", "kind": "silence", "params": {"minutes": 3}}, "params.minutes = 3"),
        ({"name": "r", "kind": "silence", "outputs": ["pager"]}, "'pager' is none of webhook"),
        ({"name": "r", "kind": "silence", "outputs": ["mqtt:topic"]}, "only webhook and email take a target"),
        ({"name": "r", "kind": "silence", "cooldown_s": -1}, "cooldown_s = -1"),
    ],
)
def test_a_wrong_rule_is_told_what_is_wrong(given: dict[str, Any], said: str) -> None:
    with pytest.raises(RequestRejected) as refused:
        check_rule(given)
    assert said in refused.value.message
    assert refused.value.cure
