"""The totals of a window: counts that always add up to every finding, and where its frames went."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass
from enum import StrEnum
from typing import Any

from gistline.domain import FindingGroup, FrameCounts
from gistline.reports.encoding import table


class Fold(StrEnum):
    """How finely the printed totals count: each camera's classes, cameras and classes apart, or classes alone."""

    NONE = "none"
    EDGES = "edges"
    CLASSES = "classes"


@dataclass(frozen=True, slots=True)
class Totals:
    """Findings by camera and class, and frames. ``cells`` holds ``(camera, label, count)``, sorted, none of them 0."""

    frames: FrameCounts
    cells: tuple[tuple[str, str, int], ...]

    @property
    def findings(self) -> int:
        """All findings of the window."""
        return sum(count for _, _, count in self.cells)

    @property
    def by_label(self) -> dict[str, int]:
        """Findings of each class, most frequent first."""
        return _ranked((label, count) for _, label, count in self.cells)

    @property
    def by_camera(self) -> dict[str, int]:
        """Findings of each camera, most frequent first."""
        return _ranked((camera, count) for camera, _, count in self.cells)

    def as_table(self, fold: Fold = Fold.NONE) -> str:
        """Cameras down, classes across, sums at the edge; folded, the sums alone. Empty when nothing is to be counted.

        However it is folded, its counts add up to all findings.
        """
        if not self.cells:
            return ""
        if fold is Fold.NONE:
            return self._pivot()
        classes = _listing("class", self.by_label, self.findings)
        if fold is Fold.CLASSES:
            return classes
        return f"{classes}\n{_listing('camera', self.by_camera, self.findings)}"

    def _pivot(self) -> str:
        by_label = self.by_label
        labels = sorted(by_label)
        found = {(camera, label): count for camera, label, count in self.cells}
        rows: list[list[str | int]] = [
            [camera, *(found.get((camera, label), 0) for label in labels), count]
            for camera, count in sorted(self.by_camera.items())
        ]
        rows.append(["all", *(by_label[label] for label in labels), self.findings])
        return table(["camera", *labels, "all"], rows)

    def as_json(self) -> dict[str, Any]:
        """The same for the database: plain lists, numbers and texts."""
        return {
            "findings": self.findings,
            "by_label": self.by_label,
            "by_camera": self.by_camera,
            "cells": [list(cell) for cell in self.cells],
            "frames": asdict(self.frames),
        }


def count_totals(groups: Sequence[FindingGroup], frames: FrameCounts) -> Totals:
    """Count a window's groups."""
    return Totals(frames, tuple(sorted((group.camera, group.label, len(group.findings)) for group in groups)))


def _listing(heading: str, counts: Mapping[str, int], everything: int) -> str:
    return table([heading, "all"], [*counts.items(), ("all", everything)])


def _ranked(pairs: Iterable[tuple[str, int]]) -> dict[str, int]:
    counts: Counter[str] = Counter()
    for key, count in pairs:
        counts[key] += count
    return dict(sorted(counts.items(), key=lambda pair: (-pair[1], pair[0])))
