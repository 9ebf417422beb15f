"""Two detectors on the same pictures: partners, share and shift of confidence, by hand."""

from __future__ import annotations

import pytest

from gistline.detection.agreement import agreement
from gistline.domain import Box, Detection


def found(label: str, confidence: float, x: float = 0.0) -> Detection:
    return Detection(label, confidence, Box(x, 0.0, 10.0, 10.0))


def test_partners_are_of_one_class_and_overlap() -> None:
    pairs = [
        ([found("open", 0.9)], [found("open", 0.8, x=1.0)]),  # IoU 90 / 110
        ([found("open", 0.9)], [found("short", 0.9)]),
        ([found("open", 0.9)], [found("open", 0.9, x=6.0)]),  # IoU 40 / 160
        ([], []),
    ]
    result = agreement(pairs)
    assert (result.images, result.findings) == (4, 6)
    assert result.share is not None
    assert result.share.value == pytest.approx(2 / 6)
    assert result.share.low <= 2 / 6 <= result.share.high
    assert result.shift is not None
    assert result.shift.value == pytest.approx(0.1)


def test_one_finding_has_one_partner() -> None:
    result = agreement([([found("open", 0.9), found("open", 0.5, x=1.0)], [found("open", 0.9)])])
    assert result.share is not None
    assert result.share.value == pytest.approx(2 / 3)
    assert result.shift is not None
    assert result.shift.value == 0.0


def test_without_any_finding_nothing_is_said() -> None:
    assert agreement([([], []), ([], [])]).share is None
    assert agreement([]).share is None


def test_nothing_in_common_is_no_agreement_and_no_shift() -> None:
    result = agreement([([found("open", 0.9)], []), ([], [found("open", 0.9)])])
    assert result.share is not None
    assert (result.share.value, result.shift) == (0.0, None)
