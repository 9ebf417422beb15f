"""The container of a JPEG (ITU-T T.81, annex B): segments, size, end."""

from __future__ import annotations

import re
import struct
from collections.abc import Iterator

from gistline.frames.damage import WHOLE, refuse

MAX_SCANS = 100
"""A progressive JPEG needs about ten; each is a pass over all blocks, so a small file could keep a core for hours."""

MAX_PIXELS_A_BYTE = 1024
"""Huffman-coded blocks of 64 pixels take a bit each at the very least; oddly subsampled ones half of that."""

_STANDALONE = frozenset({0x01, *range(0xD0, 0xD8)})
_FRAME_HEADERS = frozenset(range(0xC0, 0xD0)) - {0xC4, 0xC8, 0xCC}
_HUFFMAN = frozenset({0xC0, 0xC1, 0xC2})
_START_OF_SCAN, _END_OF_IMAGE = 0xDA, 0xD9
_NEXT_MARKER = re.compile(rb"\xff[^\x00\xd0-\xd7\xff]")


def size(data: bytes) -> tuple[int, int]:
    """Width and height in pixels, from the frame header."""
    at = next((at for marker, at in _segments(data) if marker in _FRAME_HEADERS | {_START_OF_SCAN}), 0)
    if not at or data[at - 1] == _START_OF_SCAN:
        refuse("JPEG", "has no frame header")
    _, precision, height, width = struct.unpack_from(">HBHH", data, at)
    if precision != 8:
        refuse("JPEG", f"has {precision} bits a sample; 8 are accepted", "Save it with 8 bits a sample.")
    return width, height


def end(data: bytes) -> int:
    """Position behind the image; refuses what is cut off, or could not hold its pixels."""
    scans = found = 0
    for marker, at in _segments(data):
        scans += marker == _START_OF_SCAN
        if scans > MAX_SCANS:
            refuse("JPEG", f"has more than {MAX_SCANS} scans", "Save it as a baseline JPEG, or with about ten scans.")
        if marker in _HUFFMAN:
            _, _, height, width = struct.unpack_from(">HBHH", data, at)
            if width * height > len(data) * MAX_PIXELS_A_BYTE:
                refuse("JPEG", f"claims {width} x {height} pixels, which {len(data)} bytes cannot hold")
        found = at
    return found


def _segments(data: bytes) -> Iterator[tuple[int, int]]:
    """Markers, each with the position behind its two bytes, up to and including the end of the image."""
    at = 2
    while True:
        if data[at] != 0xFF:
            refuse("JPEG", f"is damaged: a marker was due at byte {at}, found {data[at]:#04x}")
        while data[at + 1] == 0xFF:
            at += 1
        marker = data[at + 1]
        at += 2
        yield marker, at
        if marker == _END_OF_IMAGE:
            return
        if marker not in _STANDALONE:
            at = _behind_segment(data, marker, at)


def _behind_segment(data: bytes, marker: int, at: int) -> int:
    length = int.from_bytes(data[at : at + 2])
    if length < 2 or at + length > len(data):
        refuse("JPEG", f"is damaged: segment {marker:#04x} claims {length} bytes of the {len(data) - at} left")
    if marker != _START_OF_SCAN:
        return at + length
    following = _NEXT_MARKER.search(data, at + length)
    if following is None:
        refuse("JPEG", f"has no end-of-image marker in its {len(data)} bytes", WHOLE)
    return following.start()
