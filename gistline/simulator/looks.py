"""How a copper mask comes to look in a picture: as a thresholded scan, or through a grey camera with back light.

Copper is darker than the bare board in both, as in DeepPCB.
"""

from __future__ import annotations

from dataclasses import dataclass

import cv2
import numpy as np
from numpy.typing import NDArray


@dataclass(frozen=True, slots=True)
class BoardStyle:
    """Appearance of a board in the picture.

    binary       thresholded scan (two grey levels, ragged edges); the grey fields below are then unused
    roughness    edge jitter of the copper, in units of the mask's blurred edge, 0 (smooth) to 0.4
    copper, bare grey level, 0 to 255, of copper and of bare board under full light
    gradient     light lost from the brightest to the darkest place, as a share of 1, 0 to 0.6
    direction    where the light falls off to, in radians
    blur         standard deviation of the lens blur in pixels, 0 to 1.8
    noise        standard deviation of the sensor noise in grey levels
    mottling     standard deviation of the uneven surface in grey levels
    """

    binary: bool = True
    roughness: float = 0.2
    copper: float = 60.0
    bare: float = 190.0
    gradient: float = 0.0
    direction: float = 0.0
    blur: float = 0.0
    noise: float = 0.0
    mottling: float = 0.0


def draw_style(rng: np.random.Generator) -> BoardStyle:
    """Choose an appearance: a thresholded scan in two cases of five, else a grey camera of its own kind."""
    roughness = float(rng.uniform(0.05, 0.35))
    if rng.random() < 0.4:
        return BoardStyle(binary=True, roughness=roughness)
    copper = float(rng.uniform(15, 130))
    return BoardStyle(
        binary=False,
        roughness=roughness,
        copper=copper,
        bare=min(250.0, copper + float(rng.uniform(50, 190))),
        gradient=float(rng.uniform(0.0, 0.5)),
        direction=float(rng.uniform(0.0, 2 * np.pi)),
        blur=float(rng.uniform(0.3, 1.6)),
        noise=float(rng.uniform(1.0, 9.0)),
        mottling=float(rng.uniform(0.0, 6.0)),
    )


def photograph(rng: np.random.Generator, mask: NDArray[np.uint8], style: BoardStyle) -> NDArray[np.uint8]:
    """Turn a copper mask (``uint8`` ``[h, w]``, 0 or 255) into a grey picture of the same shape.

    All randomness is independent of the mask's content, and no filter reaches further than six pixels, so two masks
    that differ in one place give pictures that differ in that place alone.
    """
    soft = _ragged(rng, mask, style.roughness)
    if style.binary:
        return np.where(soft, np.uint8(0), np.uint8(255))
    share = soft.astype(np.float32)
    if style.blur > 0:
        share = cv2.GaussianBlur(share, (11, 11), style.blur).astype(np.float32)
    picture = style.bare + (style.copper - style.bare) * share
    picture *= _light(mask.shape, style)
    picture += _surface(rng, mask.shape, style.mottling)
    picture += rng.standard_normal(mask.shape, np.float32) * np.float32(style.noise)
    return np.asarray(np.clip(np.rint(picture), 0, 255), np.uint8)


def _ragged(rng: np.random.Generator, mask: NDArray[np.uint8], roughness: float) -> NDArray[np.bool_]:
    """Copper with edges that waver by a pixel, as etching and thresholding leave them."""
    edge = cv2.GaussianBlur(mask, (5, 5), 1.2).astype(np.float32) / np.float32(255)
    edge += rng.standard_normal(mask.shape, np.float32) * np.float32(roughness)
    noisy = np.where((edge < 0.02) | (edge > 0.98), mask > 127, edge > 0.5)
    # within half a pixel of a flat place noise must not make islands that would be defects without a label
    steady = cv2.medianBlur(noisy.astype(np.uint8), 3) > 0
    return np.where(cv2.blur(mask, (5, 5)) % 255 == 0, mask > 127, steady)


def _light(shape: tuple[int, ...], style: BoardStyle) -> NDArray[np.float32]:
    """Share of full light at each pixel, ``float32`` ``[h, w]``."""
    across = np.linspace(-0.5, 0.5, shape[1], dtype=np.float32) * np.float32(np.cos(style.direction))
    down = np.linspace(-0.5, 0.5, shape[0], dtype=np.float32)[:, None] * np.float32(np.sin(style.direction))
    return np.float32(1 - style.gradient / 2) + (across + down) * np.float32(style.gradient * 0.7)


def _surface(rng: np.random.Generator, shape: tuple[int, ...], mottling: float) -> NDArray[np.float32]:
    """Slow unevenness in grey levels, ``float32`` ``[h, w]``."""
    coarse = rng.standard_normal((shape[0] // 40 + 2, shape[1] // 40 + 2), np.float32) * np.float32(mottling)
    return cv2.resize(coarse, (shape[1], shape[0]), interpolation=cv2.INTER_CUBIC).astype(np.float32, copy=False)
