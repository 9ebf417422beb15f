"""Accepted kinds come out right; limits hold before anything is allocated; every refusal says why and what cures it."""

from __future__ import annotations

import struct

import numpy as np
import pytest
from PIL import Image

from gistline.errors import GistlineError, ImageRejected, ImageTooLarge
from gistline.frames.decode import decode, inspect_header, verify
from gistline.frames.headers import ImageFacts
from gistline.settings_frames import FrameSettings
from tests.support import images

LIMITS = FrameSettings(max_bytes=100_000, max_side=1_000, max_pixels=200_000)
SAMPLES = images.samples()
GREY = {"jpeg-grey", "png-grey", "png-1bit", "png-16bit", "png-grey-alpha", "png-interlaced", "bmp-grey", "bmp-1bit"}
LOSSLESS = ("png", "png-alpha", "bmp", "bmp-alpha", "webp-lossless")


@pytest.mark.parametrize("name", SAMPLES)
def test_every_kind_has_its_shape_and_facts(name: str) -> None:
    data, (width, height) = SAMPLES[name], images.SIZE
    pixels = decode(data, LIMITS)
    assert pixels.dtype == np.uint8
    assert pixels.shape == ((height, width) if name in GREY else (height, width, 3))
    expected = ImageFacts(f"image/{name.partition('-')[0]}", width, height)
    assert verify(data, LIMITS) == inspect_header(data, LIMITS) == expected


@pytest.mark.parametrize("name", LOSSLESS)
def test_lossless_kinds_are_exact_rgb(name: str) -> None:
    assert np.array_equal(decode(SAMPLES[name], LIMITS), images.picture())


@pytest.mark.parametrize("name", ["jpeg", "jpeg-444", "jpeg-progressive", "jpeg-restarts", "webp", "webp-alpha"])
def test_lossy_kinds_are_close_and_not_swapped(name: str) -> None:
    difference = decode(SAMPLES[name], LIMITS).astype(int) - images.picture()
    assert np.abs(difference).mean() < 20
    swapped = decode(SAMPLES[name], LIMITS)[:, :, ::-1].astype(int) - images.picture()
    assert np.abs(swapped).mean() > 2 * np.abs(difference).mean()


def test_grey_jpeg_is_close() -> None:
    difference = decode(SAMPLES["jpeg-grey"], LIMITS).astype(int) - np.asarray(images.grey())
    assert np.abs(difference).mean() < 4


def test_cmyk_jpeg_is_read_as_adobe_writes_it() -> None:
    difference = decode(SAMPLES["jpeg-cmyk"], LIMITS).astype(int) - images.picture()
    assert np.abs(difference).mean() < 16


def test_one_bit_png_is_black_and_white() -> None:
    expected = np.where(np.asarray(images.grey().convert("1")), 255, 0)
    assert np.array_equal(decode(SAMPLES["png-1bit"], LIMITS), expected)


def test_sixteen_bits_keep_the_high_byte() -> None:
    assert np.array_equal(decode(SAMPLES["png-16bit"], LIMITS), np.asarray(images.grey()))


def test_interlaced_png_is_put_together() -> None:
    assert np.array_equal(decode(SAMPLES["png-interlaced"], LIMITS), np.asarray(images.grey()))


def test_transparency_is_dropped_not_blended() -> None:
    clear = images.rgb().convert("RGBA")
    clear.putalpha(0)
    assert np.array_equal(decode(images.encode(clear, "PNG"), LIMITS), images.picture())


def test_palette_is_looked_up() -> None:
    expected = np.asarray(images.rgb().convert("P").convert("RGB"))
    assert np.array_equal(decode(SAMPLES["png-palette"], LIMITS), expected)


def test_orientation_tags_are_ignored() -> None:
    exif = Image.Exif()
    exif[0x0112] = 6
    for kind in ("JPEG", "PNG", "WEBP"):
        assert decode(images.encode(images.rgb(), kind, exif=exif), LIMITS).shape[:2] == images.SIZE[::-1]


@pytest.mark.parametrize("name", SAMPLES)
def test_padding_behind_the_image_is_harmless(name: str) -> None:
    assert np.array_equal(decode(SAMPLES[name] + bytes(512), LIMITS), decode(SAMPLES[name], LIMITS))


@pytest.mark.parametrize("name", SAMPLES)
def test_another_file_behind_the_image_is_refused(name: str) -> None:
    with pytest.raises(ImageRejected, match="only padding"):
        verify(SAMPLES[name] + b"\0\0PK\x03\x04", LIMITS)


@pytest.mark.parametrize("name", SAMPLES)
def test_every_truncation_is_refused(name: str) -> None:
    data = SAMPLES[name]
    for length in {0, 1, 2, 3, 8, 20, 33, len(data) // 3, len(data) // 2, len(data) - 20, len(data) - 2, len(data) - 1}:
        for check in (decode, verify):
            with pytest.raises(ImageRejected):
                check(data[:length], LIMITS)


LARGE = {
    "bytes": (bytes(100_001), "100001 bytes", "max_bytes"),
    "jpeg 65500": (images.with_jpeg_size(SAMPLES["jpeg"], 65_500, 65_500), "65500", "max_side"),
    "png 20000": (images.png(20_000, 20_000, b""), "20000", "max_side"),
    "png bomb": (images.png(2**31 - 1, 2**31 - 1, b""), "2147483647", "max_side"),
    "png pixels": (images.png(900, 900, bytes(901 * 900)), "810000 pixels", "max_pixels"),
    "bmp negative": (SAMPLES["bmp"][:22] + struct.pack("<i", -(2**31)) + SAMPLES["bmp"][26:], "2147483648", "max_side"),
}


@pytest.mark.parametrize("name", LARGE)
def test_limits_name_the_value_the_limit_and_the_setting(name: str) -> None:
    data, value, setting = LARGE[name]
    with pytest.raises(ImageTooLarge, match=value) as caught:
        inspect_header(data, LIMITS)
    assert f"frames.{setting}" in caught.value.message
    assert str(getattr(LIMITS, setting)) in caught.value.message
    assert caught.value.cure


EXTENDED = images.encode(images.rgb(), "WEBP", exif=b"Exif\0\0II*\0\x08\0\0\0\0\0\0\0")
WIDE_CANVAS = EXTENDED[:24] + b"\x60" + EXTENDED[25:]

REFUSED = {
    "empty": (b"", "0 bytes"),
    "text": (b"hello", "unknown, starting 68 65 6c 6c 6f"),
    "html": (b"<!doctype html><p>", "markup"),
    "svg": (b"  <svg xmlns='http://www.w3.org/2000/svg'/>", "markup"),
    "gif": (images.encode(images.rgb(), "GIF"), "a GIF"),
    "tiff": (images.encode(images.rgb(), "TIFF"), "a TIFF"),
    "heic": (b"\0\0\0\x18ftypheic", "ISO media"),
    "elf": (b"\x7fELF\x02\x01\x01" + bytes(60), "an ELF"),
    "zip": (b"PK\x03\x04" + bytes(60), "a zip"),
    "too small": (images.encode(images.rgb().crop((0, 0, 15, 40)), "PNG"), "at least 16"),
    "zero width": (images.png(0, 80, b""), "at least 16"),
    "png checksum": (SAMPLES["png"][:45] + b"\x55" + SAMPLES["png"][46:], "checksum of chunk b'IDAT'"),
    "png without data": (b"\x89PNG\r\n\x1a\n" + SAMPLES["png"][8:33] + images.chunk(b"IEND", b""), "cannot hold"),
    "png hollow": (images.png(400, 400, b""), "cannot hold"),
    "png short": (images.png(96, 80, bytes(97 * 40)), "need 7760 bytes; its data end after 3880"),
    "png taller": (images.with_png_size(SAMPLES["png"], 96, 120), "its data end after 23120"),
    "png flatter": (images.with_png_size(SAMPLES["png"], 96, 40), "need 11560 bytes"),
    "png interlaced short": (images.with_png_size(SAMPLES["png-interlaced"], 96, 88), "its data end after"),
    "png bad deflate": (images.mend_checksums(SAMPLES["png"][:50] + b"\x55" * 40 + SAMPLES["png"][90:]), "damaged"),
    "png colour": (images.png(96, 80, bytes(97 * 80), colour=5), "colour type 5"),
    "apng": (images.animated("PNG"), "animated"),
    "webp animated": (images.animated("WEBP"), "animated"),
    "webp canvas": (WIDE_CANVAS, r"states \(97, 80\) pixels, its frames measure \[\(96, 80\)\]"),
    "webp truncated": (images.encode(images.rgb(), "WEBP")[:200], "claims"),
    "bmp rle": (SAMPLES["bmp-grey"][:30] + b"\x01" + SAMPLES["bmp-grey"][31:], "compressed"),
    "bmp taller": (SAMPLES["bmp"][:22] + struct.pack("<i", 400) + SAMPLES["bmp"][26:], "claims"),
    "jpeg taller": (images.with_jpeg_size(SAMPLES["jpeg"], 96, 400), "[Pp]remature end"),
    "jpeg hollow": (images.with_jpeg_size(images.frame(1, 32), 1_000, 200), "damaged|cannot hold"),
    "jpeg smaller": (images.with_jpeg_size(SAMPLES["jpeg"], 96, 40), "damaged"),
    "jpeg 12 bit": (SAMPLES["jpeg"].replace(b"\xff\xc0\x00\x11\x08", b"\xff\xc0\x00\x11\x0c"), "12 bits"),
    "jpeg no end": (SAMPLES["jpeg"][:-2], "end-of-image"),
    "jpeg zero height": (images.with_jpeg_size(SAMPLES["jpeg"], 96, 0), "at least 16"),
    "jpeg scans": (images.many_scans(120), "more than 100 scans"),
}


@pytest.mark.parametrize("name", REFUSED)
def test_refusals_say_why_and_how_to_cure_it(name: str) -> None:
    data, why = REFUSED[name]
    messages = []
    for check in (decode, verify):
        with pytest.raises(ImageRejected, match=why) as caught:
            check(data, FrameSettings())
        messages.append(caught.value.message)
        assert caught.value.cure
    assert messages[0] == messages[1]


def test_header_is_read_without_looking_at_the_pixels() -> None:
    spoilt = SAMPLES["png"][:60] + bytes(len(SAMPLES["png"]) - 60)
    assert inspect_header(spoilt, LIMITS).width == images.SIZE[0]
    with pytest.raises(GistlineError):
        verify(spoilt, LIMITS)
