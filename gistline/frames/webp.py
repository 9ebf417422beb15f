"""The container of a WebP (RFC 9649): chunks, size, end."""

from __future__ import annotations

import struct
from collections.abc import Iterator

from gistline.frames.damage import ONE_FRAME, WHOLE, refuse

_FRAMES = frozenset({b"VP8 ", b"VP8L"})


def size(data: bytes) -> tuple[int, int]:
    """Width and height in pixels, of the canvas where there is one."""
    kind = data[12:16]
    if kind != b"VP8X":
        return _frame_size(data, kind, 20)
    width, width_high, height, height_high = struct.unpack_from("<HBHB", data, 24)
    return (width | width_high << 16) + 1, (height | height_high << 16) + 1


def end(data: bytes) -> int:
    """Position behind the image; refuses animations and frames that differ from the canvas."""
    (length,) = struct.unpack_from("<I", data, 4)
    if 8 + length > len(data):
        refuse("WebP", f"claims {8 + length} bytes, {len(data)} are there", WHOLE)
    frames = []
    for kind, at in _chunks(data, 8 + length):
        if kind in {b"ANIM", b"ANMF"}:
            refuse("WebP", "is animated", ONE_FRAME)
        if kind in _FRAMES:
            frames.append(_frame_size(data, kind, at))
    if frames != [size(data)]:
        refuse("WebP", f"states {size(data)} pixels, its frames measure {frames}")
    return 8 + int(length)


def _chunks(data: bytes, stop: int) -> Iterator[tuple[bytes, int]]:
    at = 12
    while at < stop:
        kind, length = struct.unpack_from("<4sI", data, at)
        at += 8
        if at + length > stop:
            refuse("WebP", f"is damaged: chunk {kind!r} claims {length} bytes of the {stop - at} left")
        yield kind, at
        at += length + length % 2


def _frame_size(data: bytes, kind: bytes, at: int) -> tuple[int, int]:
    if kind == b"VP8 ":
        start_code, width, height = struct.unpack_from("<3sHH", data, at + 3)
        if start_code != b"\x9d\x01\x2a":
            refuse("WebP", "is damaged: its frame has no start code")
        return width & 0x3FFF, height & 0x3FFF
    if kind != b"VP8L":
        refuse("WebP", f"holds no image but chunk {kind!r}")
    signature, bits = struct.unpack_from("<BI", data, at)
    if signature != 0x2F:
        refuse("WebP", "is damaged: its lossless frame has no signature")
    return (bits & 0x3FFF) + 1, (bits >> 14 & 0x3FFF) + 1
