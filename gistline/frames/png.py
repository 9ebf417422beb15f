"""The container of a PNG (W3C, third edition): chunks, checksums, size, end."""

from __future__ import annotations

import struct
import zlib
from collections.abc import Iterator
from dataclasses import dataclass

from gistline.frames.damage import ONE_FRAME, WHOLE, refuse

SIGNATURE = b"\x89PNG\r\n\x1a\n"
MAX_INFLATION = 1032
"""Deflate's best: a length of 258 bytes from two bits."""

_CHANNELS = {0: 1, 2: 3, 3: 1, 4: 2, 6: 4}
_NEEDED = frozenset({b"IHDR", b"PLTE", b"IDAT", b"IEND"})


@dataclass(frozen=True, slots=True)
class Chunk:
    """One chunk: its type and where it starts and ends, length and checksum included."""

    kind: bytes
    start: int
    end: int


def size(data: bytes) -> tuple[int, int]:
    """Width and height in pixels, from IHDR."""
    length, kind, width, height = struct.unpack_from(">I4sII", data, len(SIGNATURE))
    if kind != b"IHDR" or length != 13:
        refuse("PNG", f"starts with chunk {kind!r} of {length} bytes instead of IHDR of 13")
    return width, height


def end(data: bytes) -> int:
    """Position behind the image; refuses wrong checksums, animations and what could not hold its pixels."""
    found = held = 0
    for chunk in _chunks(data):
        if chunk.kind == b"acTL":
            refuse("PNG", "is animated", ONE_FRAME)
        held += chunk.end - chunk.start if chunk.kind == b"IDAT" else 0
        found = chunk.end
    if _raw_bytes(data) > held * MAX_INFLATION:
        width, height = size(data)
        refuse("PNG", f"claims {width} x {height} pixels, which {held} bytes of image data cannot hold")
    return found


def pixels_only(data: bytes) -> bytes:
    """The same picture without its ancillary chunks: nothing that a decoder might trip over, or inflate, is left."""
    kept = [data[chunk.start : chunk.end] for chunk in _chunks(data) if chunk.kind in _NEEDED]
    return b"".join([SIGNATURE, *kept])


def _raw_bytes(data: bytes) -> int:
    width, height, depth, colour = struct.unpack_from(">IIBB", data, len(SIGNATURE) + 8)
    if colour not in _CHANNELS:
        refuse("PNG", f"has colour type {colour}; 0, 2, 3, 4 and 6 are known")
    return int(height * (1 + width * depth * _CHANNELS[colour] // 8))


def _chunks(data: bytes) -> Iterator[Chunk]:
    """Chunks up to and including IEND, each with its checksum verified."""
    at = len(SIGNATURE)
    while True:
        length, kind = struct.unpack_from(">I4s", data, at)
        behind = at + 12 + length
        if behind > len(data):
            refuse("PNG", f"breaks off: chunk {kind!r} claims {length} bytes of the {len(data) - at - 8} left", WHOLE)
        (stated,) = struct.unpack_from(">I", data, behind - 4)
        if zlib.crc32(memoryview(data)[at + 4 : behind - 4]) != stated:
            refuse("PNG", f"is damaged: the checksum of chunk {kind!r} at byte {at} is wrong")
        yield Chunk(kind, at, behind)
        if kind == b"IEND":
            return
        at = behind
