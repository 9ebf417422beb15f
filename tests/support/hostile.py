"""Requests that must be refused: what they send, and the answer they are due."""

from __future__ import annotations

import io
import json
import struct
import zipfile
from dataclasses import dataclass, field

from tests.support import images

BOUNDARY = "b0undary"
FORM = f"multipart/form-data; boundary={BOUNDARY}"


@dataclass(frozen=True)
class Hostile:
    """A request and the answer that it is due: status, and a piece of the reason."""

    status: int
    why: str
    body: bytes
    media_type: str = "application/octet-stream"
    query: str = ""
    headers: dict[str, str] = field(default_factory=dict)


def part(name: str, body: bytes, filename: str | None = "x.jpg", head: str = "") -> bytes:
    """One part of a multipart body."""
    file = "" if filename is None else f'; filename="{filename}"'
    return (
        f'--{BOUNDARY}\r\nContent-Disposition: form-data; name="{name}"{file}\r\n{head}\r\n'.encode() + body + b"\r\n"
    )


def form(*parts: bytes, end: bytes = f"--{BOUNDARY}--\r\n".encode()) -> bytes:
    return b"".join(parts) + end


def with_meta(meta: object, *, count: int = 1) -> bytes:
    """Images with the part ``meta``, given as JSON text or as what is to become JSON."""
    text = meta if isinstance(meta, bytes) else json.dumps(meta).encode()
    return form(*[part("images", GOOD)] * count, part("meta", text, None))


GOOD = images.frame(7)
JPEG = images.samples()["jpeg"]
PNG = images.samples()["png"]
BMP = images.samples()["bmp"]
WEBP = images.samples()["webp"]
TIFF = images.encode(images.rgb(), "TIFF")
GIF = images.encode(images.rgb(), "GIF")
GIF_ANIMATED = images.animated("GIF")


def archive() -> bytes:
    out = io.BytesIO()
    with zipfile.ZipFile(out, "w") as file:
        file.writestr("../../etc/cron.d/x", "* * * * * root true")
    return out.getvalue()


TRUNCATED = {
    f"{name} cut at {share:.0%}": Hostile(422, "", data[: int(len(data) * share)])
    for name, data in (("jpeg", JPEG), ("png", PNG), ("bmp", BMP), ("webp", WEBP))
    for share in (0.01, 0.1, 0.5, 0.9, 0.999)
}

BODIES = {
    "nothing": Hostile(422, "0 bytes", b""),
    "null bytes": Hostile(422, "unknown", bytes(4_096)),
    "one byte": Hostile(422, "unknown", b"\xff"),
    "jpeg start alone": Hostile(422, "ends within its header", b"\xff\xd8\xff"),
    "png start alone": Hostile(422, "ends within its header", PNG[:8]),
    "bmp start alone": Hostile(422, "ends within its header", b"BM"),
    "text": Hostile(422, "unknown", b"definitely an image"),
    "html": Hostile(422, "markup", b"<!DOCTYPE html><script>alert(1)</script>", "image/png"),
    "svg": Hostile(422, "markup", b"<svg xmlns='http://www.w3.org/2000/svg'><image href='file:///etc/passwd'/></svg>"),
    "xml bomb": Hostile(422, "markup", b'<?xml version="1.0"?><!DOCTYPE l [<!ENTITY a "a"><!ENTITY b "&a;&a;">]>'),
    "gif": Hostile(422, "a GIF", GIF, "image/gif"),
    "animated gif": Hostile(422, "a GIF", GIF_ANIMATED, "image/jpeg"),
    "tiff": Hostile(422, "a TIFF", TIFF, "image/tiff"),
    "photoshop": Hostile(422, "Photoshop", b"8BPS\0\1" + bytes(100)),
    "pdf": Hostile(422, "a PDF", b"%PDF-1.7\n" + bytes(100)),
    "elf": Hostile(422, "an ELF program", b"\x7fELF\x02\x01\x01" + bytes(200), "image/jpeg"),
    "windows program": Hostile(422, "a Windows program", b"MZ\x90\0" + bytes(200)),
    "zip": Hostile(422, "a zip archive", archive(), "image/jpeg"),
    "gzipped image": Hostile(422, "a gzip file", b"\x1f\x8b\x08" + bytes(40)),
    "heic": Hostile(422, "HEIC", b"\0\0\0\x18ftypheic" + bytes(40)),
    "polyglot of jpeg and zip": Hostile(422, "followed by", JPEG + archive()),
    "polyglot of png and html": Hostile(422, "followed by", PNG + b"<script>alert(1)</script>"),
    "polyglot of bmp and elf": Hostile(422, "followed by", BMP + b"\x7fELF"),
    "polyglot of webp and pdf": Hostile(422, "followed by", WEBP + b"%PDF-1.7"),
    "two jpegs": Hostile(422, "followed by", JPEG + JPEG),
    "jpeg of 65,500 pixels": Hostile(413, "max_side", images.with_jpeg_size(JPEG, 65_500, 65_500)),
    "jpeg of 12,000 hollow pixels": Hostile(422, "cannot hold", images.with_jpeg_size(JPEG, 12_000, 4_000)),
    "jpeg with more rows than data": Hostile(422, "damaged", images.with_jpeg_size(JPEG, 96, 4_000)),
    "jpeg with fewer rows than data": Hostile(422, "damaged", images.with_jpeg_size(JPEG, 96, 40)),
    "jpeg of no height": Hostile(422, "at least 16", images.with_jpeg_size(JPEG, 96, 0)),
    "jpeg without an end": Hostile(422, "no end-of-image", JPEG[:-2]),
    "jpeg with a hole": Hostile(422, "damaged", JPEG[:900] + bytes(60) + JPEG[960:]),
    "jpeg with a lost segment": Hostile(422, "damaged", JPEG[:200] + JPEG[300:]),
    "jpeg of many scans": Hostile(422, "more than 100 scans", images.many_scans(3_000)),
    "png bomb": Hostile(413, "max_side", images.png(2**31 - 1, 2**31 - 1, b"")),
    "png of 20,000 pixels": Hostile(413, "max_side", images.png(20_000, 16, bytes(20_001 * 16))),
    "png of 100 million pixels": Hostile(413, "max_pixels", images.png(10_000, 10_000, b"")),
    "png of 50 million hollow pixels": Hostile(422, "cannot hold", images.png(10_000, 5_000, b"")),
    "png with more rows than data": Hostile(422, "its data end after", images.with_png_size(PNG, 96, 200)),
    "png with fewer rows than data": Hostile(422, "its data end after", images.with_png_size(PNG, 96, 20)),
    "png with a wrong checksum": Hostile(422, "checksum", PNG[:60] + b"\x55" + PNG[61:]),
    "png with a lying header": Hostile(422, "checksum of chunk b'IHDR'", PNG[:16] + b"\0\0\0\x50" + PNG[20:]),
    "png without data": Hostile(422, "cannot hold", PNG[:33] + images.chunk(b"IEND", b"")),
    "animated png": Hostile(422, "animated", images.animated("PNG")),
    "animated webp": Hostile(422, "animated", images.animated("WEBP")),
    "webp that lies about its length": Hostile(422, "claims", WEBP[:4] + b"\xff\xff\xff\x7f" + WEBP[8:]),
    "bmp of negative width": Hostile(422, "at least 16", BMP[:18] + struct.pack("<i", -96) + BMP[22:]),
    "bmp with more rows than data": Hostile(422, "claims", BMP[:22] + struct.pack("<i", 11_000) + BMP[26:]),
    "bmp with an overflowing size": Hostile(413, "max_side", BMP[:18] + b"\xff\xff\xff\x7f" * 2 + BMP[26:]),
    "too many bytes": Hostile(413, "frames.max_bytes", bytes(2_000_001)),
}

REQUESTS = {
    "an image as text": Hostile(415, "'text/plain'", GOOD, "text/plain"),
    "an image as json": Hostile(415, "'application/json'", GOOD, "application/json"),
    "an encoded form": Hostile(415, "urlencoded", b"images=x", "application/x-www-form-urlencoded"),
    "no boundary": Hostile(400, "boundary", form(part("images", GOOD)), "multipart/form-data"),
    "wrong boundary": Hostile(400, "cannot be read", form(part("images", GOOD)), "multipart/form-data; boundary=other"),
    "broken form": Hostile(400, "closing boundary", b"\r\n\r\n" + bytes(100), FORM),
    "form without an end": Hostile(400, "closing boundary", form(part("images", GOOD), end=b""), FORM),
    "second image cut off": Hostile(
        400, "closing", form(part("images", GOOD), part("images", GOOD)[:-200], end=b""), FORM
    ),
    "part without a name": Hostile(
        400, "name", form(b"--b0undary\r\nContent-Disposition: form-data\r\n\r\nx\r\n"), FORM
    ),
    "empty form": Hostile(422, "no image", form(part("meta", b"[]", None)), FORM),
    "too many images": Hostile(413, "api.max_images", form(*[part("images", GOOD)] * 65), FORM),
    "too many fields": Hostile(400, "Too many fields", form(*[part("meta", b"[]", None)] * 9), FORM),
    "unknown part": Hostile(422, "unknown", form(part("image", GOOD)), FORM),
    "image without a filename": Hostile(422, "no filename", form(part("images", GOOD, None)), FORM),
    "meta as a file": Hostile(422, "is a file", form(part("images", GOOD), part("meta", b"[{}]")), FORM),
    "huge meta": Hostile(400, "Part exceeded", with_meta(b"[" + b" " * 1_100_000 + b"{}]"), FORM),
    "huge part header": Hostile(
        400, "cannot be read", form(part("images", GOOD, head=f"X-A: {'a' * 200_000}\r\n")), FORM
    ),
    "meta is NaN": Hostile(422, "meta", with_meta(b"NaN"), FORM),
    "meta holds NaN": Hostile(422, "frame_key", with_meta(b'[{"frame_key": NaN}]'), FORM),
    "meta holds a number": Hostile(422, "frame_key", with_meta([{"frame_key": 7}]), FORM),
    "meta is no JSON": Hostile(422, "meta", with_meta(b"{oops"), FORM),
    "meta is deep": Hostile(422, "meta", with_meta(b"[" * 50_000), FORM),
    "meta is an object": Hostile(422, "meta", with_meta({"frame_key": "x"}), FORM),
    "meta is too short": Hostile(422, "describes 1 images, 2 were sent", with_meta([{}], count=2), FORM),
    "meta is too long": Hostile(422, "describes 2 images, 1 were sent", with_meta([{}, {}]), FORM),
    "meta names an unknown field": Hostile(422, "camera_id", with_meta([{"camera_id": 1}]), FORM),
    "meta holds a null byte": Hostile(422, "printable", with_meta([{"frame_key": "a\0b"}]), FORM),
    "meta holds half a character": Hostile(422, "meta", with_meta(b'[{"frame_key": "\\ud800"}]'), FORM),
    "meta is not UTF-8": Hostile(422, "", with_meta(b'[{"frame_key": "\xff\x80"}]'), FORM),
    "meta with a long key": Hostile(422, "at most 200", with_meta([{"frame_key": "k" * 100_000}]), FORM),
    "path as a filename": Hostile(422, "markup", form(part("images", b"<x>", "../../../etc/passwd")), FORM),
    "endless filename": Hostile(400, "cannot be read", form(part("images", GOOD, "x" * 50_000)), FORM),
    "null byte in a filename": Hostile(422, "markup", form(part("images", b"<x>", "a\0.jpg")), FORM),
    "one bad of many": Hostile(422, "Image 2:", form(*[part("images", one) for one in (GOOD, PNG, b"x", BMP)]), FORM),
    "fields beside a form": Hostile(422, "raw body only", form(part("images", GOOD)), FORM, "?frame_key=a"),
    "null byte in the query": Hostile(422, "printable", GOOD, query="?frame_key=a%00b"),
    "broken UTF-8 in the query": Hostile(422, "valid UTF-8", GOOD, query="?frame_key=%ff%fe"),
    "unknown query": Hostile(422, "admin", GOOD, query="?admin=1"),
    "long query": Hostile(422, "at most 200", GOOD, query="?frame_key=" + "k" * 20_000),
    "long header": Hostile(422, "at most 200", GOOD, headers={"Gistline-Frame-Key": "k" * 30_000}),
    "SQL in a line": Hostile(422, "stands at", GOOD, query="?line=x'; DROP TABLE frames; --"),
    "future": Hostile(422, "is not between", GOOD, query="?captured_at=9999-12-31T23:59:59Z"),
    "no key": Hostile(401, "no key", GOOD, headers={"Authorization": ""}),
    "other scheme": Hostile(401, "no key", GOOD, headers={"Authorization": "Basic Z2w6eA=="}),
    "unknown key": Hostile(401, "unknown or revoked", GOOD, headers={"Authorization": "Bearer gl_" + "A" * 43}),
    "SQL as a key": Hostile(401, "unknown or revoked", GOOD, headers={"Authorization": "Bearer ' OR 1=1 --"}),
    "endless key": Hostile(401, "unknown or revoked", GOOD, headers={"Authorization": "Bearer " + "A" * 20_000}),
}

ALL = TRUNCATED | BODIES | REQUESTS
