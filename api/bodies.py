"""From a request's body to images, within limits that hold while the body still arrives."""

from __future__ import annotations

import asyncio
import re
from collections.abc import AsyncGenerator, Sequence
from contextlib import aclosing
from dataclasses import dataclass

from fastapi import Request
from pydantic import TypeAdapter, ValidationError
from starlette.datastructures import Headers

from api.forms import Part, parts_of
from api.problems import MediaTypeRefused, RequestTooLarge, RequestTooSlow, rejected
from api.schemas import FrameFields
from gistline.errors import ImageTooLarge, RequestRejected
from gistline.flows.submit_frames import Submitted
from gistline.settings import Settings

MULTIPART = "multipart/form-data"
FIELD_HEADERS = {f"gistline-{name.replace('_', '-')}": name for name in FrameFields.model_fields}
_TRACEPARENT = re.compile(r"[0-9a-f]{2}-[0-9a-f]{32}-[0-9a-f]{16}-[0-9a-f]{2}")
_META = TypeAdapter(list[FrameFields])
_FIELDS = tuple(FrameFields.model_fields)


@dataclass(frozen=True, slots=True)
class Upload:
    """A request as it arrived: its headers, its fields outside the body, and the body, which nobody has looked into."""

    headers: Headers
    fields: FrameFields
    body: bytes

    def images(self, max_images: int) -> list[Submitted]:
        """Take the body apart; costs CPU time, so call it in a thread.

        Raises:
            RequestRejected: a form that is malformed, or fields that do not fit its images.

        """
        if _media_type(self.headers) != MULTIPART:
            return [self._submitted(self.body, self.fields)]
        parts = parts_of(self.headers["content-type"], self.body, max_files=max_images)
        unknown = sorted({part.name[:40] for part in parts if part.name not in {"images", "meta"}})
        if unknown:
            raise RequestRejected(f"Parts {unknown} are unknown.", cure="Known are 'images' (files) and 'meta' (JSON).")
        files = [part for part in parts if part.name == "images"]
        if not all(part.is_file for part in files):
            raise RequestRejected("A part 'images' has no filename.", cure="Send images as files.")
        metas = _read_meta([part for part in parts if part.name == "meta"], len(files))
        return [self._submitted(file.data, meta) for file, meta in zip(files, metas, strict=True)]

    def _submitted(self, data: bytes, fields: FrameFields) -> Submitted:
        trace = self.headers.get("traceparent", "")
        traceparent = trace if _TRACEPARENT.fullmatch(trace) else None
        # by attribute: model_dump would cost as much as all else that is done for a frame here
        return Submitted(data, traceparent=traceparent, **{name: getattr(fields, name) for name in _FIELDS})


async def receive(request: Request, query: FrameFields, settings: Settings) -> Upload:
    """Read a request with images: one as a raw body, or several as multipart/form-data.

    Raises:
        RequestRejected: fields that are wrong, given twice, or do not go with a form (its subclasses in
            :mod:`api.problems`: too large, too slow, no image type).
        ImageTooLarge: a raw body longer than ``frames.max_bytes``.

    """
    fields = _with_headers(request, query)
    media_type = _media_type(request.headers)
    try:
        async with asyncio.timeout(settings.api.receive_timeout_s):
            if media_type == MULTIPART:
                body = await _read_form(request, fields, settings)
            else:
                _require_image_type(media_type)
                body = await _read_raw(request, settings)
    except TimeoutError as error:
        raise RequestTooSlow(
            f"The body did not arrive within {settings.api.receive_timeout_s} s.", cure="Send fewer or smaller images."
        ) from error
    return Upload(request.headers, fields, body)


def _media_type(headers: Headers) -> str:
    return headers.get("content-type", "application/octet-stream").partition(";")[0].strip().lower()


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
        return await _joined(request, limit)
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


async def _read_form(request: Request, fields: FrameFields, settings: Settings) -> bytes:
    if fields.model_fields_set:
        raise RequestRejected(
            "Fields in headers or the query string go with a raw body only.", cure="Put them into the part 'meta'."
        )
    return await _joined(request, settings.api.max_request_bytes)


async def _joined(request: Request, limit: int) -> bytes:
    async with aclosing(_limited(request, limit)) as stream:
        return b"".join([chunk async for chunk in stream])


def _read_meta(found: Sequence[Part], count: int) -> Sequence[FrameFields]:
    if not found:
        return [FrameFields()] * count
    if any(part.is_file for part in found):
        raise RequestRejected("The part 'meta' is a file.", cure="Send it as a plain form field that holds JSON.")
    try:
        metas = _META.validate_json(found[0].data)
    except ValidationError as error:
        raise rejected("meta", error) from error
    if len(metas) != count:
        raise RequestRejected(
            f"meta describes {len(metas)} images, {count} were sent.", cure="Give one object for each image, in order."
        )
    return metas
