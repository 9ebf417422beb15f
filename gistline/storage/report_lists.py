"""Report windows as people look through them: newest first, a page at a time, without the reports' texts."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from decimal import Decimal
from typing import Any, Self
from uuid import UUID

from sqlalchemy import select, tuple_
from sqlalchemy.dialects.postgresql import BIGINT
from sqlalchemy.orm import Session

from gistline.errors import RequestRejected
from gistline.storage.sight import Lines, within
from gistline.storage.tables import ReportRow, ReportWindow, WindowState


@dataclass(frozen=True, slots=True)
class WindowCursor:
    """Place in the list: the page begins behind this window."""

    starts_at: datetime
    window_id: UUID

    def __str__(self) -> str:
        return f"{self.starts_at.astimezone(UTC):%Y%m%dT%H%M%S.%f}_{self.window_id.hex}"

    @classmethod
    def parse(cls, text: str) -> Self:
        """Read what ``str`` wrote.

        Raises:
            RequestRejected: it is none.

        """
        stamp, _, key = text.partition("_")
        try:
            return cls(datetime.strptime(stamp, "%Y%m%dT%H%M%S.%f").replace(tzinfo=UTC), UUID(hex=key))
        except ValueError as error:
            raise RequestRejected(
                f"after = {text[:60]!r} is no place in the list.", cure="Take it from the link of a page."
            ) from error


@dataclass(frozen=True, slots=True)
class SeenWindow:
    """A window; the report's fields are None until it is written."""

    id: UUID
    line: str
    starts_at: datetime
    ends_at: datetime
    state: WindowState
    deferred: bool
    error: str | None
    report_id: UUID | None
    writer: str | None
    model: str | None
    findings: int | None
    inspected: int | None
    ng: int | None
    cost_usd: Decimal | None
    simulated: bool | None
    image_usd: Decimal | None
    created_at: datetime | None

    @property
    def cursor(self) -> WindowCursor:
        """Its place in the list."""
        return WindowCursor(self.starts_at, self.id)


def list_windows_seen(
    session: Session, *, limit: int, lines: Lines, line: str = "", after: WindowCursor | None = None
) -> Sequence[SeenWindow]:
    """Up to ``limit`` windows, newest first; of ``line`` alone, if one is named."""
    frames: Any = ReportRow.totals["frames"]
    columns: tuple[Any, ...] = (
        ReportWindow.id,
        ReportWindow.line,
        ReportWindow.starts_at,
        ReportWindow.ends_at,
        ReportWindow.state,
        ReportWindow.deferred,
        ReportWindow.error,
        ReportRow.id,
        ReportRow.writer,
        ReportRow.model,
        ReportRow.totals["findings"].astext.cast(BIGINT),
        frames["inspected"].astext.cast(BIGINT),
        frames["ng"].astext.cast(BIGINT),
        ReportRow.cost_usd,
        ReportRow.simulated,
        ReportRow.image_usd,
        ReportRow.created_at,
    )
    query = (
        select(*columns)
        .outerjoin(ReportRow, ReportRow.window_id == ReportWindow.id)
        .where(within(ReportWindow.line, lines))
    )
    if line:
        query = query.where(ReportWindow.line == line)
    if after is not None:
        query = query.where(tuple_(ReportWindow.starts_at, ReportWindow.id) < (after.starts_at, after.window_id))
    ordered = query.order_by(ReportWindow.starts_at.desc(), ReportWindow.id.desc()).limit(limit)
    return [SeenWindow(*row) for row in session.execute(ordered)]
