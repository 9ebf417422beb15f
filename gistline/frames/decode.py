"""Bytes to pixels, within limits, or a reason why not.

The format is taken from the content alone; names and content types prove nothing. Orientation tags (EXIF) are ignored:
boxes are coordinates of the pixel grid as it is stored, and a tag that turned it would move them away from every other
reader of the file. Transparency is dropped, not blended. Samples of 16 bits keep their high byte, so a camera of 10 or
12 bits must write its values left-justified, as PNG asks. Ink colours (CMYK) are read as Adobe writes them, inverted.
"""

from __future__ import annotations

import io
import struct

import numpy as np
import simplejpeg
from numpy.typing import NDArray
from PIL import Image
from PIL.BmpImagePlugin import BmpImageFile
from PIL.PngImagePlugin import PngImageFile
from PIL.WebPImagePlugin import WebPImageFile

from gistline.errors import ImageRejected, ImageTooLarge
from gistline.frames import png
from gistline.frames.damage import UNTOUCHED
from gistline.frames.headers import ImageFacts, check_structure, read_facts
from gistline.settings_frames import FrameSettings

_GREY_MODES = frozenset({"1", "L", "LA", "La", "I;16", "I;16B"})
_DAMAGE = (OSError, SyntaxError, ValueError, EOFError, IndexError, KeyError, TypeError, OverflowError, struct.error)


def inspect_header(data: bytes, limits: FrameSettings) -> ImageFacts:
    """Check bytes, sides and pixels as the header states them, before anything is allocated for pixels.

    Raises:
        ImageTooLarge: more bytes, a longer side or more pixels than ``limits`` allow.
        ImageRejected: no accepted format, an unreadable header, or a side below ``limits.min_side``.

    """
    if not data:
        raise ImageRejected("The image has 0 bytes.", cure="Send the image's bytes.")
    if len(data) > limits.max_bytes:
        raise _too_large("bytes", len(data), "max_bytes", limits.max_bytes)
    facts = read_facts(data)
    size = f"{facts.width} x {facts.height} pixels"
    longer, shorter = max(facts.width, facts.height), min(facts.width, facts.height)
    if shorter < limits.min_side:
        raise ImageRejected(
            f"The image claims {size}; each side needs at least {limits.min_side} (frames.min_side).",
            cure="Send the full frame, or lower the setting.",
        )
    if longer > limits.max_side:
        raise _too_large(f"pixels on its longer side ({size})", longer, "max_side", limits.max_side)
    if facts.width * facts.height > limits.max_pixels:
        raise _too_large(f"pixels ({size})", facts.width * facts.height, "max_pixels", limits.max_pixels)
    return facts


def verify(data: bytes, limits: FrameSettings) -> ImageFacts:
    """Prove that :func:`decode` will succeed, cheaper: a JPEG's data are read in full but at an eighth of its size.

    Raises:
        ImageTooLarge: see :func:`inspect_header`.
        ImageRejected: truncated, damaged or lying about its size.

    """
    facts = inspect_header(data, limits)
    check_structure(data, facts.media_type)
    if facts.media_type == "image/jpeg":
        _decode_jpeg(data, facts, eighth=True)
    else:
        _decode_by_pillow(data, facts)
    return facts


def decode(data: bytes, limits: FrameSettings) -> NDArray[np.uint8]:
    """Decode one image: ``[height, width]`` when it is grey, ``[height, width, 3]`` RGB when it has colours.

    Raises:
        ImageTooLarge: see :func:`inspect_header`.
        ImageRejected: truncated, damaged or lying about its size.

    """
    facts = inspect_header(data, limits)
    check_structure(data, facts.media_type)
    return _decode_jpeg(data, facts) if facts.media_type == "image/jpeg" else _decode_by_pillow(data, facts)


def _too_large(what: str, value: int, setting: str, limit: int) -> ImageTooLarge:
    return ImageTooLarge(
        f"The image has {value} {what}; at most {limit} are accepted (frames.{setting}).",
        cure="Send a smaller image, or raise the setting.",
    )


def _damaged(error: Exception) -> ImageRejected:
    return ImageRejected(f"The image data are damaged: {error}.", cure=UNTOUCHED)


def _decode_jpeg(data: bytes, facts: ImageFacts, *, eighth: bool = False) -> NDArray[np.uint8]:
    smallest = 1 if eighth else 0
    try:
        height, width, space, _ = simplejpeg.decode_jpeg_header(data)
        _same_size(facts, width, height)
        target = _target_space(space, eighth=eighth)
        pixels: NDArray[np.uint8] = simplejpeg.decode_jpeg(
            data, target, min_height=smallest, min_width=smallest, strict=True
        )
    except ValueError as error:
        raise _damaged(error) from error
    if target == "GRAY":
        return pixels[:, :, 0]
    return _from_ink(pixels) if target == "CMYK" else pixels


def _target_space(space: str, *, eighth: bool) -> str:
    """What to decode to. For a check the luminance is enough: every component passes the entropy decoder anyway."""
    if space in {"CMYK", "YCCK"}:
        return "CMYK"
    if space == "Gray":
        return "GRAY"
    return "GRAY" if eighth and space == "YCbCr" else "RGB"


def _same_size(facts: ImageFacts, width: int, height: int) -> None:
    if (width, height) != (facts.width, facts.height):
        raise ValueError(f"the header states {facts.width} x {facts.height} pixels, the data {width} x {height}")


def _from_ink(inverted: NDArray[np.uint8]) -> NDArray[np.uint8]:
    """Adobe's inverted CMYK ``[h, w, 4]`` to RGB ``[h, w, 3]``: 255 means no ink, so light is C * K, M * K, Y * K."""
    black = inverted[:, :, 3:].astype(np.uint16)
    return ((inverted[:, :, :3] * black + 127) // 255).astype(np.uint8)


def _decode_by_pillow(data: bytes, facts: ImageFacts) -> NDArray[np.uint8]:
    try:
        with _open(data, facts) as image:
            _same_size(facts, *image.size)
            return _to_array(image)
    except _DAMAGE as error:
        raise _damaged(error) from error


def _open(data: bytes, facts: ImageFacts) -> Image.Image:
    """The plug-in of one format and no other; Pillow's global bomb guard is not needed behind ``inspect_header``."""
    if facts.media_type == "image/bmp":
        return BmpImageFile(io.BytesIO(data))
    if facts.media_type == "image/webp":
        return WebPImageFile(io.BytesIO(data))
    return PngImageFile(io.BytesIO(png.pixels_only(data)))


def _to_array(image: Image.Image) -> NDArray[np.uint8]:
    if image.mode.startswith("I;16"):
        return (np.asarray(image) >> 8).astype(np.uint8)
    return np.array(image.convert("L" if image.mode in _GREY_MODES else "RGB"))
