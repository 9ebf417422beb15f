"""A small anchor-free detector of the YOLOv8 family, written from the papers' descriptions.

Backbone of cross-stage blocks with a pooling pyramid on top (CSPNet, arXiv 1911.11929; SPP, 1406.4729), a two-way
feature pyramid (PANet, 1803.01534), a decoupled head without anchors (YOLOX, 2107.08430) whose box sides are
distributions over distances (Generalised Focal Loss, 2006.04388).
"""

from __future__ import annotations

import itertools
from dataclasses import dataclass

import torch
from torch import Tensor, nn
from torch.nn.utils.fusion import fuse_conv_bn_eval

from training.data import CORNER

FIRST_STRIDE = 8


@dataclass(frozen=True)
class ModelConfig:
    """Shape of a detector.

    widths      channels at stride 2, 4, 8, 16 and, where a fifth is given, 32
    depths      bottlenecks in the block at stride 4, 8, 16 (and 32)
    head_levels how many strides, from 8 on, have a head
    head_width  channels within each branch of the head
    head_depth  3x3 convolutions in each branch before its last, 1x1 one
    reg_max     number of bins per box side; a side reaches at most ``(reg_max - 1) * stride`` pixels
    activation  "relu", "silu" or "relu6"
    """

    widths: tuple[int, ...] = (16, 32, 64, 128)
    depths: tuple[int, ...] = (1, 2, 2)
    head_levels: int = 2
    head_width: int = 64
    head_depth: int = 2
    reg_max: int = 16
    activation: str = "relu"
    classes: int = 6

    @property
    def strides(self) -> tuple[int, ...]:
        return tuple(FIRST_STRIDE << level for level in range(self.head_levels))


CONFIGS: dict[str, ModelConfig] = {
    "n-silu": ModelConfig((16, 32, 64, 128, 256), (1, 2, 2, 1), head_levels=3, activation="silu"),
    "n-relu": ModelConfig((16, 32, 64, 128, 256), (1, 2, 2, 1), head_levels=3),
    "p34-h64": ModelConfig(),
    "p34-h64-silu": ModelConfig(activation="silu"),
    "p34-h32": ModelConfig(head_width=32),
    "p34-h64-short": ModelConfig(head_depth=1),
    "p34-narrow": ModelConfig((16, 24, 48, 96), head_width=48),
    "p3-h64": ModelConfig(head_levels=1),
    "p3-h32": ModelConfig(head_levels=1, head_width=32),
    "p3-deep-h32": ModelConfig((16, 32, 64, 128, 192), (1, 2, 2, 1), head_levels=1, head_width=32),
    "p3-wide-h48": ModelConfig((24, 48, 96, 160, 224), (1, 2, 2, 1), head_levels=1, head_width=48),
    "p3-wide-h64": ModelConfig((24, 48, 96, 192, 256), (1, 2, 3, 2), head_levels=1, head_width=64),
    "p3-long-h64": ModelConfig((24, 48, 96, 192, 256), (1, 2, 5, 4), head_levels=1, head_width=64),
    "p3-tall-h48": ModelConfig((16, 32, 96, 192, 256), (1, 3, 4, 2), head_levels=1, head_width=48),
    "p3-slim-h32": ModelConfig((16, 24, 48, 96), (1, 1, 2), head_levels=1, head_width=32),
}


def _activation(name: str) -> nn.Module:
    kinds = {"relu": nn.ReLU, "silu": nn.SiLU, "relu6": nn.ReLU6}
    if name not in kinds:
        raise ValueError(f"activation {name!r} is none of {sorted(kinds)}")
    return kinds[name](inplace=True)


class ConvBlock(nn.Module):
    """Convolution, BatchNorm, activation."""

    def __init__(self, cin: int, cout: int, kernel: int = 1, stride: int = 1, *, act: str) -> None:
        super().__init__()
        self.conv = nn.Conv2d(cin, cout, kernel, stride, kernel // 2, bias=False)
        self.norm: nn.Module = nn.BatchNorm2d(cout, eps=1e-3, momentum=0.03)
        self.act = _activation(act)

    def forward(self, x: Tensor) -> Tensor:
        return self.act(self.norm(self.conv(x)))

    def fold(self) -> None:
        """Fold the BatchNorm's running statistics into the convolution, for good."""
        if isinstance(self.norm, nn.BatchNorm2d):
            self.conv = fuse_conv_bn_eval(self.conv, self.norm)
            self.norm = nn.Identity()


class Bottleneck(nn.Module):
    """Two 3x3 convolutions, with an identity branch where ``shortcut`` is set."""

    def __init__(self, width: int, *, shortcut: bool, act: str) -> None:
        super().__init__()
        self.first = ConvBlock(width, width, 3, act=act)
        self.second = ConvBlock(width, width, 3, act=act)
        self.shortcut = shortcut

    def forward(self, x: Tensor) -> Tensor:
        y = self.second(self.first(x))
        return x + y if self.shortcut else y


class CrossStage(nn.Module):
    """Half of the channels pass through a chain of bottlenecks; every intermediate result is kept and merged."""

    def __init__(self, cin: int, cout: int, depth: int, *, shortcut: bool, act: str) -> None:
        super().__init__()
        half = cout // 2
        self.enter = ConvBlock(cin, 2 * half, act=act)
        self.chain = nn.ModuleList(Bottleneck(half, shortcut=shortcut, act=act) for _ in range(depth))
        self.merge = ConvBlock((2 + depth) * half, cout, act=act)
        self.half = half

    def forward(self, x: Tensor) -> Tensor:
        parts = list(self.enter(x).split(self.half, 1))  # split, since chunk exports as arithmetic on shapes
        for bottleneck in self.chain:
            parts.append(bottleneck(parts[-1]))
        return self.merge(torch.cat(parts, 1))


class PoolPyramid(nn.Module):
    """Three 5x5 max-pools in a row, all merged: a wide receptive field at little cost."""

    def __init__(self, width: int, *, act: str) -> None:
        super().__init__()
        self.enter = ConvBlock(width, width // 2, act=act)
        self.pool = nn.MaxPool2d(5, 1, 2)
        self.merge = ConvBlock(2 * width, width, act=act)

    def forward(self, x: Tensor) -> Tensor:
        parts = [self.enter(x)]
        for _ in range(3):
            parts.append(self.pool(parts[-1]))
        return self.merge(torch.cat(parts, 1))


class Backbone(nn.Module):
    """Image to features at stride 8 and coarser."""

    def __init__(self, config: ModelConfig) -> None:
        super().__init__()
        act = config.activation
        self.stem = ConvBlock(3, config.widths[0], 3, 2, act=act)
        self.downs, self.blocks = nn.ModuleList(), nn.ModuleList()
        for cin, cout, depth in zip(config.widths, config.widths[1:], config.depths, strict=False):
            self.downs.append(ConvBlock(cin, cout, 3, 2, act=act))
            self.blocks.append(CrossStage(cout, cout, depth, shortcut=True, act=act))
        self.pyramid = PoolPyramid(config.widths[-1], act=act)

    def forward(self, x: Tensor) -> list[Tensor]:
        x = self.stem(x)
        levels = []
        for down, block in zip(self.downs, self.blocks, strict=True):
            x = block(down(x))
            levels.append(x)
        levels[-1] = self.pyramid(levels[-1])
        return levels[1:]


class Neck(nn.Module):
    """Coarse features down to stride 8, then back up as far as there are heads."""

    def __init__(self, config: ModelConfig) -> None:
        super().__init__()
        act, widths = config.activation, config.widths[2:]
        self.up = nn.Upsample(scale_factor=2.0, mode="nearest")
        self.top_down = nn.ModuleList(
            CrossStage(fine + coarse, fine, 1, shortcut=False, act=act)
            for fine, coarse in reversed(list(itertools.pairwise(widths)))
        )
        steps = list(itertools.pairwise(widths))[: config.head_levels - 1]
        self.downs = nn.ModuleList(ConvBlock(fine, fine, 3, 2, act=act) for fine, _ in steps)
        self.bottom_up = nn.ModuleList(
            CrossStage(fine + coarse, coarse, 1, shortcut=False, act=act) for fine, coarse in steps
        )

    def forward(self, levels: list[Tensor]) -> list[Tensor]:
        merged = list(levels)
        for index, block in enumerate(self.top_down):
            at = len(levels) - 2 - index
            merged[at] = block(torch.cat([self.up(merged[at + 1]), levels[at]], 1))
        out = [merged[0]]
        for index, (down, block) in enumerate(zip(self.downs, self.bottom_up, strict=True)):
            out.append(block(torch.cat([down(out[-1]), merged[index + 1]], 1)))
        return out


def _branch(cin: int, config: ModelConfig, cout: int) -> nn.Sequential:
    layers: list[nn.Module] = []
    for _ in range(config.head_depth):
        layers.append(ConvBlock(cin, config.head_width, 3, act=config.activation))
        cin = config.head_width
    return nn.Sequential(*layers, nn.Conv2d(cin, cout, 1))


class Head(nn.Module):
    """Separate branches for the box and the class at each stride."""

    def __init__(self, config: ModelConfig) -> None:
        super().__init__()
        widths = config.widths[2 : 2 + config.head_levels]
        self.box = nn.ModuleList(_branch(width, config, 4 * config.reg_max) for width in widths)
        self.score = nn.ModuleList(_branch(width, config, config.classes) for width in widths)
        for branch, stride in zip(self.score, config.strides, strict=True):
            # start from the share of anchors that hold an object, or the first steps go into unlearning 0.5
            prior = 5 / config.classes / (640 / stride) ** 2
            nn.init.constant_(branch[-1].bias, torch.logit(torch.tensor(prior)).item())
        for branch in self.box:
            nn.init.constant_(branch[-1].bias, 1.0)

    def forward(self, levels: list[Tensor]) -> tuple[Tensor, Tensor]:
        """Return distances ``[n, 4 * reg_max, anchors]`` and class logits ``[n, classes, anchors]``."""
        sides = [branch(x).flatten(2) for branch, x in zip(self.box, levels, strict=True)]
        scores = [branch(x).flatten(2) for branch, x in zip(self.score, levels, strict=True)]
        return torch.cat(sides, 2), torch.cat(scores, 2)


class Detector(nn.Module):
    """Images ``[n, 3, h, w]`` in 0..1 to raw head outputs (training) or to ``[n, 4 + classes, anchors]``."""

    def __init__(self, config: ModelConfig) -> None:
        super().__init__()
        self.config = config
        self.backbone, self.neck, self.head = Backbone(config), Neck(config), Head(config)

    def forward(self, images: Tensor) -> tuple[Tensor, Tensor]:
        return self.head(self.neck(self.backbone(images)))

    def fold(self) -> Detector:
        """Fold every BatchNorm into its convolution; the model must be in eval mode."""
        for module in self.modules():
            if isinstance(module, ConvBlock):
                module.fold()
        return self


def anchor_points(config: ModelConfig, size: tuple[int, int]) -> tuple[Tensor, Tensor]:
    """Centres ``[anchors, 2]`` in pixels and stride ``[anchors, 1]`` of every cell, fine strides first."""
    points, strides = [], []
    for stride in config.strides:
        ys = (torch.arange(size[0] // stride) + 0.5) * stride
        xs = (torch.arange(size[1] // stride) + 0.5) * stride
        grid = torch.stack(torch.meshgrid(ys, xs, indexing="ij")[::-1], -1).reshape(-1, 2)
        points.append(grid)
        strides.append(torch.full((len(grid), 1), float(stride)))
    return torch.cat(points), torch.cat(strides)


def expected_sides(distances: Tensor, reg_max: int) -> Tensor:
    """Mean of each side's distribution: ``[n, 4 * reg_max, anchors]`` logits to ``[n, 4, anchors]`` strides."""
    shares = distances.view(-1, 4, reg_max, distances.shape[2]).softmax(2)
    bins = torch.arange(reg_max, device=distances.device, dtype=shares.dtype).view(1, 1, reg_max, 1)
    return (shares * bins).sum(2)


class ExportedDetector(nn.Module):
    """What the ONNX file computes: centre, width and height in input pixels, then scores after the sigmoid.

    Boxes come out as DeepPCB's labels have them, ``CORNER`` left of and above where turns and flips teach them to lie.
    """

    def __init__(self, detector: Detector, size: tuple[int, int]) -> None:
        super().__init__()
        self.detector = detector
        points, strides = anchor_points(detector.config, size)
        self.points, self.strides = nn.Buffer(points.T[None] - CORNER), nn.Buffer(strides.T[None].contiguous())

    def forward(self, images: Tensor) -> Tensor:
        distances, logits = self.detector(images)
        sides = expected_sides(distances, self.detector.config.reg_max) * self.strides
        before, after = sides.split(2, 1)
        centre = self.points + (after - before) / 2
        return torch.cat([centre, before + after, logits.sigmoid()], 1)
