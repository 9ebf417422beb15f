"""What the filter on the GPU sends back, read on the host. Pure numpy; the kernels are in ``cuda/candidates.cu``."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

import numpy as np
from numpy.typing import NDArray

from gistline.detection.candidates import MOST_CANDIDATES, Candidates, Selected, refuse_not_finite
from gistline.detection.layouts import Layout, LayoutKind
from gistline.detection.preprocess import Geometry
from gistline.errors import EngineUnavailable

CANDIDATE: Final = np.dtype(
    [
        ("x", "<f4"),
        ("y", "<f4"),
        ("w", "<f4"),
        ("h", "<f4"),
        ("score", "<f4"),
        ("label", "<i4"),
        ("index", "<u4"),
        ("image", "<i4"),
    ]
)
"""``struct Candidate`` of candidates.cu, member by member."""
_WORDS: Final = CANDIDATE.itemsize // 4
HEADER_ROWS: Final = 4
"""int32, one number an image: candidates found, predictions with NaN or infinity, unknown classes, one of these."""
KERNELS: Final = {
    LayoutKind.ANCHOR_FREE: "anchor_free",
    LayoutKind.OBJECTNESS: "objectness",
    LayoutKind.END_TO_END: "end_to_end",
}


def least_objectness(min_confidence: float) -> np.float32:
    """Objectness below which candidates.select does not look at the classes."""
    return np.float32(0.99 * min_confidence)


def kept(header: NDArray[np.int32]) -> NDArray[np.int32]:
    """How many candidates of each image were packed: all that were found, up to ``MOST_CANDIDATES``."""
    return np.asarray(np.minimum(header[0], MOST_CANDIDATES), np.int32)


def refuse_nonsense(header: NDArray[np.int32], layout: Layout) -> None:
    """Look at a header ``[HEADER_ROWS, batch]``.

    Raises:
        EngineUnavailable: a prediction held NaN or infinity, or a class that does not exist: nothing was looked at.

    """
    if header[1].any():
        refuse_not_finite()
    if header[2].any():
        wrong = int(header[3][np.flatnonzero(header[2])[0]])
        raise EngineUnavailable(
            f"The detector answered class {wrong}, of {layout.classes} that it names.",
            cure="Take a model file whose output matches its class names.",
        )


def unpack(
    header: NDArray[np.int32], packed: NDArray[np.void], geometries: Sequence[Geometry], layout: Layout
) -> list[Candidates]:
    """Candidates of each image of a batch, strongest first.

    Args:
        header: int32 ``[HEADER_ROWS, batch]``.
        packed: :data:`CANDIDATE`, those of the first image, then of the second and so on, in any order within each.
        geometries: how each image lay in the input.
        layout: how the prediction was read.

    Raises:
        EngineUnavailable: the prediction was nonsense.

    """
    refuse_nonsense(header, layout)
    ends = np.cumsum(kept(header)).tolist()
    found = []
    for begin, end, geometry in zip([0, *ends], ends, geometries, strict=False):
        found.append(Candidates(*in_order(packed[begin:end]), geometry))
    return found


def in_order(packed: NDArray[np.void]) -> Selected:
    """Boxes, scores and classes of one image: strongest first, of equal ones the first in the prediction."""
    order = np.lexsort((packed["index"], -packed["score"]))
    # Whole records are moved at once: a structured array would be gathered member by member.
    words = packed.view(np.float32).reshape(-1, _WORDS)[order]
    boxes, labels = np.ascontiguousarray(words[:, :4]), np.ascontiguousarray(words.view(np.int32)[:, 5])
    return boxes, np.ascontiguousarray(words[:, 4]), labels
