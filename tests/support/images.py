"""Images of every accepted kind, and ways to spoil them."""

from __future__ import annotations

import io
import struct
import zlib

import numpy as np
from numpy.typing import NDArray
from PIL import Image

SIZE = (96, 80)
"""Width and height of the small picture."""


def picture() -> NDArray[np.uint8]:
    """Coloured blocks ``[80, 96, 3]`` with noise; every channel differs."""
    rng = np.random.default_rng(7)
    blocks = np.kron(rng.integers(20, 230, (10, 12, 3)), np.ones((8, 8, 1)))
    return np.clip(blocks + rng.normal(0, 2, blocks.shape), 0, 255).astype(np.uint8)


def encode(image: Image.Image, kind: str, **options: object) -> bytes:
    out = io.BytesIO()
    image.save(out, kind, **options)
    return out.getvalue()


def rgb() -> Image.Image:
    return Image.fromarray(picture())


def grey() -> Image.Image:
    return rgb().convert("L")


def deep() -> Image.Image:
    """Grey with 16 bits a sample, left-justified, and noise in the low byte."""
    noise = np.random.default_rng(8).integers(0, 256, (SIZE[1], SIZE[0]))
    return Image.fromarray((np.asarray(grey()).astype(np.uint16) << 8) + noise.astype(np.uint16))


def samples() -> dict[str, bytes]:
    """One good file of each kind, by name."""
    return {
        "jpeg": encode(rgb(), "JPEG", quality=90),
        "jpeg-grey": encode(grey(), "JPEG", quality=90),
        "jpeg-progressive": encode(rgb(), "JPEG", progressive=True),
        "jpeg-444": encode(rgb(), "JPEG", subsampling=0),
        "jpeg-restarts": encode(rgb(), "JPEG", restart_marker_rows=1),
        "jpeg-cmyk": encode(rgb().convert("CMYK"), "JPEG", quality=95),
        "png": encode(rgb(), "PNG"),
        "png-grey": encode(grey(), "PNG"),
        "png-1bit": encode(grey().convert("1"), "PNG"),
        "png-16bit": encode(deep(), "PNG"),
        "png-palette": encode(rgb().convert("P"), "PNG", transparency=3),
        "png-alpha": encode(rgb().convert("RGBA"), "PNG"),
        "png-grey-alpha": encode(grey().convert("LA"), "PNG"),
        "png-interlaced": interlaced(np.asarray(grey())),
        "bmp": encode(rgb(), "BMP"),
        "bmp-grey": encode(grey(), "BMP"),
        "bmp-1bit": encode(grey().convert("1"), "BMP"),
        "bmp-alpha": encode(rgb().convert("RGBA"), "BMP"),
        "webp": encode(rgb(), "WEBP", quality=90),
        "webp-lossless": encode(rgb(), "WEBP", lossless=True),
        "webp-alpha": encode(rgb().convert("RGBA"), "WEBP"),
    }


def frame(seed: int, side: int = 64) -> bytes:
    """A small grey JPEG whose bytes depend on ``seed``."""
    blocks = np.random.default_rng(seed).integers(0, 256, (side // 8, side // 8))
    return encode(Image.fromarray(np.kron(blocks, np.ones((8, 8))).astype(np.uint8)), "JPEG", quality=90)


def chunk(kind: bytes, body: bytes) -> bytes:
    """One chunk of a PNG with its checksum."""
    return struct.pack(">I", len(body)) + kind + body + struct.pack(">I", zlib.crc32(kind + body))


def png(width: int, height: int, raw: bytes, *, colour: int = 0, adam7: bool = False) -> bytes:
    """An 8-bit PNG that claims these sides and holds ``raw``, rows that each start with their filter."""
    header = struct.pack(">IIBBBBB", width, height, 8, colour, 0, 0, adam7)
    parts = chunk(b"IHDR", header) + chunk(b"IDAT", zlib.compress(raw, 9)) + chunk(b"IEND", b"")
    return b"\x89PNG\r\n\x1a\n" + parts


def interlaced(pixels: NDArray[np.uint8]) -> bytes:
    """Grey ``[h, w]`` as an interlaced PNG, which Pillow reads but does not write."""
    steps = ((0, 0, 8, 8), (4, 0, 8, 8), (0, 4, 4, 8), (2, 0, 4, 4), (0, 2, 2, 4), (1, 0, 2, 2), (0, 1, 1, 2))
    rows = [row for x, y, dx, dy in steps for row in pixels[y::dy, x::dx]]
    height, width = pixels.shape
    return png(width, height, b"".join(b"\0" + row.tobytes() for row in rows), adam7=True)


def mend_checksums(data: bytes) -> bytes:
    """Make the checksums of a spoilt PNG right again, so that the damage is all that is left."""
    out, at = bytearray(data), 8
    while at + 12 <= len(out):
        (length,) = struct.unpack_from(">I", out, at)
        if at + 12 + length > len(out):
            break
        struct.pack_into(">I", out, at + 8 + length, zlib.crc32(bytes(out[at + 4 : at + 8 + length])))
        at += 12 + length
    return bytes(out)


def with_jpeg_size(data: bytes, width: int, height: int) -> bytes:
    """The JPEG with another size in its frame header."""
    at = next(data.index(marker) for marker in (b"\xff\xc0", b"\xff\xc2") if marker in data)
    return data[: at + 5] + struct.pack(">HH", height, width) + data[at + 9 :]


def with_png_size(data: bytes, width: int, height: int) -> bytes:
    """The PNG with another size in IHDR, and a right checksum."""
    return mend_checksums(data[:16] + struct.pack(">II", width, height) + data[24:])


def many_scans(count: int) -> bytes:
    """A progressive JPEG whose last scan is repeated."""
    data = encode(grey(), "JPEG", progressive=True)
    at = data.rindex(b"\xff\xda")
    return data[:at] + data[at:-2] * count + data[-2:]


def animated(kind: str) -> bytes:
    """Two frames in one file."""
    return encode(rgb(), kind, save_all=True, append_images=[rgb().rotate(180)], duration=100)
