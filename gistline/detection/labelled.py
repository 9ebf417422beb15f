"""Labelled images on disk: a folder of pictures and a COCO file with their boxes."""

from __future__ import annotations

import hashlib
import json
import math
from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from gistline.detection.evaluation import LabelledBox
from gistline.domain import Box
from gistline.errors import RequestRejected

_FORM = "Write 'images' (id, file_name), 'annotations' (image_id, category_id, bbox [x, y, w, h]) and 'categories'."


@dataclass(frozen=True, slots=True)
class LabelledImage:
    """A picture's file and its boxes, in pixels of the file; an empty list says that nothing is to be found."""

    path: Path
    boxes: list[LabelledBox]


def read_coco(json_path: Path, images_dir: Path | None, labels: Sequence[str]) -> list[LabelledImage]:
    """Read a labelled set, in the order of its image ids.

    Args:
        json_path: COCO's detection format; only images, annotations and categories are read.
        images_dir: where ``file_name`` is looked up; None is the file's own folder.
        labels: classes of the detector that is to be measured.

    Raises:
        RequestRejected: the file is no COCO file, names classes that the detector does not have, holds crowd regions or
            empty boxes, or a picture is missing.

    """
    document = _load(json_path)
    try:
        names = {int(one["id"]): str(one["name"]) for one in document["categories"]}
        files = {int(one["id"]): str(one["file_name"]) for one in document["images"]}
        boxes = _boxes(document["annotations"], names)
    except (KeyError, TypeError, ValueError, IndexError) as error:
        raise RequestRejected(f"{json_path} is no COCO file: {error!r}.", cure=_FORM) from error
    _check_classes(json_path, {label for found in boxes.values() for label, _ in found}, labels)
    folder = images_dir or json_path.parent
    found = [LabelledImage(folder / name, boxes.pop(number, [])) for number, name in sorted(files.items())]
    _check_images(json_path, found, orphans=boxes)
    return found


def digest(images: Iterable[LabelledImage]) -> str:
    """SHA-256 over every picture's bytes and every box, in order: equal for equal sets, wherever they lie.

    Raises:
        RequestRejected: a picture cannot be read.

    """
    total = hashlib.sha256()
    for image in images:
        try:
            total.update(hashlib.sha256(image.path.read_bytes()).digest())
        except OSError as error:
            raise RequestRejected(f"{image.path} cannot be read: {error.strerror or error}.") from error
        total.update(box_bytes(image.boxes))
    return total.hexdigest()


def box_bytes(boxes: Iterable[LabelledBox]) -> bytes:
    """Boxes as bytes for a digest."""
    return json.dumps([(label, box.x, box.y, box.w, box.h) for label, box in boxes]).encode()


def _load(path: Path) -> Mapping[str, Any]:
    try:
        document = json.loads(path.read_bytes())
    except OSError as error:
        raise RequestRejected(f"{path} cannot be read: {error.strerror or error}.", cure="Name a COCO file.") from error
    except ValueError as error:
        raise RequestRejected(f"{path} is no JSON: {error}.", cure=_FORM) from error
    if not isinstance(document, dict) or not {"images", "annotations", "categories"} <= document.keys():
        raise RequestRejected(f"{path} is no COCO file.", cure=_FORM)
    return document


def _boxes(annotations: Iterable[Mapping[str, Any]], names: Mapping[int, str]) -> dict[int, list[LabelledBox]]:
    found: dict[int, list[LabelledBox]] = defaultdict(list)
    for one in annotations:
        if one.get("iscrowd"):
            raise ValueError(f"annotation {one.get('id')} is a crowd region, which is not understood")
        x, y, w, h = (float(side) for side in one["bbox"])
        if not (math.isfinite(x + y + w + h) and w > 0 and h > 0):
            raise ValueError(f"annotation {one.get('id')} has the box {one['bbox']}")
        found[int(one["image_id"])].append((names[int(one["category_id"])], Box(x, y, w, h)))
    return found


def _check_classes(path: Path, used: set[str], labels: Sequence[str]) -> None:
    strange = sorted(used - set(labels))
    if strange:
        raise RequestRejected(
            f"{path} labels {', '.join(map(repr, strange[:10]))}, which the detector does not know.",
            cure=f"Its classes are {', '.join(labels)}.",
        )


def _check_images(path: Path, images: Sequence[LabelledImage], *, orphans: Mapping[int, object]) -> None:
    if not images:
        raise RequestRejected(f"{path} names no image.", cure=_FORM)
    if orphans:
        raise RequestRejected(f"{path} labels image {next(iter(orphans))}, which it does not name.", cure=_FORM)
    missing = [image.path for image in images if not image.path.is_file()]
    if missing:
        raise RequestRejected(
            f"{len(missing)} of the {len(images)} images of {path} are missing, the first is {missing[0]}.",
            cure="Name their folder: --images DIR, or passport.images_dir.",
        )
