"""A body of multipart/form-data taken apart: names and bytes of its parts, nothing about what they mean.

The whole body is there already, and its length was bounded while it arrived; the parser therefore hands out places in
it, and each part is copied once.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Final

from python_multipart.exceptions import FormParserError
from python_multipart.multipart import MultipartParser, parse_options_header

from api.problems import RequestMalformed, RequestTooLarge

MAX_FIELDS: Final = 1
MAX_FIELD_BYTES: Final = 1_000_000
_DISPOSITION: Final = b"content-disposition"
_CURE: Final = "Send files as 'images' and one field 'meta'."


@dataclass(slots=True)
class Part:
    """A part's name and bytes; a file is what has a filename, whatever that is."""

    name: str = ""
    is_file: bool = False
    data: bytes = b""


@dataclass(slots=True)
class _Open:
    """A part of which the parser has not seen the end."""

    disposition: bytes = b""
    header: bytearray = field(default_factory=bytearray)
    value: bytearray = field(default_factory=bytearray)
    pieces: list[bytes] = field(default_factory=list)
    size: int = 0


def parts_of(content_type: str, body: bytes, *, max_files: int) -> list[Part]:
    """Parts of a form in their order; at most ``max_files`` files and one other field of ``MAX_FIELD_BYTES``.

    Raises:
        RequestTooLarge: more files than that.
        RequestMalformed: no boundary, no closing boundary, a part without a name, too many or too long fields.

    """
    boundary = parse_options_header(content_type)[1].get(b"boundary")
    if boundary is None:
        raise _malformed("Missing boundary in multipart.")
    form = _Form(max_files)
    try:
        parser = MultipartParser(
            boundary,
            {
                "on_part_begin": form.begin,
                "on_header_field": form.add_header,
                "on_header_value": form.add_value,
                "on_header_end": form.end_header,
                "on_headers_finished": form.end_headers,
                "on_part_data": form.add_data,
                "on_part_end": form.end_part,
                "on_end": form.end,
            },
        )
        parser.write(body)
        parser.finalize()
    except FormParserError as error:
        raise _malformed("Invalid multipart data.") from error
    if not form.is_whole:
        raise RequestMalformed("The multipart body ends before its closing boundary.", cure="Send the whole body.")
    return form.parts


class _Form:
    """Callbacks of the parser. All data come in one piece or in few: the body is given to it at once."""

    def __init__(self, max_files: int) -> None:
        self.parts: list[Part] = []
        self.is_whole = False
        self._max_files = max_files
        self._files = self._fields = 0
        self._open = _Open()

    def begin(self) -> None:
        self._open = _Open()
        self.parts.append(Part())

    def add_header(self, data: bytes, start: int, end: int) -> None:
        self._open.header += data[start:end]

    def add_value(self, data: bytes, start: int, end: int) -> None:
        self._open.value += data[start:end]

    def end_header(self) -> None:
        if self._open.header.lower() == _DISPOSITION:
            self._open.disposition = bytes(self._open.value)
        self._open.header.clear()
        self._open.value.clear()

    def end_headers(self) -> None:
        part, options = self.parts[-1], parse_options_header(self._open.disposition)[1]
        if b"name" not in options:
            raise _malformed('The Content-Disposition header field "name" must be provided.')
        part.name = options[b"name"].decode(errors="replace")
        part.is_file = b"filename" in options
        self._files += part.is_file
        self._fields += not part.is_file
        if self._files > self._max_files:
            raise RequestTooLarge(
                f"The request holds more than {self._max_files} images (api.max_images).",
                cure="Send them in several requests.",
            )
        if self._fields > MAX_FIELDS:
            raise _malformed(f"Too many fields. Maximum number of fields is {MAX_FIELDS}.")

    def add_data(self, data: bytes, start: int, end: int) -> None:
        self._open.size += end - start
        if not self.parts[-1].is_file and self._open.size > MAX_FIELD_BYTES:
            raise _malformed(f"Part exceeded maximum size of {MAX_FIELD_BYTES} bytes.")
        self._open.pieces.append(data[start:end])

    def end_part(self) -> None:
        pieces = self._open.pieces
        self.parts[-1].data = pieces[0] if len(pieces) == 1 else b"".join(pieces)

    def end(self) -> None:
        self.is_whole = True


def _malformed(why: str) -> RequestMalformed:
    return RequestMalformed(f"The multipart body cannot be read: {why}", cure=_CURE)
