"""Gather a window's findings by camera and class, in an order that does not depend on how they were read."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Sequence
from math import fsum

from gistline.domain import Finding, FindingGroup


def group_findings(findings: Iterable[Finding]) -> tuple[FindingGroup, ...]:
    """Group by camera and class: gravest first, then most frequent, then by name.

    Within a group findings stand by capture time, then key. The result is the same for every order of the input.
    """
    gathered: dict[tuple[str, str], list[Finding]] = defaultdict(list)
    for finding in findings:
        gathered[finding.camera, finding.label].append(finding)
    groups = [_group(camera, label, members) for (camera, label), members in gathered.items()]
    return tuple(sorted(groups, key=_rank))


def _rank(group: FindingGroup) -> tuple[int, int, str, str]:
    return -group.severity, -len(group.findings), group.camera, group.label


def _group(camera: str, label: str, members: Sequence[Finding]) -> FindingGroup:
    ordered = sorted(members, key=lambda finding: (finding.captured_at, finding.finding_id))
    confidences = [finding.confidence for finding in ordered]
    return FindingGroup(
        camera=camera,
        label=label,
        findings=tuple(ordered),
        severity=max(finding.severity for finding in ordered),
        mean_confidence=fsum(confidences) / len(confidences),
        max_confidence=max(confidences),
        first=ordered[0].captured_at,
        last=ordered[-1].captured_at,
    )
