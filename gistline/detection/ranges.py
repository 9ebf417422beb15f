"""What values a tensor takes, and which part of them eight bits should cover.

One table of histograms, filled in a single pass over the calibration images, serves every method of choosing ranges and
every target. Bins are aligned to zero and as wide as a power of two, so histograms of different tensors add up exactly.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from enum import StrEnum
from pathlib import Path
from typing import Final, NamedTuple, Self

import numpy as np
from numpy.typing import NDArray

BINS: Final = 2_048
"""Fewest bins that a histogram's values spread over (at most twice as many)."""
_FINEST: Final = 2.0**-40
"""Bin width of a tensor that is zero throughout."""
SMALLEST_SCALE: Final = 2.0**-24
"""Smaller scales make OpenVINO leave a convolution in float without a word; TensorRT's parser fails on 0."""


class Method(StrEnum):
    """How a range is chosen from a histogram."""

    MINMAX = "minmax"
    PERCENTILE = "percentile"
    ENTROPY = "entropy"
    MSE = "mse"


class Range(NamedTuple):
    """Values from ``low`` to ``high`` are told apart, others saturate; zero is always inside."""

    low: float
    high: float


@dataclass(frozen=True, slots=True)
class Affine:
    """``q = clip(round(x / scale) + zero_point)`` and back ``x = (q - zero_point) * scale``."""

    scale: float
    zero_point: int
    signed: bool


@dataclass(slots=True)
class Histogram:
    """Counts of values in bins ``[i * width, (i + 1) * width)``; ``counts[0]`` belongs to bin ``first``."""

    width: float = 0.0
    first: int = 0
    counts: NDArray[np.int64] = field(default_factory=lambda: np.zeros(0, np.int64))
    minimum: float = np.inf
    maximum: float = -np.inf

    @classmethod
    def of(cls, values: NDArray[np.float32]) -> Self:
        """Histogram of an array of any shape; at least one value.

        Raises:
            ValueError: a value is NaN or infinite.

        """
        low, high = float(values.min()), float(values.max())
        if not np.isfinite([low, high]).all():
            raise ValueError("a calibration tensor holds NaN or infinity")
        width = _width(low, high)
        bins = np.floor(values.ravel() * np.float32(1 / width)).astype(np.int64)
        first = int(bins.min())
        return cls(width, first, np.bincount(bins - first).astype(np.int64), low, high)

    def merged(self, other: Histogram) -> Histogram:
        """Both together, in bins of the wider kind or as wide as the joint span needs."""
        if not self.counts.size or not other.counts.size:
            return other if other.counts.size else self
        low, high = min(self.minimum, other.minimum), max(self.maximum, other.maximum)
        width = max(self.width, other.width, _width(low, high))
        one, two = self._widened(width), other._widened(width)
        first = min(one.first, two.first)
        counts = np.zeros(max(one.first + one.counts.size, two.first + two.counts.size) - first, np.int64)
        for part in (one, two):
            counts[part.first - first : part.first - first + part.counts.size] += part.counts
        return Histogram(width, first, counts, low, high)

    def _widened(self, width: float) -> Histogram:
        factor = round(width / self.width)
        bins = np.arange(self.first, self.first + self.counts.size) // factor
        counts = np.zeros(int(bins[-1] - bins[0]) + 1, np.int64)
        np.add.at(counts, bins - bins[0], self.counts)
        return Histogram(width, int(bins[0]), counts, self.minimum, self.maximum)

    def mirrored(self) -> Histogram:
        """Histogram of the negated values."""
        last = self.first + self.counts.size
        return Histogram(self.width, -last, self.counts[::-1], -self.maximum, -self.minimum)

    def folded(self) -> Histogram:
        """Histogram of the absolute values."""
        bins = np.arange(self.first, self.first + self.counts.size)
        bins = np.where(bins < 0, -bins - 1, bins)
        first = int(bins.min())
        counts = np.bincount(bins - first, weights=self.counts).astype(np.int64)
        return Histogram(self.width, first, counts, 0.0, max(-self.minimum, self.maximum))


def _width(low: float, high: float) -> float:
    """The power of two that cuts the span, zero included, into more than BINS and at most 2 x BINS bins."""
    span = max(0.0, high) - min(0.0, low)
    return max(_FINEST, float(2.0 ** np.ceil(np.log2(span / (2 * BINS))))) if span > 0 else _FINEST


@dataclass(slots=True)
class RangeTable:
    """Histograms of the tensors that feed convolutions, and how many images they were taken from.

    ``digest`` is the SHA-256 of those images' pixels, ``looks`` what they looked like (as JSON); empty where not known.
    """

    histograms: dict[str, Histogram] = field(default_factory=dict)
    images: int = 0
    digest: str = ""
    looks: str = ""

    def add(self, tensors: Mapping[str, NDArray[np.float32]]) -> None:
        """Count the tensors of one more image."""
        for name, values in tensors.items():
            self.histograms[name] = self.histograms.get(name, Histogram()).merged(Histogram.of(values))
        self.images += 1

    def joint(self, names: Iterable[str]) -> Histogram:
        """One histogram of several tensors, for those that must share a scale."""
        result = Histogram()
        for name in names:
            result = result.merged(self.histograms[name])
        return result

    def save(self, path: Path) -> None:
        """Write the whole table as one compressed ``.npz``."""
        facts = {name: (h.width, h.first, h.minimum, h.maximum) for name, h in self.histograms.items()}
        header = json.dumps({"images": self.images, "digest": self.digest, "tensors": facts})
        arrays = {str(i): h.counts for i, h in enumerate(self.histograms.values())}
        with path.open("wb") as file:
            np.savez_compressed(file, allow_pickle=False, header=np.array(header), **arrays)

    @classmethod
    def load(cls, path: Path) -> Self:
        """Read a table that ``save`` wrote."""
        with np.load(path, allow_pickle=False) as file:
            header = json.loads(str(file["header"]))
            histograms = {
                name: Histogram(width, first, file[str(i)], low, high)
                for i, (name, (width, first, low, high)) in enumerate(header["tensors"].items())
            }
        return cls(histograms, header["images"], header.get("digest", ""))


def choose_range(histogram: Histogram, method: Method, *, percentile: float = 99.99, symmetric: bool = False) -> Range:
    """The part of a histogram's values that is worth telling apart in eight bits.

    Args:
        histogram: of the tensor, or of all tensors of one scale.
        method: ``minmax`` covers everything; ``percentile`` leaves out the outermost ``100 - percentile`` percent;
            ``entropy`` gives up that end of the longer side whose loss changes the distribution least
            (Kullback-Leibler divergence, as TensorRT's calibrator does), ``mse`` the one that leaves the least squared
            error.
        percentile: for that method, in percent.
        symmetric: choose ``-x`` to ``x``.

    """
    if symmetric:
        limit = _upper_end(histogram.folded(), method, percentile=percentile, levels=128)
        return Range(-limit, limit)
    if -histogram.minimum > histogram.maximum:
        mirrored = choose_range(histogram.mirrored(), method, percentile=percentile)
        return Range(-mirrored.high, -mirrored.low)
    low, high = min(0.0, histogram.minimum), max(0.0, histogram.maximum)
    if method is Method.PERCENTILE:
        low = min(0.0, _quantile(histogram, (1 - percentile / 100) / 2))
        return Range(low, max(0.0, _quantile(histogram, 1 - (1 - percentile / 100) / 2)))
    if high == low:
        return Range(low, high)
    levels = max(2, round(256 * high / (high - low)))
    return Range(low, _upper_end(histogram, method, percentile=percentile, levels=levels))


def affine(covered: Range, *, signed: bool, symmetric: bool) -> Affine:
    """Scale and zero point that map a range to eight bits; zero is always met exactly.

    Asymmetric: the 255 steps of int8 or uint8 span the range. Symmetric (int8 only): 127 steps on either side, zero
    point 0, which is the form that TensorRT demands.
    """
    low, high = min(0.0, covered.low), max(0.0, covered.high)
    if symmetric:
        return Affine(max(SMALLEST_SCALE, max(-low, high) / 127), 0, signed=True)
    scale = max(SMALLEST_SCALE, (high - low) / 255)
    return Affine(scale, round((-128 if signed else 0) - low / scale), signed)


def _quantile(histogram: Histogram, share: float) -> float:
    """Value below which that share of the counts lies, to within one bin, inside the values seen."""
    reached = np.searchsorted(np.cumsum(histogram.counts), share * histogram.counts.sum())
    edge = (int(reached) + histogram.first + (1 if share > 0.5 else 0)) * histogram.width
    return float(np.clip(edge, histogram.minimum, histogram.maximum))


def _upper_end(histogram: Histogram, method: Method, *, percentile: float, levels: int) -> float:
    """Where to saturate a histogram's positive side when that side has so many levels."""
    if method is Method.PERCENTILE:
        return _quantile(histogram, percentile / 100)
    bins = np.maximum(0, np.arange(histogram.counts.size) + histogram.first)
    counts = np.bincount(bins, weights=histogram.counts).astype(np.float64)
    if method is Method.MINMAX or counts.size <= levels:
        return max(0.0, histogram.maximum)
    loss = _divergence if method is Method.ENTROPY else _squared_error
    candidates = [*range(levels, counts.size, 4), counts.size]
    best = min(candidates, key=lambda kept: loss(counts, kept, levels))
    return float(min(histogram.maximum, best * histogram.width))


def _divergence(counts: NDArray[np.float64], kept: int, levels: int) -> float:
    """Kullback-Leibler divergence of the first ``kept`` bins, outliers in the last, from the same in ``levels`` steps.

    Bin 0 (zero and, of a two-sided tensor, everything below) says nothing about the upper end and is left out.
    """
    inside = counts[:kept].copy()
    inside[0] = 0
    reference = inside.copy()
    reference[-1] += counts[kept:].sum()
    edges = np.arange(levels) * kept // levels
    sizes = np.diff(edges, append=kept)
    occupied = np.maximum(1, np.add.reduceat((reference > 0).astype(np.float64), edges))
    spread = np.repeat(np.add.reduceat(inside, edges) / occupied, sizes)
    seen = reference > 0
    p = reference[seen] / max(1.0, reference.sum())
    q = np.maximum(spread[seen] / max(1.0, spread[seen].sum()), 1e-12)
    return float(np.sum(p * np.log(p / q)))


def _squared_error(counts: NDArray[np.float64], kept: int, levels: int) -> float:
    """Squared error, in bins, of rounding to ``levels`` steps up to bin ``kept`` and saturating beyond.

    Bin 0 stands for zero and everything below, whose error is that of a uniform rounding.
    """
    step = kept / levels
    centres = np.arange(1, counts.size) + 0.5
    rounded = np.minimum(np.rint(centres / step) * step, kept)
    return float(counts[0] * step * step / 12 + np.sum(counts[1:] * (centres - rounded) ** 2))
