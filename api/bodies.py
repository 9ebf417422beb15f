"""From a request's body to images, within limits that hold while the body still arrives."""

from __future__ import annotations

import asyncio
import re
from collections.abc import AsyncGenerator, Sequence
from contextlib import aclosing

from fastapi import Request
from pydantic import TypeAdapter, ValidationError
from starlette.datastructures import FormData, UploadFile
from starlette.formparsers import MultiPartException, MultiPartParser

from api.problems import MediaTypeRefused, RequestMalformed, RequestTooLarge, RequestTooSlow, rejected
from api.schemas import FrameFields
from gistline.errors import ImageTooLarge, RequestRejected
from gistline.flows.submit_frames import Submitted
from gistline.settings import Settings

MULTIPART = "multipart/form-data"
MAX_META_BYTES = 1_000_000
FIELD_HEADERS = {f"gistline-{name.replace('_', '-')}": name for name in FrameFields.model_fields}
_TRACEPARENT = re.compile(r"[0-9a-f]{2}-[0-9a-f]{32}-[0-9a-f]{16}-[0-9a-f]{2}")
_META = TypeAdapter(list[FrameFields])


async def read_images(request: Request, query: FrameFields, settings: Settings) -> list[Submitted]:
    """Images of a request with their fields: one as a raw body, or several as multipart/form-data.

    Raises:
        RequestRejected: fields that are wrong, given twice, or do not fit the images (its subclasses in
            :mod:`api.problems`: too large, too slow, malformed, no image type).
        ImageTooLarge: a raw body longer than ``frames.max_bytes``.

    """
    fields = _with_headers(request, query)
    media_type = request.headers.get("content-type", "application/octet-stream").partition(";")[0].strip().lower()
    try:
        async with asyncio.timeout(settings.api.receive_timeout_s):
            if media_type == MULTIPART:
                return await _read_parts(request, fields, settings)
            _require_image_type(media_type)
            return [_submitted(request, await _read_raw(request, settings), fields)]
    except TimeoutError as error:
        raise RequestTooSlow(
            f"The body did not arrive within {settings.api.receive_timeout_s} s.", cure="Send fewer or smaller images."
        ) from error


def _require_image_type(media_type: str) -> None:
    if not media_type.startswith("image/") and media_type != "application/octet-stream":
        raise MediaTypeRefused(
            f"Content-Type {media_type!r} holds no image.",
            cure=f"Send image/* or application/octet-stream with one image, or {MULTIPART} with several.",
        )


def _with_headers(request: Request, query: FrameFields) -> FrameFields:
    """Fields of the query string and of the headers ``Gistline-...``, which may not contradict each other."""
    given = {header: value for header, value in request.headers.items() if header.startswith("gistline-")}
    unknown = sorted(given.keys() - FIELD_HEADERS.keys())
    if unknown:
        raise RequestRejected(f"Header {unknown[0]!r} is unknown.", cure=f"Known are {', '.join(FIELD_HEADERS)}.")
    if not all(value.isascii() for value in given.values()):
        raise RequestRejected("A field's header is not ASCII.", cure="Give the field in the query string instead.")
    try:
        fields = FrameFields.model_validate({FIELD_HEADERS[header]: value for header, value in given.items()})
    except ValidationError as error:
        raise rejected("Headers", error) from error
    for name in query.model_fields_set & fields.model_fields_set:
        if getattr(query, name) != getattr(fields, name):
            raise RequestRejected(f"{name} is given twice, differently.", cure="Give it once.")
    return fields.model_copy(update=query.model_dump(include=query.model_fields_set))


async def _read_raw(request: Request, settings: Settings) -> bytes:
    limit = min(settings.frames.max_bytes, settings.api.max_request_bytes)
    try:
        async with aclosing(_limited(request, limit)) as stream:
            return b"".join([chunk async for chunk in stream])
    except RequestTooLarge as error:
        raise ImageTooLarge(
            f"The image has more than {limit} bytes (frames.max_bytes).",
            cure="Send a smaller image, or raise the limit.",
        ) from error


async def _limited(request: Request, limit: int) -> AsyncGenerator[bytes, None]:
    """Chunks of the body, broken off as soon as there are more bytes than ``limit``, or as many are announced."""
    announced = request.headers.get("content-length", "")
    seen = int(announced) if announced.isdecimal() else 0
    if seen <= limit:
        seen = 0
        async for chunk in request.stream():
            seen += len(chunk)
            if seen > limit:
                break
            yield chunk
    if seen > limit:
        raise RequestTooLarge(
            f"The body has more than {limit} bytes (api.max_request_bytes).", cure="Send fewer images in one request."
        )


class _Parser(MultiPartParser):
    """Keeps files in memory, where they go anyway, and notes whether the closing boundary came."""

    is_whole = False

    def on_end(self) -> None:
        """Note that nothing is missing."""
        self.is_whole = True

    def discard(self) -> None:
        """Close every file, also one whose end never came."""
        for file in self._files_to_close_on_error:
            file.close()


async def _read_parts(request: Request, fields: FrameFields, settings: Settings) -> list[Submitted]:
    if fields.model_fields_set:
        raise RequestRejected(
            "Fields in headers or the query string go with a raw body only.", cure="Put them into the part 'meta'."
        )
    form = await _parse(request, settings)
    try:
        unknown = sorted({name[:40] for name in form if name not in {"images", "meta"}})
        if unknown:
            raise RequestRejected(f"Parts {unknown} are unknown.", cure="Known are 'images' (files) and 'meta' (JSON).")
        files = [part for part in form.getlist("images") if isinstance(part, UploadFile)]
        if len(files) != len(form.getlist("images")):
            raise RequestRejected("A part 'images' has no filename.", cure="Send images as files.")
        metas = _read_meta(form, len(files))
        return [_submitted(request, await file.read(), meta) for file, meta in zip(files, metas, strict=True)]
    finally:
        await form.close()


async def _parse(request: Request, settings: Settings) -> FormData:
    async with aclosing(_limited(request, settings.api.max_request_bytes)) as stream:
        parser = _Parser(
            request.headers,
            stream,
            max_files=settings.api.max_images,
            max_fields=1,
            max_part_size=MAX_META_BYTES,
        )
        parser.spool_max_size = settings.api.max_request_bytes
        try:
            form = await parser.parse()
        except MultiPartException as error:
            raise _malformed(error, settings.api.max_images) from error
    if not parser.is_whole:
        parser.discard()
        raise RequestMalformed("The multipart body ends before its closing boundary.", cure="Send the whole body.")
    return form


def _malformed(error: MultiPartException, max_images: int) -> RequestRejected:
    if error.message.startswith("Too many files"):
        return RequestTooLarge(
            f"The request holds more than {max_images} images (api.max_images).", cure="Send them in several requests."
        )
    return RequestMalformed(
        f"The multipart body cannot be read: {error.message}", cure="Send files as 'images' and one field 'meta'."
    )


def _read_meta(form: FormData, count: int) -> Sequence[FrameFields]:
    raw = form.get("meta")
    if raw is None:
        return [FrameFields()] * count
    if not isinstance(raw, str):
        raise RequestRejected("The part 'meta' is a file.", cure="Send it as a plain form field that holds JSON.")
    try:
        found = _META.validate_json(raw)
    except ValidationError as error:
        raise rejected("meta", error) from error
    if len(found) != count:
        raise RequestRejected(
            f"meta describes {len(found)} images, {count} were sent.", cure="Give one object for each image, in order."
        )
    return found


def _submitted(request: Request, data: bytes, fields: FrameFields) -> Submitted:
    trace = request.headers.get("traceparent", "")
    return Submitted(data, traceparent=trace if _TRACEPARENT.fullmatch(trace) else None, **fields.model_dump())
