"""What a report's numbers may say: the numbers of a window, by camera and class, measure by measure."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, replace
from datetime import datetime
from functools import cached_property

from gistline.domain import Finding, FindingGroup
from gistline.reports.draft import Measure
from gistline.reports.prompt import WindowData
from gistline.reports.regions import Region, region_of

OF_FRAMES = {
    Measure.FRAMES: "inspected",
    Measure.NG: "ng",
    Measure.REINSPECT: "reinspect",
    Measure.FAILED: "failed",
    Measure.EXPIRED: "expired",
}
"""Measures that are counts of the window's frames, whatever the scope; and the field that holds each."""


@dataclass(frozen=True, slots=True)
class Scope:
    """What a statement is about: the cameras and classes that it names, empty for all; ``severity`` 0 is any."""

    cameras: frozenset[str] = frozenset()
    labels: frozenset[str] = frozenset()
    severity: int = 0

    def holds(self, group: FindingGroup) -> bool:
        """Whether a group is meant."""
        camera = not self.cameras or group.camera in self.cameras
        return camera and (not self.labels or group.label in self.labels)

    def members(self) -> Iterator[Scope]:
        """Each named camera and class by itself."""
        for camera in sorted(self.cameras) or [""]:
            for label in sorted(self.labels) or [""]:
                yield Scope(frozenset({camera} - {""}), frozenset({label} - {""}), self.severity)


class Facts:
    """Numbers of one window. Those of a scope without findings are none, and its count is 0."""

    def __init__(self, data: WindowData) -> None:
        self.data = data
        self._numbers: dict[tuple[Measure, Scope, str], frozenset[float]] = {}

    @cached_property
    def cameras(self) -> frozenset[str]:
        """Cameras with findings."""
        return frozenset(group.camera for group in self.data.groups)

    @cached_property
    def labels(self) -> frozenset[str]:
        """Classes with findings."""
        return frozenset(group.label for group in self.data.groups)

    def groups(self, scope: Scope) -> list[FindingGroup]:
        """The groups that a statement is about."""
        return [group for group in self.data.groups if scope.holds(group)]

    def findings(self, scope: Scope) -> Iterator[Finding]:
        """The findings that a statement is about."""
        for group in self.groups(scope):
            yield from (one for one in group.findings if scope.severity in (0, one.severity))

    def count(self, scope: Scope) -> int:
        """Findings of a scope."""
        if scope.severity:
            return sum(1 for _ in self.findings(scope))
        return sum(len(group.findings) for group in self.groups(scope))

    @property
    def length_s(self) -> float:
        """How long the window is."""
        return (self.data.ends_at - self.data.starts_at).total_seconds()

    def numbers(self, measure: Measure, scope: Scope, axis: str = "") -> frozenset[float]:
        """Every number that is true of a measure in a scope; ``axis`` (``x``, ``y``) narrows pixels.

        Shares and confidences are in per cent, neither they nor seconds are rounded.
        """
        key = measure, scope, axis
        if key not in self._numbers:
            self._numbers[key] = frozenset(self._true(measure, scope, axis))
        return self._numbers[key]

    def times(self, measure: Measure, scope: Scope) -> frozenset[str]:
        """The times (``HH:MM:SS``, UTC) of the first, the last or any capture of a scope."""
        groups = self.groups(scope)
        if not groups:
            return frozenset()
        if measure is Measure.FIRST:
            return frozenset({clock(min(group.first for group in groups))})
        if measure is Measure.LAST:
            return frozenset({clock(max(group.last for group in groups))})
        return frozenset(clock(finding.captured_at) for finding in self.findings(scope))

    def wholes(self, scope: Scope) -> frozenset[int]:
        """What a count of the scope may be said to be part of: all findings, its cameras', its classes'.

        Of one severity also all of that severity, and all of its cameras and classes.
        """
        parts = [Scope(), Scope(cameras=scope.cameras), Scope(labels=scope.labels)]
        if scope.severity:
            parts += [replace(part, severity=scope.severity) for part in parts] + [replace(scope, severity=0)]
        return frozenset(self.count(part) for part in parts)

    def regions(self, scope: Scope) -> frozenset[Region | None]:
        """Regions in which findings of the scope lie; None among them where an image's size is not known."""
        return frozenset(map(region_of, self.findings(scope)))

    def _true(self, measure: Measure, scope: Scope, axis: str) -> Iterable[float]:
        groups, frames = self.groups(scope), self.data.totals.frames
        if measure in OF_FRAMES:
            return {getattr(frames, OF_FRAMES[measure])}
        if measure is Measure.COUNT:
            return {self.count(scope)}
        if measure is Measure.PIXELS:
            return self._pixels(scope, axis)
        if measure is Measure.SECONDS:
            return self._seconds(groups)
        if measure is Measure.SHARE:
            return {100 * self.count(scope) / whole for whole in self.wholes(scope) if whole}
        kinds: dict[Measure, Callable[[], set[float]]] = {
            Measure.CAMERAS: lambda: {len({group.camera for group in groups})},
            Measure.CLASSES: lambda: {len({group.label for group in groups})},
            Measure.GROUPS: lambda: {len(groups)},
            Measure.SEVERITY: lambda: {float(group.severity) for group in groups},
            Measure.HIGHEST: lambda: {100 * max(group.max_confidence for group in groups)},
            Measure.MEAN: lambda: self._means(scope),
            Measure.CONFIDENCE: lambda: self._means(scope) | {100 * one.confidence for one in self.findings(scope)},
        }
        return kinds[measure]() if groups and measure in kinds else ()

    def _means(self, scope: Scope) -> set[float]:
        shares = [finding.confidence for finding in self.findings(scope)]
        return {100 * sum(shares) / len(shares)} if shares else set()

    def _pixels(self, scope: Scope, axis: str) -> set[int]:
        """Edges, centres and lengths of the boxes."""
        found: set[int] = set()
        for finding in self.findings(scope):
            box, (x, y) = finding.box, finding.box.centre
            across = {box.x, box.w, x, box.x + box.w} if axis != "y" else set()
            down = {box.y, box.h, y, box.y + box.h} if axis != "x" else set()
            found |= {int(f"{side:.0f}") for side in across | down}
        return found

    def _seconds(self, groups: list[FindingGroup]) -> set[float]:
        """The length of the window, and the time from first to last."""
        lengths = {self.length_s}
        if groups:
            lengths.add((max(group.last for group in groups) - min(group.first for group in groups)).total_seconds())
        return lengths


def clock(moment: datetime) -> str:
    """A time of day as reports write it."""
    return f"{moment:%H:%M:%S}"
