"""Makes training batches on the device that holds the pictures: turns, mosaics, warps, negatives, a change of camera.

Nothing here waits for the device: shapes never depend on what was drawn.

Turning and tiling move whole pixels, so thresholded pictures stay thresholded; only the warp interpolates, and most of
what it makes is thresholded again.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor

from gistline.simulator.boards import DEFECTS
from training.data import MOST_BOXES, SIDE, Pictures

TILES = 4
LEAST_VISIBLE = 0.5  # share of a box's area that must be left for its label to stay
PADDING = 114 / 255  # what the product's letterbox fills with
SHARP_AGAIN = 0.7  # share of the warped pictures that are thresholded again
NEGATIVE = {"open": "short", "mousebite": "spur", "copper": "pin-hole"}
"""What a defect becomes when copper and gap change places; each way round."""


@dataclass(frozen=True)
class Strength:
    """Shares of a batch: where its pictures come from (the rest is simulated), and how many undergo each change."""

    real: float = 0.25
    planted: float = 0.5
    mosaic: float = 0.5
    zoom: float = 0.4
    stretch: float = 0.2
    """Of the logarithm of a warped picture's width to its height: most by which either way it is drawn out."""
    tilt: float = 0.2
    """Of the warped pictures, the share that is turned by any angle."""
    negative: float = 0.1
    camera: float = 0.3
    grain: float = 0.25


GENTLE = Strength(
    real=0.3, planted=0.45, mosaic=0.0, zoom=0.2, stretch=0.1, tilt=0.0, negative=0.05, camera=0.2, grain=0.15
)


@dataclass(frozen=True)
class Batch:
    """``images`` [b, 1, 640, 640] in 0..1; ``boxes`` [b, m, 4] corners in pixels; ``classes`` [b, m], -1 unused."""

    images: Tensor
    boxes: Tensor
    classes: Tensor


class Mixer:
    """Holds all pictures on one device and draws batches from them; equal generators give equal batches."""

    def __init__(self, pools: Sequence[Pictures], *, device: str, seed: int) -> None:
        """``pools`` are the real pictures, those with planted defects, and the simulated boards."""
        self.images = torch.cat([torch.from_numpy(pool.images) for pool in pools]).to(device)
        self.boxes = torch.cat([torch.from_numpy(pool.boxes) for pool in pools]).to(device)
        self.classes = torch.cat([torch.from_numpy(pool.classes) for pool in pools]).to(device)
        sizes = [len(pool) for pool in pools]
        self.sizes = torch.tensor(sizes, device=device)
        self.firsts = torch.tensor([sum(sizes[:index]) for index in range(len(sizes))], device=device)
        self.device = device
        self.generator = torch.Generator(device).manual_seed(seed)
        self.span = torch.arange(SIDE, device=device)
        self.choose = choose_place
        pairs = NEGATIVE | {after: before for before, after in NEGATIVE.items()}
        self.opposite = torch.tensor([DEFECTS.index(pairs[name]) for name in DEFECTS], device=device)

    def draw(self, count: int, strength: Strength) -> Batch:
        tiles = self._sources(count, strength)
        seam = (self._uniform(count, 2) * 0.7 + 0.15).mul(SIDE).long()
        seam = torch.where(self._chance(count, strength.mosaic)[:, None], seam, torch.zeros_like(seam))
        images, boxes, classes = self._tile(tiles, seam)
        images, boxes, classes = self._warp(images, boxes, classes, strength)
        images, classes = self._negate(images, classes, strength.negative)
        images = self._camera(images, strength.camera)
        images = self._grain(images, strength.grain)
        return Batch(images.clamp(0, 1), *_compact(boxes, classes))

    def _uniform(self, *shape: int) -> Tensor:
        return torch.rand(shape, generator=self.generator, device=self.device)

    def _chance(self, count: int, share: float) -> Tensor:
        return self._uniform(count) < share

    def _some(self, count: int, share: float) -> Tensor:
        """Numbers of a fixed share of the batch: a share by chance would have to be waited for."""
        return torch.randperm(count, generator=self.generator, device=self.device)[: round(count * share)]

    def _sources(self, count: int, strength: Strength) -> Tensor:
        """Picture numbers [count, 4]; the tiles of one picture all come from one pool."""
        where = self._uniform(count)
        pool = (where >= strength.real).long() + (where >= strength.real + strength.planted).long()
        pick = self._uniform(count, TILES) * self.sizes[pool][:, None]
        return self.firsts[pool][:, None] + pick.long()

    def _tile(self, tiles: Tensor, seam: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """Four pictures around ``seam`` (x, y), each turned and cropped; a seam at 0, 0 shows the last one whole."""
        count, device = len(tiles), self.device
        low = torch.zeros((count, TILES, 2), dtype=torch.long, device=device)
        high = torch.full_like(low, SIDE)
        for tile in range(TILES):
            for axis, after in ((0, tile % 2), (1, tile // 2)):
                if after:
                    low[:, tile, axis] = seam[:, axis]
                else:
                    high[:, tile, axis] = seam[:, axis]
        offset = (self._uniform(count, TILES, 2) * (SIDE - (high - low) + 1)).long()
        turn = (self._uniform(count, TILES, 3) < 0.5).long()
        images = self._gather(tiles, seam, offset - low, turn)
        boxes = _turn(self.boxes[tiles], turn) - (offset - low).repeat(1, 1, 2)[:, :, None].float()
        boxes, kept = _clip(boxes, low[:, :, None].float(), high[:, :, None].float())
        classes = torch.where(kept, self.classes[tiles], -1)
        return images, boxes.flatten(1, 2), classes.flatten(1, 2)

    def _gather(self, tiles: Tensor, seam: Tensor, shift: Tensor, turn: Tensor) -> Tensor:
        """Copy whole pixels. A pixel's place in its picture is a part that depends on x plus one that depends on y."""
        along = self.span + shift[..., None]  # [b, tiles, axis, 640]
        along = torch.where(turn[..., :2, None] > 0, SIDE - 1 - along, along)
        swap = turn[..., 2, None] > 0
        from_x = along[..., 0, :] * torch.where(swap, SIDE, 1)
        from_y = along[..., 1, :] * torch.where(swap, 1, SIDE) + tiles[..., None] * SIDE**2
        right = (self.span >= seam[:, :1])[:, None, :]
        below = (self.span >= seam[:, 1:])[:, :, None]
        place = self.choose(from_x, from_y, right, below)
        return self.images.view(-1)[place][:, None].float() / 255

    def _warp(
        self, images: Tensor, boxes: Tensor, classes: Tensor, strength: Strength
    ) -> tuple[Tensor, Tensor, Tensor]:
        """Zoom, draw out and tilt some pictures.

        A tilted box is the one around the ellipse that filled it: defects are round rather than square.
        """
        rows = self._some(len(images), strength.zoom)
        if len(rows) == 0:
            return images, boxes, classes
        matrix = self._warp_matrix(len(rows), strength)
        at = (self._uniform(len(rows), 2) - 0.5) * (1 - torch.linalg.matrix_norm(matrix, 2)[:, None]) * SIDE + SIDE / 2
        back = torch.linalg.inv(matrix)
        centre = 2 * (SIDE / 2 - at) / SIDE
        theta = torch.cat([back, (back @ centre[..., None])], 2)
        grid = F.affine_grid(theta, [len(rows), 1, SIDE, SIDE], align_corners=False)
        inside = F.grid_sample(torch.ones_like(images[rows]), grid, align_corners=False)
        warped = F.grid_sample(images[rows], grid, align_corners=False)
        sharp = (self._uniform(len(rows), 1, 1, 1) < SHARP_AGAIN) & (inside > 0.99)
        warped = torch.where(sharp, (warped > 0.5).float(), warped + PADDING * (1 - inside))
        moved, kept = _clip(
            _moved(boxes[rows], matrix, at),
            torch.zeros(1, device=self.device),
            torch.full((1,), float(SIDE), device=self.device),
        )
        images, boxes = images.index_copy(0, rows, warped), boxes.index_copy(0, rows, moved)
        return images, boxes, classes.index_copy(0, rows, torch.where(kept, classes[rows], -1))

    def _warp_matrix(self, count: int, strength: Strength) -> Tensor:
        """Source to picture, ``[count, 2, 2]``: a scale of 0.7 to 1.45, drawn out along an axis, some of it turned."""
        scale = 0.7 * (1.45 / 0.7) ** self._uniform(count)
        longer = torch.exp((self._uniform(count) - 0.5) * strength.stretch)
        angle = (self._uniform(count) - 0.5) * torch.pi * self._chance(count, strength.tilt)
        turn = torch.stack([angle.cos(), -angle.sin(), angle.sin(), angle.cos()], 1).view(-1, 2, 2)
        return turn * torch.stack([scale * longer, scale / longer], 1)[:, None]

    def _negate(self, images: Tensor, classes: Tensor, share: float) -> tuple[Tensor, Tensor]:
        """Let copper and gap change places in some pictures: other artwork, and each defect becomes its opposite."""
        rows = self._some(len(images), share)
        if len(rows) == 0:
            return images, classes
        known = classes[rows]
        swapped = torch.where(known < 0, known, self.opposite[known.clamp(min=0)])
        return images.index_copy(0, rows, 1 - images[rows]), classes.index_copy(0, rows, swapped)

    def _camera(self, images: Tensor, share: float) -> Tensor:
        """Show some pictures as a grey camera would: other levels, uneven light, a soft lens."""
        rows = self._some(len(images), share)
        count = len(rows)
        if count == 0:
            return images
        dark = self._uniform(count, 1, 1, 1) * 0.45
        light = dark + 0.2 + self._uniform(count, 1, 1, 1) * (0.8 - dark)
        seen = dark + images[rows] * (light - dark)
        seen = _blur(seen, 0.3 + 1.2 * self._uniform(count))
        angle, fall = self._uniform(count, 1, 1, 1) * 6.2832, self._uniform(count, 1, 1, 1) * 0.4
        ramp = (self.span.float() / SIDE - 0.5)[None, None]
        seen = seen * (1 - fall / 2 + fall * (ramp[..., None, :] * angle.cos() + ramp[..., None] * angle.sin()))
        return images.index_copy(0, rows, seen)

    def _grain(self, images: Tensor, share: float) -> Tensor:
        level = self._uniform(len(images), 1, 1, 1) * 0.035 * self._chance(len(images), share)[:, None, None, None]
        return images + level * torch.randn(images.shape, generator=self.generator, device=self.device)


def choose_place(from_x: Tensor, from_y: Tensor, right: Tensor, below: Tensor) -> Tensor:
    """Place in the store of every pixel ``[b, 640, 640]``, each from the tile that covers it."""
    tile = [from_x[:, index, None, :] + from_y[:, index, :, None] for index in range(TILES)]
    return torch.where(below, torch.where(right, tile[3], tile[2]), torch.where(right, tile[1], tile[0]))


def _turn(boxes: Tensor, turn: Tensor) -> Tensor:
    """Corners ``[b, t, m, 4]`` after an optional transpose, then optional flips; ``turn`` [b, t, 3] as (x, y, swap)."""
    flip_x, flip_y, swap = (turn[..., i, None, None] > 0 for i in range(3))
    boxes = torch.where(swap, boxes[..., [1, 0, 3, 2]], boxes)
    x, y = boxes[..., [0, 2]], boxes[..., [1, 3]]
    x = torch.where(flip_x, SIDE - x.flip(-1), x)
    y = torch.where(flip_y, SIDE - y.flip(-1), y)
    return torch.stack([x[..., 0], y[..., 0], x[..., 1], y[..., 1]], -1)


def _moved(boxes: Tensor, matrix: Tensor, at: Tensor) -> Tensor:
    """Corners ``[b, m, 4]`` after ``matrix`` about the picture's centre, which goes to ``at`` [b, 2] (pixels)."""
    low, high = boxes[..., :2], boxes[..., 2:]
    centre = ((low + high - SIDE) / 2) @ matrix.transpose(1, 2) + at[:, None]
    half = (((high - low) / 2) ** 2 @ (matrix**2).transpose(1, 2)).sqrt()
    return torch.cat([centre - half, centre + half], -1)


def _clip(boxes: Tensor, low: Tensor, high: Tensor) -> tuple[Tensor, Tensor]:
    """Cut boxes to a window; also say which still show at least half of themselves."""
    corners = boxes.unflatten(-1, (2, 2))
    cut = torch.maximum(torch.minimum(corners, high[..., None, :]), low[..., None, :])
    before = (corners[..., 1, :] - corners[..., 0, :]).prod(-1)
    left = (cut[..., 1, :] - cut[..., 0, :]).prod(-1)
    return cut.flatten(-2), left >= LEAST_VISIBLE * before.clamp(min=1.0)


def _blur(images: Tensor, sigma: Tensor) -> Tensor:
    """Gaussian blur with one ``sigma`` a picture, 7 pixels wide."""
    reach = torch.arange(-3, 4, device=images.device).float()
    kernel = torch.exp(-0.5 * (reach / sigma[:, None]) ** 2)
    kernel = kernel / kernel.sum(1, keepdim=True)
    count, flat = len(images), F.pad(images, (3, 3, 3, 3), mode="replicate").transpose(0, 1)
    flat = F.conv2d(flat, kernel[:, None, None, :], groups=count)
    return F.conv2d(flat, kernel[:, None, :, None], groups=count).transpose(0, 1)


def _compact(boxes: Tensor, classes: Tensor) -> tuple[Tensor, Tensor]:
    """Move the used slots to the front and keep as many as one picture has."""
    order = (classes < 0).long().argsort(dim=1, stable=True)[:, :MOST_BOXES]
    return boxes.gather(1, order[..., None].expand(-1, -1, 4)), classes.gather(1, order)
