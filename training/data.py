"""Pictures and boxes for training: DeepPCB's published set and boards of our own simulator, as plain arrays."""

from __future__ import annotations

import argparse
import json
from collections.abc import Callable, Collection, Mapping, Sequence
from concurrent.futures import ProcessPoolExecutor, ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path

import cv2
import numpy as np
from numpy.typing import NDArray

from gistline.domain import Box
from gistline.simulator.artwork import draw_artwork
from gistline.simulator.boards import DEFECTS, encode_jpeg, render_board
from gistline.simulator.looks import draw_style, photograph
from gistline.simulator.planting import Terrain, plant
from training.distractors import distract
from training.strokes import Lifted, Stroke, by_class, lift_all, plant_stroke

Truth = tuple[int, tuple[float, float, float, float]]
"""Class and box as (x, y, w, h) in pixels."""

SIDE = 640
MOST_BOXES = 24
HELD_OUT_BOARDS = ("44000", "50600", "92000")
"""Boards of ``trainval`` that no training shows while a recipe is being chosen: 211 of its 1,000 pictures."""
CORNER = 0.5
"""DeepPCB's boxes name the pixels that hold their corners; in picture coordinates those lie half a pixel further on."""
LIFTED = 0.6  # share of the labelled defects that a copy of a picture is rid of, of those that can be lifted
ETCHED = 0.3  # share of the copies whose copper is made wider or narrower
FLAWLESS = 0.35  # share of simulated boards without a defect
PLANTED_SEED = 6_000_000
TRAIN_BOARDS_SEED = 1_000_000
DRAW = 100_000  # seeds from one draw of pictures to the next
TEST_BOARDS_SEED = 9_000_000


@dataclass(frozen=True)
class Pictures:
    """``images`` uint8 [n, 640, 640]; ``boxes`` float32 [n, 24, 4] as corners; ``classes`` int64 [n, 24], -1 unused."""

    images: NDArray[np.uint8]
    boxes: NDArray[np.float32]
    classes: NDArray[np.int64]

    def __len__(self) -> int:
        return len(self.images)

    def take(self, rows: NDArray[np.intp]) -> Pictures:
        return Pictures(self.images[rows], self.boxes[rows], self.classes[rows])

    def truth(self) -> list[list[Truth]]:
        """Per picture, (class, (x, y, w, h)) of every box."""
        answer = []
        for boxes, classes in zip(self.boxes, self.classes, strict=True):
            rows = [(int(c), b) for c, b in zip(classes, boxes, strict=True) if c >= 0]
            answer.append([(c, (float(b[0]), float(b[1]), float(b[2] - b[0]), float(b[3] - b[1]))) for c, b in rows])
        return answer

    def moved(self, by: float) -> Pictures:
        """The same pictures, their boxes moved ``by`` pixels right and down."""
        return Pictures(self.images, self.boxes + np.float32(by) * (self.classes >= 0)[..., None], self.classes)

    def save(self, folder: Path) -> None:
        folder.mkdir(parents=True, exist_ok=True)
        for name in ("images", "boxes", "classes"):
            np.save(folder / f"{name}.npy", getattr(self, name))

    @classmethod
    def load(cls, folder: Path) -> Pictures:
        return cls(*(np.load(folder / f"{name}.npy") for name in ("images", "boxes", "classes")))


def _pack(images: list[NDArray[np.uint8]], labels: list[list[tuple[int, list[float]]]]) -> Pictures:
    boxes = np.zeros((len(images), MOST_BOXES, 4), np.float32)
    classes = np.full((len(images), MOST_BOXES), -1, np.int64)
    for row, found in enumerate(labels):
        for column, (label, (x, y, w, h)) in enumerate(found):
            boxes[row, column] = (x, y, x + w, y + h)
            classes[row, column] = label
    return Pictures(np.stack(images), boxes, classes)


def read_deeppcb(folder: Path, split: str, *, keep: Callable[[str], bool] = bool) -> Pictures:
    """Read ``trainval`` or ``test_public`` of the repackaged DeepPCB in ``folder`` (COCO JSON and ``images/``).

    ``keep`` is asked for each board's number, the first five digits of a file name.
    """
    coco = json.loads((folder / f"{split}.json").read_text())
    number = {kind["id"]: DEFECTS.index(kind["name"]) for kind in coco["categories"]}
    labels: dict[int, list[tuple[int, list[float]]]] = {image["id"]: [] for image in coco["images"]}
    for note in coco["annotations"]:
        labels[note["image_id"]].append((number[note["category_id"]], note["bbox"]))
    chosen = [image for image in coco["images"] if keep(image["file_name"][:5])]
    paths = [folder / "images" / image["file_name"] for image in chosen]
    with ThreadPoolExecutor() as pool:
        images = list(pool.map(_read_grey, paths))
    return _pack(images, [labels[image["id"]] for image in chosen])


def board_numbers(folder: Path, split: str) -> set[str]:
    """Which boards a split shows."""
    coco = json.loads((folder / f"{split}.json").read_text())
    return {image["file_name"][:5] for image in coco["images"]}


def _read_grey(path: Path) -> NDArray[np.uint8]:
    image = cv2.imread(str(path), cv2.IMREAD_GRAYSCALE)
    if image is None:
        raise FileNotFoundError(f"{path} is missing or no image")
    return np.asarray(image, np.uint8)


def hold_out(folder: Path, boards: Collection[str] = HELD_OUT_BOARDS) -> tuple[Pictures, Pictures]:
    """``trainval`` parted into (training, held out) by whole boards, for choosing among recipes.

    Pictures are cut from a few large boards: some held out by chance would show boards trained on, and flatter.
    Without ``boards`` everything is trained on and the second part is ``HELD_OUT_BOARDS`` still, seen in training.
    """
    rest = read_deeppcb(folder, "trainval", keep=lambda board: board not in boards)
    return rest, read_deeppcb(folder, "trainval", keep=lambda board: board in (boards or HELD_OUT_BOARDS))


_Labelled = tuple[NDArray[np.uint8], list[tuple[int, list[float]]]]
Strokes = Mapping[str, Sequence[Stroke]]
"""Defects lifted off real pictures, by class."""

_strokes: dict[str, Sequence[Stroke]] = {}
"""What this process plants; set before the pool of processes starts."""


def _share(strokes: Strokes) -> None:
    _strokes.clear()
    _strokes.update(strokes)


def _labels(found: Sequence[tuple[str, Box]]) -> list[tuple[int, list[float]]]:
    return [(DEFECTS.index(label), [box.x, box.y, box.w, box.h]) for label, box in found]


def _board(seed: int) -> _Labelled:
    board = render_board(np.random.default_rng(seed))
    return _through_jpeg(board.image, seed), _labels(board.defects)


def _board_with_strokes(seed: int) -> _Labelled:
    """A simulated board, further artwork, and real strokes on it: the simulator's own defects are one hand's only."""
    rng = np.random.default_rng([seed, 2])
    mask = draw_artwork(rng, (SIDE, SIDE))
    distract(rng, mask, [], most=6)
    found: list[tuple[str, Box]] = []
    if rng.random() > FLAWLESS:
        _plant_strokes(rng, mask, found, int(rng.integers(2, 13)))
    return _through_jpeg(photograph(rng, mask, draw_style(rng)), seed), _labels(found)


def _through_jpeg(image: NDArray[np.uint8], seed: int) -> NDArray[np.uint8]:
    """As a camera would send it. Drawn defects without a JPEG's traces would give themselves away."""
    quality = int(np.random.default_rng([seed, 1]).integers(80, 99))
    data = np.frombuffer(encode_jpeg(image, quality=quality), np.uint8)
    return np.asarray(cv2.imdecode(data, cv2.IMREAD_GRAYSCALE), np.uint8)


def render_boards(count: int, first_seed: int, strokes: Strokes | None = None) -> Pictures:
    """``count`` simulated boards, one seed each from ``first_seed`` on, rendered on all cores.

    With ``strokes`` every second one carries real strokes instead of the simulator's defects.
    """
    with ProcessPoolExecutor(initializer=_share, initargs=(strokes or {},)) as pool:
        seeds = range(first_seed, first_seed + count)
        done = list(pool.map(_board_of_either_kind if strokes else _board, seeds, chunksize=16))
    return _pack([image for image, _ in done], [labels for _, labels in done])


def _board_of_either_kind(seed: int) -> _Labelled:
    return _board_with_strokes(seed) if seed % 2 else _board(seed)


def lift_defects(pictures: Pictures) -> list[list[Lifted | None]]:
    """What of the labelled defects could be lifted off ``pictures``, in the order of their labels."""
    return lift_all([_copper(image) for image in pictures.images], [_named(row) for row in pictures.truth()])


def _copper(image: NDArray[np.uint8]) -> NDArray[np.uint8]:
    return np.where(image < 128, np.uint8(255), np.uint8(0))


def _named(row: Sequence[Truth]) -> list[tuple[str, Box]]:
    return [(DEFECTS[label], Box(*box)) for label, box in row]


def plant_more(
    pictures: Pictures,
    copies: int,
    *,
    lifted: Sequence[Sequence[Lifted | None]] | None = None,
    first_seed: int = PLANTED_SEED,
) -> Pictures:
    """Copies of thresholded pictures with further artwork and then other defects drawn off the labelled boxes.

    With ``lifted`` (of ``lift_defects``) most of the labelled defects are gone from a copy, and most of the new ones
    are strokes lifted elsewhere.
    """
    lifted = lifted or [[None] * len(row) for row in pictures.truth()]
    jobs = [
        (pictures.images[row], labels, lifted[row], first_seed + copy * len(pictures) + row)
        for copy in range(copies)
        for row, labels in enumerate(pictures.truth())
    ]
    with ProcessPoolExecutor(initializer=_share, initargs=(by_class(lifted),)) as pool:
        done = list(pool.map(_plant_some, jobs, chunksize=16))
    return _pack([image for image, _ in done], [labels for _, labels in done])


def _plant_some(job: tuple[NDArray[np.uint8], list[Truth], Sequence[Lifted | None], int]) -> _Labelled:
    image, known, lifted, seed = job
    rng = np.random.default_rng(seed)
    image, before = image.copy(), _copper(image)
    flawless = before.copy()
    found: list[tuple[str, Box]] = []
    for labelled, one in zip(_named(known), lifted, strict=True):
        if one is not None and rng.random() < LIFTED:
            one.clear(flawless)
            one.clean(image, flawless)
        else:
            found.append(labelled)
    if rng.random() < ETCHED:
        flawless = _etched(rng, flawless, found)
    mask = flawless.copy()
    distract(rng, mask, [box for _, box in found])
    _plant_simulated(rng, mask, found, int(rng.integers(1, 5) if _strokes else rng.integers(3, 9)))
    mask = _frayed(rng, flawless, mask)
    _plant_strokes(rng, mask, found, int(rng.integers(2, 7)))
    return _through_jpeg(_shown(image, before, mask), seed), _labels(found)


def _plant_simulated(
    rng: np.random.Generator, mask: NDArray[np.uint8], found: list[tuple[str, Box]], count: int
) -> None:
    terrain = Terrain.of(mask.copy())
    for _ in range(min(count, MOST_BOXES - len(found))):
        label = DEFECTS[int(rng.integers(len(DEFECTS)))]
        box = plant(rng, terrain, mask=mask, label=label, taken=[taken for _, taken in found])
        if box is not None:
            found.append((label, box))


def _plant_strokes(rng: np.random.Generator, mask: NDArray[np.uint8], found: list[tuple[str, Box]], count: int) -> None:
    terrain = Terrain.of(mask.copy())
    for _ in range(min(count, MOST_BOXES - len(found))):
        label = DEFECTS[int(rng.integers(len(DEFECTS)))]
        if _strokes.get(label):
            planted = plant_stroke(rng, terrain, mask, _strokes[label], [taken for _, taken in found])
            found.extend([planted] if planted else [])


def _etched(rng: np.random.Generator, mask: NDArray[np.uint8], found: Sequence[tuple[str, Box]]) -> NDArray[np.uint8]:
    """All copper a pixel or two wider or narrower, unless that joins or parts anything, at large or at a defect."""
    reach = 1 if rng.random() < 0.5 else 2
    kernel = cv2.getStructuringElement(cv2.MORPH_ELLIPSE, (2 * reach + 1, 2 * reach + 1))
    etched = (cv2.dilate if rng.random() < 0.5 else cv2.erode)(mask, kernel).astype(np.uint8)
    places = [(slice(0, SIDE), slice(0, SIDE))]
    for _, box in found:
        y, x = max(0, int(box.y)), max(0, int(box.x))
        places.append((slice(y, int(box.y + box.h) + 1), slice(x, int(box.x + box.w) + 1)))
    alike = all(
        cv2.connectedComponents(np.ascontiguousarray(a[place]))[0]
        == cv2.connectedComponents(np.ascontiguousarray(b[place]))[0]
        for place in places
        for a, b in ((mask, etched), (255 - mask, 255 - etched))
    )
    return etched if alike else mask


def _frayed(rng: np.random.Generator, before: NDArray[np.uint8], after: NDArray[np.uint8]) -> NDArray[np.uint8]:
    """Undo up to a third of the pixels at the rim of what was drawn: a scan's edges are not smooth.

    Only where a neighbour shows what the pixel showed before: elsewhere specks would be left of what was drawn over.
    """
    change, square = (before ^ after), np.ones((3, 3), np.uint8)
    rim = (change > 0) & (cv2.erode(change, square) == 0)
    beside = np.where(before > 0, cv2.dilate(after, square) > 0, cv2.erode(after, square) == 0)
    undone = rim & beside & (rng.random(change.shape) < rng.uniform(0.0, 0.33))
    return np.where(undone, before, after)


def _shown(image: NDArray[np.uint8], before: NDArray[np.uint8], after: NDArray[np.uint8]) -> NDArray[np.uint8]:
    """The grey picture with the copper of ``after``, rid of the grey edges of what is gone."""
    near = cv2.dilate(before ^ after, np.ones((5, 5), np.uint8)) > 0
    return np.where(near, 255 - after, image)


def prepare(
    deeppcb: Path, *, boards: int, copies: int, held_out: Collection[str] = HELD_OUT_BOARDS, draw: int = 0
) -> dict[str, Pictures]:
    """Everything that a run needs: three pools to train on, two sets to look at.

    DeepPCB's boxes are trained on in picture coordinates, or every flip would move them by a pixel against the picture;
    ``ExportedDetector`` answers in DeepPCB's own again. Another ``draw`` gives other boards and copies.
    """
    train, held = hold_out(deeppcb, held_out)
    train = train.moved(CORNER)
    lifted = lift_defects(train)
    return {
        "real-train": train,
        "planted-train": plant_more(train, copies, lifted=lifted, first_seed=PLANTED_SEED + draw * DRAW),
        "boards-train": render_boards(boards, TRAIN_BOARDS_SEED + draw * DRAW, by_class(lifted)),
        "real-held": held,
        "boards-held": render_boards(200, TEST_BOARDS_SEED),
    }


def main() -> None:
    """Prepare the arrays once, so that several training runs share them."""
    parser = argparse.ArgumentParser(description=main.__doc__)
    parser.add_argument("--deeppcb", type=Path, required=True)
    parser.add_argument("--boards", type=int, default=6000)
    parser.add_argument("--copies", type=int, default=3, help="of each training picture, with more defects planted")
    parser.add_argument("--draw", type=int, default=0, help="another number gives other boards and copies")
    parser.add_argument("--out", type=Path, required=True)
    parser.add_argument("--everything", action="store_true", help="hold no board out: for the run that ships")
    options = parser.parse_args()
    held_out = () if options.everything else HELD_OUT_BOARDS
    pools = prepare(options.deeppcb, boards=options.boards, copies=options.copies, held_out=held_out, draw=options.draw)
    for name, pictures in pools.items():
        pictures.save(options.out / name)
        print(f"{name}: {len(pictures)} pictures")


if __name__ == "__main__":
    main()
