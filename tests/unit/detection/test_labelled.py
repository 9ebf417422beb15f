"""COCO files: read in order, refused with what is wrong."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from gistline.detection.labelled import LabelledImage, digest, read_coco
from gistline.domain import Box
from gistline.errors import RequestRejected

LABELS = ("open", "short")


def coco(folder: Path, **changes: Any) -> Path:
    """A set of two pictures, the second without a label."""
    for name in ("a.png", "b.png"):
        (folder / name).write_bytes(name.encode())
    document = {
        "images": [{"id": 7, "file_name": "b.png"}, {"id": 3, "file_name": "a.png"}],
        "annotations": [{"id": 1, "image_id": 3, "category_id": 2, "bbox": [1, 2, 3.5, 4]}],
        "categories": [{"id": 2, "name": "short"}, {"id": 9, "name": "never used"}],
    }
    path = folder / "set.json"
    path.write_text(json.dumps(document | changes))
    return path


def test_images_come_in_the_order_of_their_ids(tmp_path: Path) -> None:
    first, second = read_coco(coco(tmp_path), None, LABELS)
    assert first == LabelledImage(tmp_path / "a.png", [("short", Box(1, 2, 3.5, 4))])
    assert second == LabelledImage(tmp_path / "b.png", [])


def test_equal_sets_have_equal_digests_wherever_they_lie(tmp_path: Path) -> None:
    here, there = tmp_path / "here", tmp_path / "there"
    here.mkdir()
    there.mkdir()
    own = digest(read_coco(coco(here), None, LABELS))
    assert digest(read_coco(coco(there), None, LABELS)) == own
    (there / "b.png").write_bytes(b"other")
    assert digest(read_coco(there / "set.json", None, LABELS)) != own
    moved = [{"id": 1, "image_id": 3, "category_id": 2, "bbox": [1, 2, 3.5, 5]}]
    assert digest(read_coco(coco(here, annotations=moved), None, LABELS)) != own


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"annotations": [{"image_id": 3, "category_id": 5, "bbox": [0, 0, 1, 1]}]}, "is no COCO file: KeyError(5)"),
        ({"annotations": [{"image_id": 3, "category_id": 2, "bbox": [0, 0, 0, 1]}]}, "has the box [0, 0, 0, 1]"),
        ({"annotations": [{"image_id": 3, "category_id": 2, "bbox": [0, 0, 1]}]}, "is no COCO file"),
        ({"annotations": [{"image_id": 3, "category_id": 2, "bbox": [0, 0, 1, 1], "iscrowd": 1}]}, "crowd region"),
        ({"annotations": [{"image_id": 3, "category_id": 9, "bbox": [0, 0, 1, 1]}]}, "labels 'never used'"),
        ({"annotations": [{"image_id": 8, "category_id": 2, "bbox": [0, 0, 1, 1]}]}, "labels image 8"),
        ({"images": [], "annotations": []}, "names no image"),
        ({"images": [{"id": 3, "file_name": "c.png"}]}, "1 of the 1 images of"),
        ({"images": 5}, "is no COCO file"),
    ],
)
def test_what_is_wrong_is_named(tmp_path: Path, changes: dict[str, Any], said: str) -> None:
    with pytest.raises(RequestRejected) as refused:
        read_coco(coco(tmp_path, **changes), None, LABELS)
    assert said in refused.value.message


@pytest.mark.parametrize("content", ["not json", "[]", "{}"])
def test_other_files_are_refused(tmp_path: Path, content: str) -> None:
    path = tmp_path / "x.json"
    path.write_text(content)
    with pytest.raises(RequestRejected):
        read_coco(path, None, LABELS)
    with pytest.raises(RequestRejected, match="cannot be read"):
        read_coco(tmp_path / "absent.json", None, LABELS)
