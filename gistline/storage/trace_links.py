"""Which traced batches looked at the frames of a window."""

from __future__ import annotations

from uuid import UUID

from sqlalchemy import select
from sqlalchemy.orm import Session

from gistline.storage.tables import FrameRow

MOST = 100


def traced_batches(session: Session, window_id: UUID) -> list[UUID]:
    """Tokens of the batches whose frames belong to traces that are kept (a traceparent that ends in ``-01``)."""
    statement = (
        select(FrameRow.token)
        .where(
            FrameRow.report_window_id == window_id,
            FrameRow.traceparent.like("%-01"),
            FrameRow.token.is_not(None),
        )
        .distinct()
        .limit(MOST)
    )
    return [token for token in session.scalars(statement) if token is not None]
