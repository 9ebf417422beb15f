"""What operators' feedback says of a detector: the share of its findings that were right, with its uncertainty."""

from __future__ import annotations

import math
from typing import Final

from gistline.domain import Estimate

_Z: Final = 1.959963984540054
"""Quantile of the normal distribution for 95 %."""


def precision(correct: int, incorrect: int) -> Estimate | None:
    """Share of correct findings among those judged, with its 95 % score interval (Wilson, 1927); None without any.

    Findings that were inconclusive say nothing and are not counted. The interval takes the judged findings for a random
    sample, which they are only if operators do not pick what they judge.
    """
    judged = correct + incorrect
    if judged == 0:
        return None
    share = correct / judged
    denominator = 1 + _Z**2 / judged
    centre = (share + _Z**2 / (2 * judged)) / denominator
    half = _Z / denominator * math.sqrt(share * (1 - share) / judged + _Z**2 / (4 * judged**2))
    return Estimate(share, max(0.0, centre - half), min(1.0, centre + half))
