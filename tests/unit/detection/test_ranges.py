from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from gistline.detection.ranges import BINS, Affine, Histogram, Method, Range, RangeTable, affine, choose_range


def silu(count: int = 200_000, seed: int = 0) -> np.ndarray:
    x = np.random.default_rng(seed).normal(0, 2, count).astype(np.float32)
    return np.asarray(x / (1 + np.exp(-x)), np.float32)


def test_affine_map_of_a_known_range() -> None:
    """[-6.3, 7.1]: S = 13.4 / 255 = 0.05255, Z = -128 + 6.3 / S = -8 in int8, 120 in uint8."""
    int8 = affine(Range(-6.3, 7.1), signed=True, symmetric=False)
    uint8 = affine(Range(-6.3, 7.1), signed=False, symmetric=False)
    assert int8.scale == uint8.scale == pytest.approx(0.05255, abs=5e-6)
    assert (int8.zero_point, uint8.zero_point) == (-8, 120)


def test_symmetric_map_of_the_same_range() -> None:
    assert affine(Range(-6.3, 7.1), signed=True, symmetric=True) == Affine(7.1 / 127, 0, signed=True)


def test_pixels_meet_uint8_exactly() -> None:
    assert affine(Range(0, 1), signed=False, symmetric=False) == Affine(1 / 255, 0, signed=False)


@pytest.mark.parametrize("symmetric", [True, False])
def test_dead_tensor_keeps_a_scale_above_zero(symmetric: bool) -> None:
    assert affine(Range(0, 0), signed=symmetric, symmetric=symmetric).scale > 0


def test_zero_is_always_inside() -> None:
    assert affine(Range(3, 5), signed=False, symmetric=False) == Affine(5 / 255, 0, signed=False)
    assert affine(Range(-5, -3), signed=False, symmetric=False) == Affine(5 / 255, 255, signed=False)


def test_histogram_counts_what_numpy_counts() -> None:
    values = silu()
    histogram = Histogram.of(values)
    assert histogram.counts.sum() == values.size
    assert BINS < (histogram.maximum - histogram.minimum) / histogram.width <= 2 * BINS
    edges = (np.arange(histogram.counts.size + 1) + histogram.first) * histogram.width
    expected, _ = np.histogram(values, edges)
    assert (histogram.counts == expected).all()


def test_merging_equals_counting_at_once() -> None:
    parts = [silu(1_000, 1), 50 * silu(1_000, 2), silu(1_000, 3) - 7]
    merged = Histogram()
    for part in parts:
        merged = merged.merged(Histogram.of(part))
    once = Histogram.of(np.concatenate(parts))
    assert (merged.width, merged.first, merged.minimum, merged.maximum) == (
        once.width,
        once.first,
        once.minimum,
        once.maximum,
    )
    assert (merged.counts == once.counts).all()


@pytest.mark.parametrize("value", [0.0, 1.0, -3.5, 1e-30, 1e6])
def test_constant_tensor(value: float) -> None:
    histogram = Histogram.of(np.full(10, value, np.float32))
    for method in Method:
        chosen = choose_range(histogram.merged(histogram), method)
        assert chosen.low == pytest.approx(min(0.0, value))
        assert chosen.high == pytest.approx(max(0.0, value))


def test_folded_and_mirrored() -> None:
    histogram = Histogram.of(np.array([-2.0, -1.0, 0.5, 1.0], np.float32))
    folded, mirrored = histogram.folded(), histogram.mirrored()
    assert (folded.minimum, folded.maximum, folded.counts.sum()) == (0.0, 2.0, 4)
    assert (mirrored.minimum, mirrored.maximum) == (-1.0, 2.0)
    assert choose_range(histogram, Method.MINMAX) == Range(-2, 1)
    assert choose_range(histogram, Method.MINMAX, symmetric=True) == Range(-2, 2)


def test_minmax_covers_everything_the_others_give_up_an_outlier() -> None:
    values = np.concatenate([silu(), np.array([60.0], np.float32)])
    histogram = Histogram.of(values)
    assert choose_range(histogram, Method.MINMAX) == Range(float(values.min()), 60)
    for method in (Method.PERCENTILE, Method.ENTROPY):
        chosen = choose_range(histogram, method)
        assert chosen.high < 20, method
        assert chosen.low <= -0.25, method


def test_mse_weighs_an_outlier_against_the_rest() -> None:
    """One value in a million at 10 x: the noise of all the others decides; one in ten: the outliers do."""
    bulk = np.abs(np.random.default_rng(0).normal(0, 1, 1_000_000)).astype(np.float32)
    rare = Histogram.of(np.append(bulk, np.float32(40)))
    common = Histogram.of(np.append(bulk, np.full(100_000, 40, np.float32)))
    assert choose_range(rare, Method.MSE).high < 20
    assert choose_range(common, Method.MSE).high == pytest.approx(40, rel=0.02)


def test_mse_is_near_the_best_of_a_direct_search() -> None:
    values = silu()
    histogram = Histogram.of(values)

    def error(high: float) -> float:
        how = affine(Range(histogram.minimum, high), signed=False, symmetric=False)
        steps = np.clip(np.rint(values / how.scale) + how.zero_point, 0, 255)
        return float(np.mean(((steps - how.zero_point) * how.scale - values) ** 2))

    best = min(error(high) for high in np.linspace(3, histogram.maximum, 60))
    assert error(choose_range(histogram, Method.MSE).high) <= 1.1 * best


def test_negative_tensors_are_treated_as_their_mirror_image() -> None:
    values = silu()
    for method in Method:
        plain = choose_range(Histogram.of(values), method)
        mirror = choose_range(Histogram.of(-values), method)
        assert mirror.low == pytest.approx(-plain.high, rel=0.01), method
        assert mirror.high == pytest.approx(-plain.low, rel=0.01), method


def test_percentile_leaves_out_the_share_it_names() -> None:
    values = np.linspace(0, 100, 100_001, dtype=np.float32)
    assert choose_range(Histogram.of(values), Method.PERCENTILE, percentile=98).high == pytest.approx(99, abs=0.1)
    both = choose_range(Histogram.of(values), Method.PERCENTILE, percentile=98, symmetric=True)
    assert both.high == pytest.approx(98, abs=0.1)


def test_table_survives_its_file(tmp_path: Path) -> None:
    table = RangeTable()
    table.add({"a": silu(1_000, 1), "b/c:0": silu(1_000, 2)})
    table.add({"a": silu(1_000, 3), "b/c:0": silu(1_000, 4)})
    table.save(tmp_path / "ranges.npz")
    read = RangeTable.load(tmp_path / "ranges.npz")
    assert read.images == 2
    for name, histogram in table.histograms.items():
        again = read.histograms[name]
        assert (again.counts == histogram.counts).all()
        assert (again.width, again.first, again.minimum, again.maximum) == (
            histogram.width,
            histogram.first,
            histogram.minimum,
            histogram.maximum,
        )
    assert read.joint(["a", "b/c:0"]).counts.sum() == 4_000


def test_nan_in_a_calibration_tensor_is_refused() -> None:
    with pytest.raises(ValueError, match="NaN"):
        Histogram.of(np.array([1.0, np.nan], np.float32))
