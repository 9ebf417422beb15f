"""Pages of a list: how many, and behind which row. A cursor is opaque and good for one list with one filter."""

from __future__ import annotations

import binascii
import json
from base64 import urlsafe_b64decode, urlsafe_b64encode
from collections.abc import Sequence
from datetime import UTC, date, datetime
from hashlib import sha256
from typing import Annotated, Any, Final, Generic, TypeVar
from uuid import UUID

from pydantic import AfterValidator, BaseModel, ConfigDict, Field, TypeAdapter, ValidationError

from api.schemas import Answer, Moment, Name
from gistline.domain import Caller
from gistline.errors import NotAllowed, RequestRejected
from gistline.storage.keyset import Cut, Key, Page

T = TypeVar("T")
LONGEST: Final = 1_000
FIRST, LAST = datetime(1970, 1, 1, tzinfo=UTC), datetime(9999, 12, 30, tzinfo=UTC)


def _storable(moment: datetime) -> datetime:
    """The nearest time that ids and the database can hold: nothing here is older or newer."""
    return min(max(moment, FIRST), LAST)


Instant = Annotated[Moment, AfterValidator(_storable)]
RowId = Annotated[int, Field(ge=0, lt=2**63)]


class KeyKind:
    """What the cursors of a list hold: the types of its key's columns."""

    def __init__(self, kind: Any) -> None:
        self._adapter: TypeAdapter[Key] = TypeAdapter(kind)

    def read(self, values: Any) -> Key:
        """Key of what a cursor held.

        Raises:
            ValidationError: it is of another list, or made up.

        """
        return self._adapter.validate_python(values)


NUMBER: Final = KeyKind(tuple[RowId])
NAME: Final = KeyKind(tuple[Name])
FRAME: Final = KeyKind(tuple[UUID])
FINDING: Final = KeyKind(tuple[UUID, RowId])
TIMED: Final = KeyKind(tuple[Annotated[datetime, AfterValidator(_storable)], UUID])
COSTS: Final = KeyKind(tuple[date, str, str])


class PageQuery(BaseModel):
    """Which page of a list. Unknown parameters are refused, so that a mistyped filter does not silently show all."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    limit: int = Field(50, ge=1, le=500, description="Most entries in the answer.")
    cursor: str | None = Field(
        None, max_length=LONGEST, description="`next` of the page before; with the same filter. Opaque."
    )

    def cut(self, kind: KeyKind) -> Cut:
        """The page that is asked for.

        Raises:
            RequestRejected: the cursor is none, or one of another list or filter.

        """
        if self.cursor is None:
            return Cut(self.limit)
        try:
            mark, *values = json.loads(urlsafe_b64decode(self.cursor.encode("ascii") + b"=="))
            if mark != self._mark():
                raise _refused("is of another list or filter")
            return Cut(self.limit, kind.read(values))
        except (ValueError, TypeError, binascii.Error, ValidationError) as error:
            raise _refused("is none") from error

    def behind(self, page: Page[Any]) -> str | None:
        """Cursor of the page that follows; None where nothing does."""
        if page.end is None:
            return None
        held = json.dumps([self._mark(), *page.end], default=_plain, ensure_ascii=False)
        return urlsafe_b64encode(held.encode()).decode().rstrip("=")

    def _mark(self) -> str:
        """Short digest of list and filter, so that a cursor used elsewhere is refused instead of misread."""
        filtered = self.model_dump_json(exclude={"cursor", "limit"})
        return sha256(f"{type(self).__name__}{filtered}".encode()).hexdigest()[:12]


class Listed(Answer, Generic[T]):
    """A page of a list."""

    items: list[T]
    next: str | None = Field(description="`cursor` of the next page; null where nothing follows.")


def seen_lines(caller: Caller, line: str | None) -> frozenset[str] | None:
    """Lines to show: the one that is asked for, else all that the caller may see (None: all there are).

    Raises:
        NotAllowed: the line is not shown to the caller, whether it exists or not.

    """
    if line is None:
        return caller.lines
    if not caller.sees(line):
        raise NotAllowed(f"Line {line!r} is not shown to {caller.name}.", cure="An admin can change that.")
    return frozenset({line})


def shown(answer: type[T], items: Sequence[Any]) -> list[T]:
    """Rows as they are answered."""
    adapter = TypeAdapter(list[answer])  # type: ignore[valid-type]
    return adapter.validate_python(items, from_attributes=True)


def _refused(why: str) -> RequestRejected:
    return RequestRejected(f"The cursor {why}.", cure="Take `next` of a page of this list, and keep its filter.")


def _plain(value: Any) -> str:
    return value.isoformat() if isinstance(value, date) else str(value)
