"""What the database knows of the fleet, for its metrics: what waits, by index, and sums over whole tables."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from decimal import Decimal
from typing import Any

from sqlalchemy import ColumnElement, TextClause, func, select, text
from sqlalchemy.orm import Session

from gistline.storage.health import Workers, workers
from gistline.storage.tables import (
    AlarmDeliveryRow,
    AlarmRow,
    Base,
    DeadLetterRow,
    FrameRow,
    GateVerdictRow,
    LlmAttempt,
    ReportRow,
    ReportWindow,
    WorkerHeartbeat,
)

TOKEN_KINDS = {
    "input": LlmAttempt.input_tokens,
    "output": LlmAttempt.output_tokens,
    "cache_read": LlmAttempt.cache_read_tokens,
    "cache_write_5m": LlmAttempt.cache_write_5m_tokens,
    "cache_write_1h": LlmAttempt.cache_write_1h_tokens,
}


@dataclass(frozen=True, slots=True)
class QueueFacts:
    """What waits or is being worked on, and who works; ages in seconds, 0 where nothing waits."""

    pending: int
    running: int
    oldest_pending_s: float
    overdue_leases: int
    windows: Mapping[str, int]
    oldest_due_window_s: float
    dead_letters: Mapping[str, int]
    alarms: Mapping[str, int]
    deliveries_waiting: int
    gate_verdicts_late: int
    workers: Mapping[str, Workers]


@dataclass(frozen=True, slots=True)
class Attempts:
    """Attempts at an LLM of one state, model and billing: how many, their tokens by kind, their price."""

    model: str
    billing: str
    state: str
    count: int
    usd: Decimal
    tokens: Mapping[str, int]


@dataclass(frozen=True, slots=True)
class TotalFacts:
    """Sums over everything that is stored."""

    frames: Mapping[str, int]
    windows: Mapping[str, int]
    reports: Mapping[str, int]
    image_usd: Decimal
    attempts: tuple[Attempts, ...]
    database_bytes: int


def queue_facts(session: Session) -> QueueFacts:
    """Count by the partial indexes of what is not finished: it costs what waits, not what is stored."""
    pending, running = text("frames.state = 'pending'"), text("frames.state = 'running'")
    waits, oldest = session.execute(select(func.count(), _age(func.min(FrameRow.accepted_at))).where(pending)).one()
    held, overdue = session.execute(
        select(func.count(), func.count().filter(FrameRow.lease_until < func.now())).where(running)
    ).one()
    open_windows = text("report_windows.state IN ('pending', 'running')")
    windows = session.execute(select(ReportWindow.state, func.count()).where(open_windows).group_by(ReportWindow.state))
    # One that may wait for a batch is not late before its deadline.
    late_from = func.min(func.greatest(ReportWindow.ends_at, ReportWindow.deadline_at))
    due = select(_age(late_from)).where(text("report_windows.state = 'pending'"))
    letters = select(DeadLetterRow.kind, func.count()).where(DeadLetterRow.resolved_at.is_(None))
    firing = select(AlarmRow.severity, func.count()).where(text("alarms.state = 'firing'")).group_by(AlarmRow.severity)
    late = text("gate_verdicts.kind IS NULL AND gate_verdicts.due_at < now()")
    return QueueFacts(
        pending=waits,
        running=held,
        oldest_pending_s=float(oldest or 0),
        overdue_leases=overdue,
        windows={state.value: count for state, count in windows},
        oldest_due_window_s=float(session.scalar(due) or 0),
        dead_letters={kind.value: count for kind, count in session.execute(letters.group_by(DeadLetterRow.kind))},
        alarms={severity.value: count for severity, count in session.execute(firing)},
        deliveries_waiting=_count(session, AlarmDeliveryRow, text("alarm_deliveries.state = 'pending'")),
        gate_verdicts_late=_count(session, GateVerdictRow, late),
        workers=workers(session),
    )


def total_facts(session: Session) -> TotalFacts:
    """Count everything; this reads whole tables."""
    frames = session.execute(select(FrameRow.state, func.count()).group_by(FrameRow.state))
    windows = session.execute(select(ReportWindow.state, func.count()).group_by(ReportWindow.state))
    reports = session.execute(select(ReportRow.writer, func.count()).group_by(ReportRow.writer))
    return TotalFacts(
        frames={state.value: count for state, count in frames},
        windows={state.value: count for state, count in windows},
        reports={writer: int(count) for writer, count in reports},
        image_usd=session.scalar(select(func.coalesce(func.sum(ReportRow.image_usd), 0))) or Decimal(0),
        attempts=tuple(_attempts(session)),
        database_bytes=session.scalar(select(func.pg_database_size(func.current_database()))) or 0,
    )


def metrics_addresses(session: Session) -> dict[str, tuple[str, str]]:
    """Workers heard of in the last minute that serve metrics: name -> kind and ``host:port``."""
    told = WorkerHeartbeat.detail["metrics"].astext
    recent = WorkerHeartbeat.beat_at > func.now() - text("interval '1 minute'")
    statement = select(WorkerHeartbeat.name, WorkerHeartbeat.kind, told).where(recent, told != "")
    return {name: (kind, address) for name, kind, address in session.execute(statement.order_by(WorkerHeartbeat.name))}


def _attempts(session: Session) -> list[Attempts]:
    tokens = [func.coalesce(func.sum(column), 0) for column in TOKEN_KINDS.values()]
    by = (LlmAttempt.model, LlmAttempt.simulated, LlmAttempt.state)
    rows = session.execute(
        select(*by, func.count(), func.coalesce(func.sum(LlmAttempt.usd), 0), *tokens).group_by(*by).order_by(*by)
    )
    return [
        Attempts(
            model=row[0],
            billing="simulated" if row[1] else "billed",
            state=row[2].value,
            count=row[3],
            usd=Decimal(row[4] or 0),
            tokens=dict(zip(TOKEN_KINDS, map(int, row[5:]), strict=True)),
        )
        for row in rows
    ]


def _count(session: Session, table: type[Base], condition: TextClause) -> int:
    return session.scalar(select(func.count()).select_from(table).where(condition)) or 0


def _age(moment: ColumnElement[Any]) -> ColumnElement[Any]:
    return func.greatest(func.extract("epoch", func.now() - moment), 0)
