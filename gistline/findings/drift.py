"""Do a camera's frames, and what the detector says of them, look as they did? Population stability indices, pure.

The usual limits of 0.1 and 0.25 do not know how many frames were compared: without any drift the index of ``B`` bins is
``(B - 1) (1/N + 1/M)`` on average. Here a statistic has drifted above ``max(least, q (1/N + 1/M))``, where ``q`` is the
99.9 % quantile of chi square with ``B - 1`` degrees of freedom. Every statistic counts each frame once, since
findings of one frame are no independent samples. A statistic of images must also have moved by what matters to a
detector (:data:`LEAST_MOVE`): a lamp that never varies makes any change significant, however small.
"""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final

import numpy as np

CHI2_999: Final = (
    10.828, 13.816, 16.266, 18.467, 20.515, 22.458, 24.322, 26.124, 27.877, 29.588,
    31.264, 32.909, 34.528, 36.123, 37.697, 39.252, 40.790, 42.312, 43.820, 45.315,
)  # fmt: skip
"""99.9 % quantiles of chi square for 1 to 20 degrees of freedom (any table of the distribution)."""
CONFIDENCE_BINS: Final = 10
MOST_FINDINGS: Final = 5
MOST_CLASSES: Final = 20
NOTHING: Final = "none"
OTHERS: Final = "others"
LEAST_MOVE: Final[Mapping[str, float]] = {"brightness": 8.0, "contrast": 6.0, "sharpness": 0.4}
"""Mean shift of an image statistic's deciles below which nothing has happened, in its own unit (frames/looks.py)."""
_DECILES: Final = np.arange(0.1, 0.95, 0.1)
_ENDS: Final = (0.01, 0.99)
OUTSIDE: Final = 0.5
"""Share of frames beyond what the calibration images showed, above which eight bits were made for other pictures."""

Counts = Mapping[str, int]


@dataclass(frozen=True, slots=True)
class FrameOutput:
    """What the detector said of one frame: class and confidence of its strongest finding, and how many there were."""

    label: str | None
    confidence: float
    findings: int


@dataclass(frozen=True, slots=True)
class Drift:
    """One statistic of one camera. ``index`` must exceed ``limit``; ``largest`` says in words where it moved most."""

    statistic: str
    index: float
    limit: float
    before: int
    now: int
    largest: str
    moved: bool = True
    """Whether the change is large enough to matter, whatever its significance."""

    @property
    def drifted(self) -> bool:
        """Whether this is drift."""
        return self.moved and self.index > self.limit


def count_outputs(outputs: Iterable[FrameOutput]) -> dict[str, dict[str, int]]:
    """Counts of each statistic's bins, each frame once in each: all that must be kept of a reference."""
    classes: Counter[str] = Counter()
    confidences: Counter[str] = Counter()
    numbers: Counter[str] = Counter()
    for one in outputs:
        classes[one.label or NOTHING] += 1
        numbers[str(min(one.findings, MOST_FINDINGS))] += 1
        part = min(int(one.confidence * CONFIDENCE_BINS), CONFIDENCE_BINS - 1)
        confidences[NOTHING if one.label is None else f"{part / CONFIDENCE_BINS:.1f}"] += 1
    found = {"strongest class": classes, "highest confidence": confidences, "findings a frame": numbers}
    return {name: dict(counts) for name, counts in found.items()}


def compare_outputs(before: Mapping[str, Counts], now: Mapping[str, Counts], *, least: float) -> list[Drift]:
    """Every statistic of what the detector says; ``least`` is the index below which nothing has drifted."""
    return [_compared(name, _fewer(counts, now.get(name, {})), least) for name, counts in before.items()]


def describe_images(values: Mapping[str, Sequence[float]]) -> dict[str, dict[str, Any]]:
    """Deciles and ends of each image statistic: all that must be kept of a reference; at least one value each."""
    return {
        name: {
            "deciles": np.quantile(several, _DECILES).round(3).tolist(),
            "ends": np.quantile(several, _ENDS).round(3).tolist(),
            "frames": len(several),
        }
        for name, several in values.items()
    }


def compare_images(
    before: Mapping[str, Mapping[str, Any]], now: Mapping[str, Sequence[float]], *, least: float
) -> list[Drift]:
    """Every image statistic, in bins that each held a tenth of the reference."""
    return [_image_drift(name, told, now[name], least) for name, told in before.items()]


def outside_calibration(told: Mapping[str, Mapping[str, Any]], now: Mapping[str, Sequence[float]]) -> list[Drift]:
    """Of each image statistic the share of frames beyond the ends of the calibration images."""
    found = []
    for name, calibrated in told.items():
        low, high = calibrated["ends"]
        slack = LEAST_MOVE.get(name, 0.0)
        values = np.array(now[name])
        share = float(((values < low - slack) | (values > high + slack)).mean())
        largest = f"median {np.median(values):.1f}, calibration images lie in {low:.1f} to {high:.1f}"
        found.append(
            Drift(f"{name} beyond calibration", share, OUTSIDE, int(calibrated["frames"]), len(values), largest)
        )
    return found


def limit_of(bins: int, before: int, now: int, *, least: float) -> float:
    """What an index over so many bins must exceed to be drift."""
    quantile = CHI2_999[min(max(bins - 1, 1), len(CHI2_999)) - 1]
    return max(least, quantile * (1 / before + 1 / now))


def _image_drift(name: str, told: Mapping[str, Any], values: Sequence[float], least: float) -> Drift:
    deciles, frames = np.array(told["deciles"]), int(told["frames"])
    edges, repeated = np.unique(deciles, return_counts=True)
    # A tenth of the reference lies between two deciles; where several are equal, it lies on them.
    shares = np.append(repeated / 10, 0.0)
    shares[-1] = 1 - shares.sum()
    places = np.bincount(np.searchsorted(edges, values), minlength=edges.size + 1)
    pairs = {str(place): (float(frames * shares[place]), float(count)) for place, count in enumerate(places)}
    moved = np.quantile(values, _DECILES) - deciles
    middle, now = float(deciles[4]), float(np.median(values))
    index, _ = _index(pairs)
    return Drift(
        name,
        index,
        limit_of(len(pairs), frames, len(values), least=least),
        frames,
        len(values),
        f"median {now:.1f}, it was {middle:.1f}",
        moved=bool(np.abs(moved).mean() >= LEAST_MOVE.get(name, 0.0)),
    )


def _fewer(before: Counts, now: Counts) -> tuple[Counts, Counts]:
    """Both with the classes beyond the commonest put together, so that the table of quantiles reaches."""
    total = Counter(before) + Counter(now)
    if len(total) <= MOST_CLASSES:
        return before, now
    kept = {name for name, _ in total.most_common(MOST_CLASSES - 1)}
    return _folded(before, kept), _folded(now, kept)


def _folded(counts: Counts, kept: set[str]) -> Counts:
    folded: Counter[str] = Counter()
    for name, count in counts.items():
        folded[name if name in kept else OTHERS] += count
    return folded


def _compared(name: str, sides: tuple[Counts, Counts], least: float) -> Drift:
    before, now = sides
    bins = sorted(before.keys() | now.keys())
    n, m = sum(before.values()), sum(now.values())
    pairs = {key: (float(before.get(key, 0)), float(now.get(key, 0))) for key in bins}
    index, largest = _index(pairs)
    was, is_now = pairs[largest]
    told = f"{largest}: {is_now / m:.0%} of frames, it was {was / n:.0%}"
    return Drift(name, index, limit_of(len(bins), n, m, least=least), n, m, told)


def _index(pairs: Mapping[str, tuple[float, float]]) -> tuple[float, str]:
    """The index and the bin that gives most of it; half a frame in every bin keeps an empty one from being infinite."""
    n, m = (sum(pair[side] for pair in pairs.values()) + 0.5 * len(pairs) for side in (0, 1))
    parts = {
        key: ((now + 0.5) / m - (was + 0.5) / n) * math.log((now + 0.5) / m * n / (was + 0.5))
        for key, (was, now) in pairs.items()
    }
    return sum(parts.values()), max(parts, key=lambda key: parts[key])
