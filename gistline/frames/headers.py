"""What a file claims to be, read from its content without decoding a pixel, and whether it is whole."""

from __future__ import annotations

import struct
from dataclasses import dataclass

from gistline.errors import ImageRejected
from gistline.frames import bmp, jpeg, png, webp
from gistline.frames.damage import WHOLE, refuse

_KINDS = {"image/jpeg": "JPEG", "image/png": "PNG", "image/bmp": "BMP", "image/webp": "WebP"}
_READERS = {"image/jpeg": jpeg, "image/png": png, "image/bmp": bmp, "image/webp": webp}
_STARTS = ((b"\xff\xd8\xff", "image/jpeg"), (png.SIGNATURE, "image/png"), (b"BM", "image/bmp"))
_OTHERS = (
    (b"GIF8", "a GIF"),
    (b"II*\x00", "a TIFF"),
    (b"MM\x00*", "a TIFF"),
    (b"II+\x00", "a BigTIFF"),
    (b"MM\x00+", "a BigTIFF"),
    (b"8BPS", "a Photoshop file"),
    (b"%PDF", "a PDF"),
    (b"PK\x03\x04", "a zip archive"),
    (b"\x1f\x8b", "a gzip file"),
    (b"\x7fELF", "an ELF program"),
    (b"MZ", "a Windows program"),
    (b"\x00\x00\x00\x0cjP  ", "a JPEG 2000"),
    (b"\x00\x00\x01\x00", "an icon"),
    (b"<", "markup (HTML, XML or SVG)"),
    (b"{", "JSON"),
)
_PADDING = b"\x00\xff"


@dataclass(frozen=True, slots=True)
class ImageFacts:
    """Media type by content; width and height in pixels as the header states them."""

    media_type: str
    width: int
    height: int


def read_facts(data: bytes) -> ImageFacts:
    """Sniff the format and read the size.

    Raises:
        ImageRejected: another format, or a header too short or senseless to state a size.

    """
    media_type = _sniff(data)
    try:
        width, height = _READERS[media_type].size(data)
    except (struct.error, IndexError):
        refuse(_KINDS[media_type], f"ends within its header, after {len(data)} bytes", WHOLE)
    return ImageFacts(media_type, width, height)


def check_structure(data: bytes, media_type: str) -> None:
    """Walk the container once.

    Raises:
        ImageRejected: truncated, a checksum or length is wrong, animated, too few bytes for its pixels, or another
            file follows the image.

    """
    kind = _KINDS[media_type]
    try:
        behind = _READERS[media_type].end(data)
    except (struct.error, IndexError):
        refuse(kind, f"breaks off after {len(data)} bytes", WHOLE)
    if data[behind:].strip(_PADDING):
        refuse(
            kind,
            f"is followed by {len(data) - behind} other bytes; only padding (00 or FF) may follow",
            "Save the image again without appended data.",
        )


def _sniff(data: bytes) -> str:
    for start, media_type in _STARTS:
        if data.startswith(start):
            return media_type
    if data[:4] == b"RIFF" and data[8:12] == b"WEBP":
        return "image/webp"
    raise ImageRejected(
        f"The bytes are no accepted image but {_name_of_other(data)}.",
        cure="Send JPEG, PNG, BMP or WebP; the content decides, not the name.",
    )


def _name_of_other(data: bytes) -> str:
    if data[4:8] == b"ftyp":
        return "an ISO media file (HEIC, AVIF or video)"
    text = data[:256].lstrip(b"\xef\xbb\xbf \t\r\n")
    known = (name for start, name in _OTHERS if data.startswith(start) or text.startswith(start))
    return next(known, f"unknown, starting {data[:8].hex(' ')}")
