"""What a database holds, summed over its whole life: the demo's closing table, and a check that sums agree."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from decimal import Decimal
from uuid import UUID

from sqlalchemy import Row, func, select
from sqlalchemy.orm import Session

from gistline.domain import FINAL_STATES, Box, Detection, FrameState, VerdictKind
from gistline.storage.tables import (
    Camera,
    EngineRow,
    FindingRow,
    FrameRow,
    ReportRow,
    ReportWindow,
    VerdictRow,
    WindowState,
)


@dataclass(frozen=True, slots=True)
class FrameTotals:
    """Frames by state; ``first_accepted`` to ``last_finished`` spans the fleet's work on them."""

    by_state: dict[FrameState, int]
    first_accepted: datetime | None
    last_finished: datetime | None

    @property
    def accepted(self) -> int:
        """All rows: a frame is accepted when its row is committed."""
        return sum(self.by_state.values())

    @property
    def finished(self) -> int:
        """Rows in a final state."""
        return sum(self.by_state.get(state, 0) for state in FINAL_STATES)


@dataclass(frozen=True, slots=True)
class ReportTotals:
    """All reports: tokens, exact dollars, and the cheapest way to send the same frames as images."""

    count: int
    input_tokens: int
    output_tokens: int
    cost_usd: Decimal
    simulated: bool
    image_tokens: int
    image_usd: Decimal


def frame_totals(session: Session) -> FrameTotals:
    """Count frames by state."""
    rows = session.execute(
        select(FrameRow.state, func.count(), func.min(FrameRow.accepted_at), func.max(FrameRow.finished_at)).group_by(
            FrameRow.state
        )
    ).all()
    finished = [row[3] for row in rows if row[3] is not None]
    return FrameTotals(
        by_state={row[0]: row[1] for row in rows},
        first_accepted=min((row[2] for row in rows), default=None),
        last_finished=max(finished, default=None),
    )


def verdict_totals(session: Session) -> dict[VerdictKind, int]:
    """Count verdicts; every kind has an entry."""
    rows = session.execute(select(VerdictRow.kind, func.count()).group_by(VerdictRow.kind))
    counted = {row[0]: row[1] for row in rows}
    return {kind: counted.get(kind, 0) for kind in VerdictKind}


def finding_total(session: Session) -> int:
    """Count findings."""
    return session.scalar(select(func.count(FindingRow.id))) or 0


def windows_open(session: Session) -> int:
    """Windows whose report is neither written nor given up."""
    unsettled = (WindowState.PENDING, WindowState.RUNNING)
    return session.scalar(select(func.count(ReportWindow.id)).where(ReportWindow.state.in_(unsettled))) or 0


def report_totals(session: Session) -> ReportTotals:
    """Sum all reports; ``simulated`` is True unless a call was really billed."""
    row: Row[int, int, int, Decimal, bool, int, Decimal] = session.execute(
        select(
            func.count(ReportRow.id),
            func.coalesce(func.sum(ReportRow.input_tokens), 0),
            func.coalesce(func.sum(ReportRow.output_tokens), 0),
            func.coalesce(func.sum(ReportRow.cost_usd), 0),
            func.coalesce(func.bool_and(ReportRow.simulated), True),
            func.coalesce(func.sum(ReportRow.image_tokens), 0),
            func.coalesce(func.sum(ReportRow.image_usd), 0),
        )
    ).one()
    return ReportTotals(row[0], int(row[1]), int(row[2]), row[3], row[4], int(row[5]), row[6])


def last_engine(session: Session) -> EngineRow | None:
    """Engine of the frame that was finished last, None before the first."""
    return session.scalar(
        select(EngineRow)
        .join(FrameRow, FrameRow.engine_id == EngineRow.id)
        .order_by(FrameRow.finished_at.desc())
        .limit(1)
    )


def latest_report(session: Session) -> ReportRow | None:
    """The report written last, None before the first."""
    return session.scalar(select(ReportRow).order_by(ReportRow.created_at.desc(), ReportRow.id).limit(1))


@dataclass(frozen=True, slots=True)
class ShownFrame:
    """A frame with its findings, for drawing: digest of its bytes, camera and detections, strongest first."""

    frame_id: UUID
    sha256: str
    camera: str
    detections: list[Detection]


def richest_frame(session: Session) -> ShownFrame | None:
    """The kept frame with most classes, then most findings; None when no frame with findings has its bytes."""
    row = session.execute(
        select(FrameRow.id, FrameRow.sha256, Camera.name)
        .join(Camera, Camera.id == FrameRow.camera_id)
        .join(FindingRow, FindingRow.frame_id == FrameRow.id)
        .where(FrameRow.bytes_stored)
        .group_by(FrameRow.id, FrameRow.sha256, Camera.name)
        .order_by(func.count(FindingRow.label.distinct()).desc(), func.count().desc(), FrameRow.id)
        .limit(1)
    ).one_or_none()
    if row is None:
        return None
    found = session.scalars(
        select(FindingRow).where(FindingRow.frame_id == row[0]).order_by(FindingRow.confidence.desc(), FindingRow.id)
    )
    detections = [Detection(one.label, one.confidence, Box(one.x, one.y, one.w, one.h)) for one in found]
    return ShownFrame(frame_id=row[0], sha256=row[1], camera=row[2], detections=detections)


def kept_digests(session: Session, limit: int) -> list[str]:
    """SHA-256 of up to ``limit`` different frames whose bytes are in the store, in the order of their digests."""
    found = select(FrameRow.sha256).where(FrameRow.bytes_stored).distinct().order_by(FrameRow.sha256).limit(limit)
    return list(session.scalars(found))
