"""What a report's numbers may say: the numbers of a window, by camera and class, kind by kind."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from functools import cached_property

from gistline.domain import Finding, FindingGroup
from gistline.reports.encoding import percent
from gistline.reports.prompt import WindowData


@dataclass(frozen=True, slots=True)
class Scope:
    """What a statement is about: the cameras and classes that it names, empty for all."""

    cameras: frozenset[str] = frozenset()
    labels: frozenset[str] = frozenset()

    def holds(self, group: FindingGroup) -> bool:
        """Whether a group is meant."""
        camera = not self.cameras or group.camera in self.cameras
        return camera and (not self.labels or group.label in self.labels)


class Facts:
    """Numbers of one window. Those of a scope without findings are none, and its count is 0."""

    def __init__(self, data: WindowData) -> None:
        self.data = data

    @cached_property
    def cameras(self) -> frozenset[str]:
        """Cameras with findings."""
        return frozenset(group.camera for group in self.data.groups)

    @cached_property
    def labels(self) -> frozenset[str]:
        """Classes with findings."""
        return frozenset(group.label for group in self.data.groups)

    def frames(self) -> dict[str, int]:
        """Frames by what became of them; ``frames`` and ``inspected`` both are the inspected ones."""
        found = self.data.totals.frames
        return {
            "frames": found.inspected,
            "inspected": found.inspected,
            "ng": found.ng,
            "reinspect": found.reinspect,
            "failed": found.failed,
            "expired": found.expired,
        }

    def groups(self, scope: Scope) -> list[FindingGroup]:
        """The groups that a statement is about."""
        return [group for group in self.data.groups if scope.holds(group)]

    def count(self, scope: Scope) -> int:
        """Findings of a scope."""
        return sum(len(group.findings) for group in self.groups(scope))

    def severities(self, scope: Scope) -> set[int]:
        """Severities of a scope's groups."""
        return {group.severity for group in self.groups(scope)}

    def highest(self, scope: Scope) -> set[int]:
        """The highest confidence of a scope in per cent."""
        shares = [group.max_confidence for group in self.groups(scope)]
        return {percent(max(shares))} if shares else set()

    def means(self, scope: Scope) -> set[int]:
        """The mean confidence of a scope in per cent."""
        shares = [finding.confidence for finding in self._findings(scope)]
        return {percent(sum(shares) / len(shares))} if shares else set()

    def percents(self, scope: Scope) -> set[int]:
        """Confidences of a scope's findings, and their mean."""
        return self.means(scope) | {percent(finding.confidence) for finding in self._findings(scope)}

    def pixels(self, scope: Scope, axis: str) -> set[int]:
        """Edges, centres and lengths of a scope's boxes; ``axis`` is ``x``, ``y`` or empty for both."""
        found: set[int] = set()
        for finding in self._findings(scope):
            box, (x, y) = finding.box, finding.box.centre
            across = {box.x, box.w, x, box.x + box.w} if axis != "y" else set()
            down = {box.y, box.h, y, box.y + box.h} if axis != "x" else set()
            found |= {int(f"{side:.0f}") for side in across | down}
        return found

    def times(self, scope: Scope) -> set[str]:
        """Capture times of a scope's findings as ``HH:MM:SS``."""
        return {f"{finding.captured_at:%H:%M:%S}" for finding in self._findings(scope)}

    def first(self, scope: Scope) -> set[str]:
        """The earliest capture of a scope as ``HH:MM:SS``."""
        return {f"{min(group.first for group in found):%H:%M:%S}"} if (found := self.groups(scope)) else set()

    def last(self, scope: Scope) -> set[str]:
        """The latest capture of a scope as ``HH:MM:SS``."""
        return {f"{max(group.last for group in found):%H:%M:%S}"} if (found := self.groups(scope)) else set()

    def seconds(self, scope: Scope) -> set[int]:
        """The length of the window, and the time from first to last of a scope."""
        lengths = [self.data.ends_at - self.data.starts_at]
        if found := self.groups(scope):
            lengths.append(max(group.last for group in found) - min(group.first for group in found))
        return {round(length.total_seconds()) for length in lengths}

    def _findings(self, scope: Scope) -> Iterable[Finding]:
        return (finding for group in self.groups(scope) for finding in group.findings)
