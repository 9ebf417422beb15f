"""Task-aligned assignment (TOOD, arXiv 2108.07755) and the three losses: classes, overlap (CIoU, 1911.08287), sides."""

from __future__ import annotations

import math
from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor

from training.model import ModelConfig, anchor_points, expected_sides

CANDIDATES = 10  # anchors that each object may take
SCORE_POWER, OVERLAP_POWER = 0.5, 6.0
BOX_GAIN, CLASS_GAIN, SIDE_GAIN = 7.5, 0.5, 1.5
_TINY = 1e-7


def overlap(a: Tensor, b: Tensor, *, complete: bool = False) -> Tensor:
    """IoU of corner boxes ``[..., 4]``; ``complete`` takes off the penalties for distance and aspect (CIoU)."""
    lower, upper = torch.maximum(a[..., :2], b[..., :2]), torch.minimum(a[..., 2:], b[..., 2:])
    common = (upper - lower).clamp(min=0).prod(-1)
    size_a, size_b = (a[..., 2:] - a[..., :2]).clamp(min=_TINY), (b[..., 2:] - b[..., :2]).clamp(min=_TINY)
    iou = common / (size_a.prod(-1) + size_b.prod(-1) - common + _TINY)
    if not complete:
        return iou
    hull = torch.maximum(a[..., 2:], b[..., 2:]) - torch.minimum(a[..., :2], b[..., :2])
    apart = ((a[..., :2] + a[..., 2:] - b[..., :2] - b[..., 2:]) ** 2).sum(-1) / 4
    slant = torch.atan(size_a[..., 0] / size_a[..., 1]) - torch.atan(size_b[..., 0] / size_b[..., 1])
    aspect = slant**2 * (4 / math.pi**2)
    with torch.no_grad():
        weight = aspect / (1 - iou + aspect + _TINY)
    return iou - apart / ((hull**2).sum(-1) + _TINY) - weight * aspect


@dataclass(frozen=True)
class Assignment:
    """Per anchor: whether it stands for an object, that object's box, and the score wanted for each class."""

    taken: Tensor
    boxes: Tensor
    scores: Tensor


@torch.no_grad()
def assign(scores: Tensor, boxes: Tensor, points: Tensor, truth: Tensor, classes: Tensor) -> Assignment:
    """Give each object the anchors whose score and overlap together fit it best.

    ``scores`` [b, a, c] after sigmoid, ``boxes`` [b, a, 4] and ``truth`` [b, m, 4] corners in pixels, ``points``
    [a, 2] in pixels, ``classes`` [b, m] with -1 for unused slots.
    """
    real = (classes >= 0)[..., None]
    before, after = points - truth[:, :, None, :2], truth[:, :, None, 2:] - points
    inside = (torch.minimum(before, after).amin(-1) > 1e-6) & real
    iou = overlap(truth[:, :, None], boxes[:, None], complete=True).clamp(min=0) * inside
    wanted = scores.transpose(1, 2).gather(1, classes.clamp(min=0)[..., None].expand(-1, -1, scores.shape[1]))
    fit = wanted**SCORE_POWER * iou**OVERLAP_POWER * inside
    best = fit.topk(CANDIDATES, -1).indices
    chosen = torch.zeros_like(inside).scatter_(2, best, True) & inside
    # an anchor that several objects want goes to the one that it overlaps most
    owner = (iou * chosen).argmax(1)
    slots = torch.arange(iou.shape[1], device=iou.device)[None, :, None]
    chosen = chosen & (slots == owner[:, None])
    taken = chosen.any(1)
    fit = fit * chosen
    peak_fit, peak_iou = fit.amax(-1, keepdim=True), (iou * chosen).amax(-1, keepdim=True)
    strength = (fit * peak_iou / (peak_fit + 1e-9)).amax(1)
    own_class = classes.clamp(min=0).gather(1, owner)
    kinds = torch.arange(scores.shape[2], device=scores.device)
    target = (own_class[..., None] == kinds) * (strength * taken)[..., None]
    return Assignment(taken, truth.gather(1, owner[..., None].expand(-1, -1, 4)), target)


class DetectionLoss:
    """Sum of the three losses for raw head outputs; see ``Detector.forward``."""

    def __init__(self, config: ModelConfig, size: tuple[int, int], device: str, *, guided: float = 0.0) -> None:
        """``guided`` is the share of what is learnt towards that a guide's answer has, where one is given."""
        self.config, self.guided = config, guided
        points, strides = anchor_points(config, size)
        self.points, self.strides = points.to(device), strides.to(device)

    def __call__(
        self,
        distances: Tensor,
        logits: Tensor,
        truth: Tensor,
        classes: Tensor,
        *,
        guide: tuple[Tensor, Tensor] | None = None,
    ) -> tuple[Tensor, Tensor]:
        """Return the loss to minimise and its parts ``[3]`` (box, class, sides), detached.

        ``guide`` holds distances and logits of another detector for the same pictures.
        """
        distances, logits = distances.float(), logits.float().transpose(1, 2)
        sides = expected_sides(distances, self.config.reg_max).transpose(1, 2) * self.strides
        boxes = torch.cat([self.points - sides[..., :2], self.points + sides[..., 2:]], -1)
        found = assign(logits.detach().sigmoid(), boxes.detach(), self.points, truth, classes)
        total = found.scores.sum().clamp(min=1.0)
        wanted = found.scores
        if guide is not None:
            wanted = wanted.lerp(guide[1].float().transpose(1, 2).sigmoid(), self.guided)
        score_loss = F.binary_cross_entropy_with_logits(logits, wanted, reduction="sum") / total
        # anchors without an object weigh nothing; with them in, shapes are fixed and nothing waits for the device
        weight = found.scores.sum(-1)
        box_loss = ((1 - overlap(boxes, found.boxes, complete=True)) * weight).sum() / total
        per_anchor = self._side_loss(distances, found)
        if guide is not None:
            per_anchor = per_anchor.lerp(self._guided_side_loss(distances, guide[0].float()), self.guided)
        side_loss = (per_anchor * weight).sum() / total
        parts = torch.stack([BOX_GAIN * box_loss, CLASS_GAIN * score_loss, SIDE_GAIN * side_loss])
        return parts.sum(), parts.detach()

    def _side_loss(self, distances: Tensor, found: Assignment) -> Tensor:
        """Cross entropy to the two bins next to the true distance, weighted by nearness: one value an anchor."""
        bins = self.config.reg_max
        wanted = torch.cat([self.points - found.boxes[..., :2], found.boxes[..., 2:] - self.points], -1) / self.strides
        wanted = wanted.clamp(0, bins - 1.01).transpose(1, 2)
        lower = wanted.long()
        upper_share = wanted - lower
        shares = distances.view(len(distances), 4, bins, -1).log_softmax(2)
        low = shares.gather(2, lower[:, :, None])[:, :, 0]
        high = shares.gather(2, lower[:, :, None] + 1)[:, :, 0]
        return -(low * (1 - upper_share) + high * upper_share).mean(1)

    def _guided_side_loss(self, distances: Tensor, guide: Tensor) -> Tensor:
        """Cross entropy to the guide's distribution of each side: one value an anchor."""
        shape = (len(distances), 4, self.config.reg_max, -1)
        return -(guide.view(shape).softmax(2) * distances.view(shape).log_softmax(2)).sum(2).mean(1)
