from __future__ import annotations

import pytest

from gistline.domain import Box, Detection, VerdictKind
from gistline.findings.rules import decide, severity
from gistline.settings import VerdictSettings

SETTINGS = VerdictSettings()


def found(label: str, confidence: float) -> Detection:
    return Detection(label, confidence, Box(100, 200, 20, 10))


def test_nothing_found_is_ok() -> None:
    assert decide([], SETTINGS).kind is VerdictKind.OK


@pytest.mark.parametrize(
    ("confidence", "kind"),
    [(0.5, VerdictKind.NG), (1.0, VerdictKind.NG), (0.4999, VerdictKind.REINSPECT), (0.01, VerdictKind.REINSPECT)],
)
def test_threshold_is_inclusive(confidence: float, kind: VerdictKind) -> None:
    assert decide([found("spur", confidence)], SETTINGS).kind is kind


def test_one_strong_finding_among_weak_ones_is_ng() -> None:
    verdict = decide([found("spur", 0.3), found("short", 0.8), found("open", 0.4)], SETTINGS)
    assert verdict.kind is VerdictKind.NG
    assert verdict.reason == "3 findings, strongest short at 0.800 near (110, 205): at or above 0.5"


def test_of_equals_the_more_severe_is_named() -> None:
    assert "open" in decide([found("pin-hole", 0.7), found("open", 0.7), found("spur", 0.7)], SETTINGS).reason


def test_reason_of_a_re_inspection() -> None:
    verdict = decide([found("spur", 0.3)], VerdictSettings(ng_confidence=0.75))
    assert verdict.reason == "1 finding, strongest spur at 0.300 near (110, 205): below 0.75"


def test_threshold_zero_makes_every_finding_ng() -> None:
    assert decide([found("spur", 0.001)], VerdictSettings(ng_confidence=0)).kind is VerdictKind.NG


def test_severity_of_known_and_unknown_classes() -> None:
    assert [severity(label, SETTINGS) for label in ("open", "spur", "pin-hole", "scratch")] == [3, 2, 1, 2]
    assert severity("scratch", VerdictSettings(severities={"scratch": 1})) == 1
