"""Tables and records that the kernels read and write, and the kernels' translation, without a GPU."""

from __future__ import annotations

import re
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest
from numpy.typing import NDArray

from gistline.detection.candidates import MOST_CANDIDATES
from gistline.detection.cuda_candidates import CANDIDATE, HEADER_ROWS, KERNELS, in_order, unpack
from gistline.detection.cuda_frames import ALIGNMENT, FRAME, Mode, describe, pack
from gistline.detection.cuda_kernels import ptx
from gistline.detection.layouts import Layout, LayoutKind
from gistline.detection.preprocess import Geometry, letterbox
from gistline.errors import EngineUnavailable
from tests.support.ptx import ARCHITECTURE, MARK, NAMES, SOURCES, Nvrtc, digest, find_nvrtc

C_TYPES = {"double": "<f8", "unsigned long long": "<u8", "int": "<i4", "float": "<f4", "u32": "<u4"}
GEOMETRY = Geometry(64, 64, 1.0, 1.0, 0, 0)
LAYOUT = Layout(LayoutKind.ANCHOR_FREE, 2, 84)


def members(source: str, struct: str) -> list[tuple[str, str]]:
    """Names and numpy types of a C struct's members, in order."""
    text = (SOURCES / source).read_text()
    [body] = re.findall(rf"struct {struct} {{(.*?)}};", text, re.DOTALL)
    found = re.findall(r"^\s*(double|unsigned long long|int|float|u32) ([\w, ]+);", body, re.MULTILINE)
    return [(name.strip(), C_TYPES[kind]) for kind, names in found for name in names.split(",")]


def test_records_are_the_kernels_structs() -> None:
    for dtype, source, struct in ((FRAME, "letterbox.cu", "Frame"), (CANDIDATE, "candidates.cu", "Candidate")):
        assert [(name, dtype[name].str) for name in dtype.names or ()] == members(source, struct)
    assert (FRAME.itemsize, CANDIDATE.itemsize) == (56, 32)


def test_modes_and_header_rows_are_the_kernels() -> None:
    text = (SOURCES / "letterbox.cu").read_text()
    assert f"enum Mode {{ {', '.join(f'{mode.name} = {mode.value}' for mode in Mode)} }}" in text
    [rows] = re.findall(r"enum Row {(.*?)}", (SOURCES / "candidates.cu").read_text())
    assert len(rows.split(",")) == HEADER_ROWS


@pytest.mark.parametrize(
    ("shape", "mode"),
    [
        ((64, 64), Mode.COPY),
        ((20, 64), Mode.COPY),
        ((128, 128), Mode.AREA_WHOLE),
        ((192, 64), Mode.AREA),
        ((192, 192), Mode.AREA_WHOLE),
        ((130, 100), Mode.AREA),
        ((100, 100), Mode.LINEAR),
        ((10, 10), Mode.LINEAR),
        ((1, 1), Mode.LINEAR),
    ],
)
def test_scaling_is_chosen_as_opencv_does(shape: tuple[int, int], mode: Mode) -> None:
    assert Mode(describe([np.zeros(shape, np.uint8)], (64, 64)).rows["mode"][0]) is mode


def test_frames_lie_one_behind_the_other() -> None:
    random = np.random.default_rng(0)
    images: list[NDArray[np.uint8]] = [
        random.integers(0, 256, shape, dtype=np.uint8) for shape in ((7, 5), (3, 11, 3), (1, 1), (40, 30, 3))
    ]
    images.append(images[3][::2, ::-1])
    table = describe(images, (64, 64))
    assert table.geometries == tuple(letterbox(image, (64, 64))[1] for image in images)
    buffer = np.zeros(table.size + 10, np.uint8)
    pack(images, table, buffer)
    for row, image in zip(table.rows, images, strict=True):
        offset = int(row["offset"])
        assert offset % ALIGNMENT == 0
        np.testing.assert_array_equal(buffer[offset : offset + image.nbytes], image.reshape(-1))
        assert (row["height"], row["width"]) == image.shape[:2]
        assert row["channels"] == (1 if image.ndim == 2 else 3)


def test_helpers_pack_the_same() -> None:
    images = [np.random.default_rng(i).integers(0, 256, (1080, 1920), dtype=np.uint8) for i in range(5)]
    table = describe(images, (640, 640))
    alone, helped = np.zeros(table.size, np.uint8), np.zeros(table.size, np.uint8)
    pack(images, table, alone)
    with ThreadPoolExecutor(3) as pool:
        pack(images, table, helped, pool)
    np.testing.assert_array_equal(alone, helped)


@pytest.mark.parametrize(
    "wrong", [np.zeros((4, 4), np.float32), np.zeros((4, 4, 4), np.uint8), np.zeros((0, 4), np.uint8)]
)
def test_what_is_no_image_is_refused(wrong: NDArray[np.uint8]) -> None:
    with pytest.raises(ValueError, match="an image is uint8"):
        describe([wrong], (64, 64))


def records(*found: tuple[float, int, int]) -> NDArray[np.void]:
    """Score, label and index of each; its box counts up from the index."""
    made = np.zeros(len(found), CANDIDATE)
    for row, (score, label, index) in zip(made, found, strict=True):
        row["score"], row["label"], row["index"] = score, label, index
        for i, side in enumerate("xywh"):
            row[side] = index + i / 4
    return made


def test_strongest_first_and_of_equal_ones_the_first() -> None:
    boxes, scores, classes = in_order(records((0.5, 1, 9), (0.9, 0, 7), (0.5, 2, 3), (0.5, 3, 4)))
    np.testing.assert_array_equal(scores, np.array([0.9, 0.5, 0.5, 0.5], np.float32))
    assert classes.tolist() == [0, 2, 3, 1]
    assert boxes[:, 0].tolist() == [7, 3, 4, 9]
    assert boxes[0].tolist() == [7, 7.25, 7.5, 7.75]
    assert [part.dtype.str for part in (boxes, scores, classes)] == ["<f4", "<f4", "<i4"]


def test_nothing_found_is_empty() -> None:
    assert [part.shape for part in in_order(records())] == [(0, 4), (0,), (0,)]


def test_a_batch_is_parted_by_its_counts() -> None:
    header = np.array([[2, 0, 1], [0, 0, 0], [0, 0, 0], [0, 0, 0]], np.int32)
    found = unpack(header, records((0.25, 0, 1), (0.5, 1, 2), (0.75, 1, 0)), [GEOMETRY] * 3, LAYOUT)
    assert [one.scores.tolist() for one in found] == [[0.5, 0.25], [], [0.75]]


def test_an_image_never_has_more_than_the_most() -> None:
    many = [(0.5, 0, i) for i in range(MOST_CANDIDATES)]
    header = np.array([[MOST_CANDIDATES + 5, 1], [0, 0], [0, 0], [0, 0]], np.int32)
    found = unpack(header, records(*many, (0.7, 1, 3)), [GEOMETRY] * 2, LAYOUT)
    assert [len(one.scores) for one in found] == [MOST_CANDIDATES, 1]
    assert found[1].classes.tolist() == [1]


@pytest.mark.parametrize(("row", "said"), [(1, "NaN or infinity"), (2, "answered class 9, of 2 that it names")])
def test_nonsense_in_any_image_refuses_the_batch(row: int, said: str) -> None:
    header = np.zeros((HEADER_ROWS, 3), np.int32)
    header[row, 2], header[3, 2] = 4, 9
    with pytest.raises(EngineUnavailable, match=said):
        unpack(header, records(), [GEOMETRY] * 3, LAYOUT)


@pytest.mark.parametrize("name", NAMES)
def test_the_translation_is_that_of_the_source(name: str) -> None:
    text = ptx(name).decode()
    assert text.splitlines()[0] == MARK + digest(SOURCES / f"{name}.cu")
    assert ".target sm_61" in text


def test_every_kernel_is_in_the_translation() -> None:
    entries = set(re.findall(r"\.visible \.entry (\w+)", (ptx("letterbox") + ptx("candidates")).decode()))
    wanted = {f"{kernel}_{kind}" for kernel in ("letterbox", *KERNELS.values()) for kind in ("f32", "f16")}
    assert entries == wanted | {"gather"}


@pytest.mark.parametrize("architecture", [ARCHITECTURE, "sm_61", "sm_70", "sm_75", "sm_80", "sm_86", "sm_89", "sm_90"])
@pytest.mark.parametrize("name", NAMES)
def test_the_source_compiles(name: str, architecture: str) -> None:
    library = find_nvrtc()
    if library is None:
        pytest.skip("no NVRTC: pip install nvidia-cuda-nvrtc-cu11")
    made = Nvrtc(library).compile(SOURCES / f"{name}.cu", architecture)
    assert made
