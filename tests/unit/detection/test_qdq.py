from __future__ import annotations

import numpy as np
import pytest

from gistline.detection.qdq import Form, quantise_weights

WEIGHTS = np.array([[1.0, -0.5], [0.02, 0.005], [0.0, 0.0]], np.float32)


def test_weights_by_hand() -> None:
    quantised, scales = quantise_weights(WEIGHTS, steps=127)
    assert quantised.tolist() == [[127, -64], [127, 32], [0, 0]]
    assert scales[:2] == pytest.approx([1 / 127, 0.02 / 127])
    assert scales[2] > 0


def test_weights_with_one_scale_for_all() -> None:
    """The channel of small weights keeps 3 of its 127 steps: why scales are taken per channel."""
    quantised, scale = quantise_weights(WEIGHTS, form=Form(symmetric=True, weight_steps=127, per_channel=False))
    assert quantised.tolist() == [[127, -64], [3, 1], [0, 0]]
    assert scale.shape == ()
    assert float(scale) == pytest.approx(1 / 127)


def test_half_scales_are_what_the_weights_were_rounded_by() -> None:
    """A scale rounded down would lift the largest weight above the last step; it is held there."""
    random = np.random.default_rng(3)
    weights = random.normal(0, 0.05, (64, 9)).astype(np.float32)
    quantised, scales = quantise_weights(weights, form=Form(symmetric=True, weight_steps=127, half=True))
    assert (scales == scales.astype(np.float16)).all()
    assert np.abs(quantised).max() == 127
    error = np.abs(quantised * scales[:, None] - weights)
    assert (error <= scales[:, None] * 0.5 + 127 * scales[:, None] * 2**-11).all()


def test_half_scales_of_a_dead_channel_are_normal_numbers() -> None:
    _, scales = quantise_weights(np.zeros((2, 3), np.float32), form=Form(symmetric=True, weight_steps=127, half=True))
    assert (scales >= np.finfo(np.float16).smallest_normal).all()
    assert Form(symmetric=True, weight_steps=127, half=True).scale(2.0**-24) == 2.0**-14
    assert Form(symmetric=True, weight_steps=127).scale(2.0**-24) == 2.0**-24
