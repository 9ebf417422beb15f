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
_ADAM7 = ((0, 0, 8, 8), (4, 0, 8, 8), (0, 4, 4, 8), (2, 0, 4, 4), (0, 2, 2, 4), (1, 0, 2, 2), (0, 1, 1, 2))
"""First column and row, then the steps, of each pass of an interlaced image."""
_STEP = 1 << 18
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
    """Position behind the image; refuses wrong checksums, animations, and more or less data than the pixels need."""
    found, held = 0, []
    for chunk in _chunks(data):
        if chunk.kind == b"acTL":
            refuse("PNG", "is animated", ONE_FRAME)
        if chunk.kind == b"IDAT":
            held.append(memoryview(data)[chunk.start + 8 : chunk.end - 4])
        found = chunk.end
    _check_data(data, held)
    return found


def pixels_only(data: bytes) -> bytes:
    """The same picture without its ancillary chunks: nothing that a decoder might trip over, or inflate, is left."""
    kept = [data[chunk.start : chunk.end] for chunk in _chunks(data) if chunk.kind in _NEEDED]
    return b"".join([SIGNATURE, *kept])


def _check_data(data: bytes, held: list[memoryview]) -> None:
    """Inflate without keeping anything: a decoder would fill missing rows with black and not say so."""
    (width, height), needed = size(data), _raw_bytes(data)
    packed = sum(map(len, held))
    if needed > packed * MAX_INFLATION:
        refuse("PNG", f"claims {width} x {height} pixels, which {packed} bytes of image data cannot hold")
    try:
        found, is_whole = _inflated(held, needed)
    except zlib.error as error:
        refuse("PNG", f"is damaged: {error}")
    if found != needed or not is_whole:
        refuse("PNG", f"claims {width} x {height} pixels, which need {needed} bytes; its data end after {found}")


def _inflated(held: list[memoryview], most: int) -> tuple[int, bool]:
    """Length of the inflated data, and whether the stream came to its own end; stops soon after ``most``."""
    inflater, found = zlib.decompressobj(), 0
    for part in held:
        rest: bytes | memoryview = part
        while rest and not inflater.eof and found <= most:
            found += len(inflater.decompress(rest, _STEP))
            rest = inflater.unconsumed_tail
    return found, inflater.eof


def _raw_bytes(data: bytes) -> int:
    """Bytes of all rows, each with the byte that names its filter."""
    width, height, depth, colour, _, _, interlaced = struct.unpack_from(">IIBBBBB", data, len(SIGNATURE) + 8)
    if colour not in _CHANNELS:
        refuse("PNG", f"has colour type {colour}; 0, 2, 3, 4 and 6 are known")
    passes = [(width, height)]
    if interlaced:
        passes = [(-(-(width - x) // dx), -(-(height - y) // dy)) for x, y, dx, dy in _ADAM7]
    return sum(rows * (1 + (columns * depth * _CHANNELS[colour] + 7) // 8) for columns, rows in passes if columns > 0)


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
