"""The container of an uncompressed Windows bitmap: size, end."""

from __future__ import annotations

import struct

from gistline.frames.damage import WHOLE, refuse

_CORE = 12
_HEADERS = (_CORE, 40, 52, 56, 64, 108, 124)
_PLAIN = frozenset({0, 3})
"""Uncompressed, and uncompressed with bit masks."""


def size(data: bytes) -> tuple[int, int]:
    """Width and height in pixels; a negative height only says that the rows run from top to bottom."""
    (header,) = struct.unpack_from("<I", data, 14)
    if header not in _HEADERS:
        refuse("BMP", f"claims a header of {header} bytes; {', '.join(map(str, _HEADERS))} are known")
    width, height = struct.unpack_from("<HH" if header == _CORE else "<ii", data, 18)
    return max(width, 0), abs(height)


def end(data: bytes) -> int:
    """Position behind the image; refuses compressed bitmaps and those that claim more bytes than are there."""
    width, height = size(data)
    declared, start = struct.unpack_from("<I4xI", data, 2)
    is_core = data[14] == _CORE
    (bits,) = struct.unpack_from("<H", data, 24 if is_core else 28)
    (method,) = (0,) if is_core else struct.unpack_from("<I", data, 30)
    if method not in _PLAIN:
        refuse("BMP", f"is compressed (method {method})", "Save it uncompressed, or as PNG.")
    claimed = max(int(declared), int(start + (width * bits + 31) // 32 * 4 * height))
    if claimed > len(data):
        refuse("BMP", f"claims {claimed} bytes, {len(data)} are there", WHOLE)
    return claimed
