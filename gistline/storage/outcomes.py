"""How frames ended in the last hours, for people: summed from the reports, and from the frames that none speaks of yet.

A frame belongs to one window for ever, and a written report keeps the totals of its window. So a day of a million
frames is read from a few hundred reports and from the frames of the last minutes, exactly, and nobody has to keep sums
while frames are inspected.
"""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import Any, Final

from sqlalchemy import bindparam, text
from sqlalchemy.dialects.postgresql import ARRAY, TEXT
from sqlalchemy.orm import Session

from gistline.domain import FrameCounts

HOUR: Final = timedelta(hours=1)

_OPEN_FRAMES: Final = """
WITH open_frames AS MATERIALIZED (
    SELECT id, camera_id, line, state, finished_at FROM frames
     WHERE report_window_id IS NULL AND finished_at IS NOT NULL AND line = ANY(:lines) AND finished_at >= :since
    UNION ALL
    SELECT f.id, f.camera_id, f.line, f.state, f.finished_at
      FROM report_windows w JOIN frames f ON f.report_window_id = w.id
     WHERE w.line = ANY(:lines) AND w.starts_at >= :since
       AND (NOT EXISTS (SELECT FROM reports r WHERE r.window_id = w.id)
            OR w.deferred AND NOT EXISTS (SELECT FROM reports r WHERE r.window_id = w.told_with))
)"""
"""Frames that ended and that no written report counts: of windows still open, not written, or told of later."""

_TOLD: Final = text("""
SELECT w.line, date_trunc('hour', w.starts_at), r.totals
  FROM report_windows w JOIN reports r ON r.window_id = w.id
 WHERE w.line = ANY(:lines) AND w.starts_at >= :since""").bindparams(bindparam("lines", type_=ARRAY(TEXT)))

_LOWEST: Final = text(
    _OPEN_FRAMES
    + """
SELECT id FROM open_frames ORDER BY id LIMIT 1"""
).bindparams(bindparam("lines", type_=ARRAY(TEXT)))
"""Where the open frames begin: the next query looks at nothing older, whatever the planner thinks of their number."""

_OPEN: Final = text(
    _OPEN_FRAMES
    + """
SELECT true, o.line, date_trunc('hour', o.finished_at), o.state, v.kind, count(*)
  FROM open_frames o LEFT JOIN verdicts v ON v.frame_id = o.id AND v.frame_id >= :lowest
 GROUP BY 2, 3, 4, 5
UNION ALL
SELECT false, c.name, NULL, d.label, NULL, count(*)
  FROM open_frames o JOIN findings d ON d.frame_id = o.id AND d.frame_id >= :lowest
  JOIN cameras c ON c.id = o.camera_id
 GROUP BY 2, 4"""
).bindparams(bindparam("lines", type_=ARRAY(TEXT)))
"""Frames by line, hour, end and verdict; then findings by camera and class."""


@dataclass(slots=True)
class Tally:
    """Frames by their end; ``ng`` and ``reinspect`` are verdicts on inspected ones."""

    inspected: int = 0
    ng: int = 0
    reinspect: int = 0
    failed: int = 0
    expired: int = 0

    def add(self, counts: Mapping[str, int]) -> None:
        """Add counts by the names of the fields."""
        for name, count in counts.items():
            setattr(self, name, getattr(self, name) + int(count))

    def frozen(self) -> FrameCounts:
        """The same, for good."""
        return FrameCounts(self.inspected, self.ng, self.reinspect, self.failed, self.expired)


@dataclass(frozen=True, slots=True)
class Outcomes:
    """Sums since a moment: all frames, by line and by hour (UTC), and findings by class and by camera."""

    frames: FrameCounts
    by_line: dict[str, FrameCounts]
    by_hour: dict[datetime, FrameCounts]
    by_label: dict[str, int]
    by_camera: dict[str, int]

    @property
    def findings(self) -> int:
        """All findings."""
        return sum(self.by_label.values())


@dataclass(slots=True)
class _Sums:
    total: Tally = field(default_factory=Tally)
    by_line: dict[str, Tally] = field(default_factory=lambda: defaultdict(Tally))
    by_hour: dict[datetime, Tally] = field(default_factory=lambda: defaultdict(Tally))
    by_label: Counter[str] = field(default_factory=Counter)
    by_camera: Counter[str] = field(default_factory=Counter)

    def add_frames(self, line: str, hour: datetime, counts: Mapping[str, int]) -> None:
        for tally in (self.total, self.by_line[line], self.by_hour[hour]):
            tally.add(counts)


def read_outcomes(session: Session, *, since: datetime, lines: Iterable[str]) -> Outcomes:
    """Sum what ended since ``since`` (timezone-aware) on ``lines``.

    A window that a report tells of counts whole, at the hour of its start, if it started at ``since`` or later.
    """
    sums = _Sums()
    bound = {"since": since, "lines": sorted(lines)}
    for line, hour, totals in session.execute(_TOLD, bound):
        _add_told(sums, line, hour, totals)
    lowest = session.scalar(_LOWEST, bound)
    if lowest is not None:
        _add_open(sums, session.execute(_OPEN, {**bound, "lowest": lowest}))
    return Outcomes(
        sums.total.frozen(),
        {line: tally.frozen() for line, tally in sorted(sums.by_line.items())},
        {hour: tally.frozen() for hour, tally in sorted(sums.by_hour.items())},
        dict(sums.by_label.most_common()),
        dict(sums.by_camera.most_common()),
    )


def _add_told(sums: _Sums, line: str, hour: datetime, totals: Mapping[str, Any]) -> None:
    names = Tally.__dataclass_fields__
    sums.add_frames(line, hour, {name: count for name, count in totals["frames"].items() if name in names})
    sums.by_label.update(totals.get("by_label", {}))
    sums.by_camera.update(totals.get("by_camera", {}))


def _add_open(sums: _Sums, rows: Iterable[Any]) -> None:
    for is_frame, name, hour, what, kind, count in rows:
        if is_frame:
            sums.add_frames(name, hour, _named(what, kind, count))
        else:
            sums.by_camera[name] += count
            sums.by_label[what] += count


def _named(state: str, kind: str | None, count: int) -> dict[str, int]:
    counts = {state: count}
    if state == "inspected" and kind in ("ng", "reinspect"):
        counts[kind] = count
    return counts
