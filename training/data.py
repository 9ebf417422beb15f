"""Pictures and boxes for training: DeepPCB's published set and boards of our own simulator, as plain arrays."""

from __future__ import annotations

import argparse
import json
from concurrent.futures import ProcessPoolExecutor, ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path

import cv2
import numpy as np
from numpy.typing import NDArray

from gistline.simulator.boards import DEFECTS, render_board

SIDE = 640
MOST_BOXES = 16
HELD_OUT_IMAGES = 100
SPLIT_SEED = 20260
TRAIN_BOARDS_SEED = 1_000_000
TEST_BOARDS_SEED = 9_000_000


@dataclass(frozen=True)
class Pictures:
    """``images`` uint8 [n, 640, 640]; ``boxes`` float32 [n, 16, 4] as corners; ``classes`` int64 [n, 16], -1 unused."""

    images: NDArray[np.uint8]
    boxes: NDArray[np.float32]
    classes: NDArray[np.int64]

    def __len__(self) -> int:
        return len(self.images)

    def take(self, rows: NDArray[np.intp]) -> Pictures:
        return Pictures(self.images[rows], self.boxes[rows], self.classes[rows])

    def truth(self) -> list[list[tuple[int, tuple[float, float, float, float]]]]:
        """Per picture, (class, (x, y, w, h)) of every box."""
        answer = []
        for boxes, classes in zip(self.boxes, self.classes, strict=True):
            rows = [(int(c), b) for c, b in zip(classes, boxes, strict=True) if c >= 0]
            answer.append([(c, (float(b[0]), float(b[1]), float(b[2] - b[0]), float(b[3] - b[1]))) for c, b in rows])
        return answer

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


def read_deeppcb(folder: Path, split: str) -> Pictures:
    """Read ``trainval`` or ``test_public`` of the repackaged DeepPCB in ``folder`` (COCO JSON and ``images/``)."""
    coco = json.loads((folder / f"{split}.json").read_text())
    number = {kind["id"]: DEFECTS.index(kind["name"]) for kind in coco["categories"]}
    labels: dict[int, list[tuple[int, list[float]]]] = {image["id"]: [] for image in coco["images"]}
    for note in coco["annotations"]:
        labels[note["image_id"]].append((number[note["category_id"]], note["bbox"]))
    paths = [folder / "images" / image["file_name"] for image in coco["images"]]
    with ThreadPoolExecutor() as pool:
        images = list(pool.map(_read_grey, paths))
    return _pack(images, [labels[image["id"]] for image in coco["images"]])


def _read_grey(path: Path) -> NDArray[np.uint8]:
    image = cv2.imread(str(path), cv2.IMREAD_GRAYSCALE)
    if image is None:
        raise FileNotFoundError(f"{path} is missing or no image")
    return np.asarray(image, np.uint8)


def hold_out(pictures: Pictures) -> tuple[Pictures, Pictures]:
    """Part into (training, held out): 100 pictures by a fixed seed, for choosing among recipes."""
    order = np.random.default_rng(SPLIT_SEED).permutation(len(pictures))
    return pictures.take(np.sort(order[HELD_OUT_IMAGES:])), pictures.take(np.sort(order[:HELD_OUT_IMAGES]))


def _board(seed: int) -> tuple[NDArray[np.uint8], list[tuple[int, list[float]]]]:
    board = render_board(np.random.default_rng(seed))
    return board.image, [(DEFECTS.index(label), [box.x, box.y, box.w, box.h]) for label, box in board.defects]


def render_boards(count: int, first_seed: int) -> Pictures:
    """``count`` simulated boards, one seed each from ``first_seed`` on, rendered on all cores."""
    with ProcessPoolExecutor() as pool:
        done = list(pool.map(_board, range(first_seed, first_seed + count), chunksize=16))
    return _pack([image for image, _ in done], [labels for _, labels in done])


def main() -> None:
    """Prepare the arrays once, so that several training runs share them."""
    parser = argparse.ArgumentParser(description=main.__doc__)
    parser.add_argument("--deeppcb", type=Path, required=True)
    parser.add_argument("--boards", type=int, default=6000)
    parser.add_argument("--out", type=Path, required=True)
    options = parser.parse_args()
    train, held = hold_out(read_deeppcb(options.deeppcb, "trainval"))
    train.save(options.out / "real-train")
    held.save(options.out / "real-held")
    render_boards(options.boards, TRAIN_BOARDS_SEED).save(options.out / "boards-train")
    render_boards(200, TEST_BOARDS_SEED).save(options.out / "boards-held")
    print(f"prepared {len(train)} + {len(held)} DeepPCB pictures and {options.boards} + 200 boards in {options.out}")


if __name__ == "__main__":
    main()
