"""Whether a measured quantity grows: a slope that single outliers do not move, with its interval."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np


@dataclass(frozen=True, slots=True)
class Trend:
    """Median level, and change an hour with its 95 % interval, all in the quantity's own unit."""

    level: float
    per_hour: float
    low: float
    high: float

    @property
    def share(self) -> float:
        """Change an hour as a share of the level; infinite for a level of 0 that changes."""
        if self.level:
            return self.per_hour / abs(self.level)
        return 0.0 if not self.per_hour else math.inf


def trend(seconds: Sequence[float], values: Sequence[float]) -> Trend:
    """Theil-Sen: the median of the slopes between all pairs; the interval is Sen's (1968), from Kendall's variance.

    Args:
        seconds: when, rising, at least three.
        values: what was measured then.

    Raises:
        ValueError: fewer than three points.

    """
    count = len(seconds)
    if count < 3:
        raise ValueError(f"{count} points have no trend; measure at least three.")
    at, measured = np.asarray(seconds, float) / 3_600, np.asarray(values, float)
    first, second = np.triu_indices(count, 1)
    slopes = np.sort((measured[second] - measured[first]) / (at[second] - at[first]))
    reach = 1.96 * math.sqrt(count * (count - 1) * (2 * count + 5) / 18)
    low = max(0, math.floor((len(slopes) - reach) / 2))
    high = min(len(slopes) - 1, math.ceil((len(slopes) + reach) / 2))
    return Trend(float(np.median(measured)), float(np.median(slopes)), float(slopes[low]), float(slopes[high]))
