"""A second opinion on each training picture: what the averaged weights answer for it, turned or flipped at random.

Answers for the eight views of a picture differ where the artwork is new, and their mean is better than any of them. A
detector that learns towards one view a step, another each time, learns towards that mean (mean teacher, arXiv
1703.01780), and costs nothing more where it runs.
"""

from __future__ import annotations

import itertools
from typing import NamedTuple

from torch import Tensor


class View(NamedTuple):
    """A transpose of the picture where ``swap``, then flips."""

    flip_x: bool
    flip_y: bool
    swap: bool


VIEWS = tuple(View(*flags) for flags in itertools.product((False, True), repeat=3))


def seen(images: Tensor, view: View) -> Tensor:
    """Square images ``[n, c, s, s]`` from that view."""
    images = images.transpose(2, 3) if view.swap else images
    flips = [axis for axis, flip in ((3, view.flip_x), (2, view.flip_y)) if flip]
    return images.flip(flips) if flips else images


def unseen(distances: Tensor, logits: Tensor, view: View) -> tuple[Tensor, Tensor]:
    """What a detector with one head answered for a view, as it stands for the picture itself.

    ``distances`` ``[n, 4 * bins, anchors]`` (left, above, right, below) and ``logits`` ``[n, classes, anchors]``.
    """
    side = round(distances.shape[2] ** 0.5)
    sides = distances.unflatten(2, (side, side)).unflatten(1, (4, -1))
    scores = logits.unflatten(2, (side, side))
    order = [0, 1, 2, 3]
    if view.flip_x:
        sides, scores, order = sides.flip(-1), scores.flip(-1), [2, order[1], 0, order[3]]
    if view.flip_y:
        sides, scores, order = sides.flip(-2), scores.flip(-2), [order[0], 3, order[2], 1]
    if view.swap:
        sides, scores = sides.transpose(-1, -2), scores.transpose(-1, -2)
        order = [order[1], order[0], order[3], order[2]]
    return sides[:, order].flatten(1, 2).flatten(2), scores.flatten(2)
