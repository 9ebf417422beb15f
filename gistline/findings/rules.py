"""From detections to what a sorting gate does. Pure."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

from gistline.domain import Detection, Verdict, VerdictKind
from gistline.settings import VerdictSettings

DEFAULT_SEVERITY: Final = 2
"""Severity of a class that the settings do not name: neither cosmetic nor the loss of the part."""


def severity(label: str, settings: VerdictSettings) -> int:
    """Severity of a class, 1 (cosmetic) to 3 (the part is lost)."""
    return settings.severities.get(label, DEFAULT_SEVERITY)


def decide(detections: Sequence[Detection], settings: VerdictSettings) -> Verdict:
    """NG at or above ``ng_confidence``, re-inspect when every finding is weaker, OK when there is none.

    The reason names the finding that decided: the most confident one and, of equals, the most severe. Call it only with
    what a detector answered: a frame that was not looked at has no verdict.
    """
    if not detections:
        return Verdict(VerdictKind.OK, "no findings")
    deciding = max(detections, key=lambda found: (found.confidence, severity(found.label, settings)))
    count = "1 finding" if len(detections) == 1 else f"{len(detections)} findings"
    named = f"{count}, strongest {deciding.label} at {deciding.confidence:.3f}"
    x, y = deciding.box.centre
    place = f"near ({x:.0f}, {y:.0f})"
    if deciding.confidence >= settings.ng_confidence:
        return Verdict(VerdictKind.NG, f"{named} {place}: at or above {settings.ng_confidence:g}")
    return Verdict(VerdictKind.REINSPECT, f"{named} {place}: below {settings.ng_confidence:g}")
