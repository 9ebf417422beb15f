"""What a sorting gate must do with what it hears, and with what it does not hear. Pure: the caller brings the clock.

An example to build real gates on. It is closed (a part without a verdict is NG) until it hears a live heartbeat, and
whenever heartbeats stop or say that nobody watches. A missing number is NG once its time is up.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any, Final

from gistline.domain import VerdictKind
from gistline.outputs.verdict_message import WATCHING

BEATS_MISSED: Final = 4
"""Heartbeats that may be late before the gate closes."""


@dataclass(frozen=True, slots=True)
class Action:
    """What the gate does now: ``kind`` for one part (``seq`` of ``camera``), or for all that follow (no camera)."""

    kind: VerdictKind
    why: str
    camera: str = ""
    seq: int = 0
    part: str = ""


@dataclass(slots=True)
class _Camera:
    expected: int
    missing: dict[int, float] = field(default_factory=dict)
    """Numbers that were skipped, and until when each may still come."""


class Gate:
    """One gate for any number of cameras; times are seconds of any steady clock."""

    def __init__(self, *, gap_s: float = 0.25) -> None:
        """``gap_s`` is how long a skipped number may still come: two workers may publish out of order."""
        self._gap_s = gap_s
        self._cameras: dict[str, _Camera] = {}
        self._good_until: float | None = None
        self.is_open = False
        self.duplicates = 0

    def hear_verdict(self, told: Mapping[str, Any], now: float) -> Iterator[Action]:
        """A verdict has come; one that was heard, or whose number was given up, is counted and ignored."""
        name, seq = str(told["camera"]), int(told["seq"])
        camera = self._cameras.setdefault(name, _Camera(seq))
        if seq >= camera.expected:
            self._skip(camera, seq, now)
            camera.expected = seq + 1
        elif camera.missing.pop(seq, None) is None:
            self.duplicates += 1
            return
        yield Action(VerdictKind(told["verdict"]), str(told["reason"]), name, seq, str(told.get("part_number") or ""))

    def hear_heartbeat(self, told: Mapping[str, Any], now: float, *, retained: bool = False) -> Iterator[Action]:
        """A heartbeat has come. One that the broker kept from before says nothing about now."""
        if retained:
            return
        if told["state"] != WATCHING:
            yield from self._close(f"the watch is {told['state']}")
            return
        self._good_until = now + BEATS_MISSED * float(told["interval_ms"]) / 1000
        for name, last in told["last_seq"].items():
            yield from self._compare(str(name), int(last), now)
        if not self.is_open:
            self.is_open = True
            yield Action(VerdictKind.OK, "open: the watch is alive")

    def tick(self, now: float) -> Iterator[Action]:
        """Time has passed; call it every few milliseconds."""
        if self.is_open and (self._good_until is None or now > self._good_until):
            yield from self._close("no heartbeat")
        for name, camera in self._cameras.items():
            for seq in [one for one, until in camera.missing.items() if now > until]:
                del camera.missing[seq]
                yield Action(VerdictKind.NG, "its verdict did not come", name, seq)

    def lose_connection(self) -> Iterator[Action]:
        """The broker is gone."""
        yield from self._close("no connection to the broker")

    def _close(self, why: str) -> Iterator[Action]:
        self._good_until = None
        if self.is_open:
            self.is_open = False
            yield Action(VerdictKind.NG, f"closed: {why}")

    def _compare(self, name: str, last: int, now: float) -> Iterator[Action]:
        camera = self._cameras.setdefault(name, _Camera(last + 1))
        if last < camera.expected - 1 and not camera.missing and camera.expected - 1 - last > self._slack(camera):
            self._cameras[name] = _Camera(last + 1)
            yield Action(VerdictKind.NG, f"the numbers of {name} began anew at {last}", name, last)
        elif last >= camera.expected:
            self._skip(camera, last + 1, now)
            camera.expected = last + 1

    def _slack(self, camera: _Camera) -> int:
        """A heartbeat read before the newest verdicts may come after them."""
        return max(100, camera.expected // 100)

    def _skip(self, camera: _Camera, until_seq: int, now: float) -> None:
        for seq in range(camera.expected, until_seq):
            camera.missing[seq] = now + self._gap_s
