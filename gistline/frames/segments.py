"""Several images in one file, so that a request costs one file and one sync, and each image a name of its own.

A segment begins with its index: :data:`MAGIC`, the number of images (4 bytes, big-endian) and for each its SHA-256
(32 bytes), its place and its length in bytes (8 each). Every image begins at a multiple of :data:`BLOCK`, so that a
file system can give its space back alone. The file is linked under the digest of each image: the last name that goes
takes the file with it.
"""

from __future__ import annotations

import struct
from collections.abc import Iterator, Mapping
from typing import Final

MAGIC: Final = b"GLSEGM1\n"
BLOCK: Final = 4_096
MOST: Final = 256
"""Images in one segment at most: few enough for one call of the system, and for the links that a file may have."""

_COUNT: Final = struct.Struct(">I")
_ENTRY: Final = struct.Struct(">32sQQ")
_START: Final = len(MAGIC) + _COUNT.size
INDEX_BYTES: Final = _START + MOST * _ENTRY.size
"""How much of a file must be read to see its index whole."""


def packed(images: Mapping[str, bytes]) -> list[bytes]:
    """The parts of a segment in their order, to be written one behind the other; ``images`` by hex digest."""
    at = -(-(_START + len(images) * _ENTRY.size) // BLOCK) * BLOCK
    index, parts = [MAGIC, _COUNT.pack(len(images))], []
    for sha256, data in images.items():
        index.append(_ENTRY.pack(bytes.fromhex(sha256), at, len(data)))
        gap = -len(data) % BLOCK
        parts += [data, bytes(gap)]
        at += len(data) + gap
    head = b"".join(index)
    return [head, bytes(-len(head) % BLOCK), *parts]


def place_in(start: bytes, sha256: str) -> tuple[int, int] | None:
    """Where an image stands in a file that begins with ``start``, and its length; None when it is not in there."""
    wanted = bytes.fromhex(sha256)
    return next(((at, length) for digest, at, length in _entries(start) if digest == wanted), None)


def _entries(start: bytes) -> Iterator[tuple[bytes, int, int]]:
    if not start.startswith(MAGIC) or len(start) < _START:
        return
    (count,) = _COUNT.unpack_from(start, len(MAGIC))
    end = _START + count * _ENTRY.size
    if count <= MOST and end <= len(start):
        yield from _ENTRY.iter_unpack(start[_START:end])
