"""Whether the database answers with the right tables, and which workers have been seen lately."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import timedelta

from sqlalchemy import func, select, text
from sqlalchemy.orm import Session

from gistline.domain import PassportVerdict
from gistline.storage.tables import WorkerHeartbeat

FRESH_BEAT_S = 15
"""A worker not heard of for this long counts as gone."""


@dataclass(frozen=True, slots=True)
class Workers:
    """Workers of one kind heard of lately, and how many are ready to take work.

    ``unproven`` of them serve an engine that nobody measured; ``troubled`` refuse to serve, or could not follow a
    promotion.
    """

    alive: int
    ready: int
    unproven: int = 0
    troubled: int = 0


def revision(session: Session) -> str | None:
    """Revision of the tables, None where there are none."""
    if session.scalar(text("SELECT to_regclass('alembic_version')")) is None:
        return None
    found: str | None = session.scalar(text("SELECT version_num FROM alembic_version"))
    return found


def live_names(session: Session) -> set[str]:
    """Names of the workers heard of lately, whether they take work or not."""
    heard = WorkerHeartbeat.beat_at > func.now() - timedelta(seconds=FRESH_BEAT_S)
    return set(session.scalars(select(WorkerHeartbeat.name).where(heard)))


def ready_names(session: Session) -> set[str]:
    """Names of the workers heard of lately that take work."""
    heard = WorkerHeartbeat.beat_at > func.now() - timedelta(seconds=FRESH_BEAT_S)
    return set(session.scalars(select(WorkerHeartbeat.name).where(heard, WorkerHeartbeat.ready)))


def workers(session: Session) -> dict[str, Workers]:
    """Workers by kind (``"detect"``, ``"report"``...)."""
    heard = WorkerHeartbeat.beat_at > func.now() - timedelta(seconds=FRESH_BEAT_S)
    told = WorkerHeartbeat.detail["serving"]
    unproven = told["verdict"].astext == PassportVerdict.UNPROVEN.value
    troubled = (told["error"].astext != "") | WorkerHeartbeat.detail.has_key("refused")
    counts = (func.count(), *(func.count().filter(one) for one in (WorkerHeartbeat.ready, unproven, troubled)))
    statement = select(WorkerHeartbeat.kind, *counts).where(heard).group_by(WorkerHeartbeat.kind)
    return {kind: Workers(*counted) for kind, *counted in session.execute(statement)}


@dataclass(frozen=True, slots=True)
class ServingWorker:
    """What a detect worker says of its engine.

    ``error`` says why a promotion was not followed, ``refused`` why no engine may serve in it at all; both are empty
    when all is well. ``verdict`` is its passport's.
    """

    name: str
    ready: bool
    model: str
    sha256: str
    passport: str
    verdict: str
    error: str
    refused: str


def serving_workers(session: Session) -> Sequence[ServingWorker]:
    """Detect workers heard of lately, by name."""
    heard = WorkerHeartbeat.beat_at > func.now() - timedelta(seconds=FRESH_BEAT_S)
    statement = select(WorkerHeartbeat).where(heard, WorkerHeartbeat.kind == "detect").order_by(WorkerHeartbeat.name)
    return [_serving(row) for row in session.scalars(statement)]


def _serving(row: WorkerHeartbeat) -> ServingWorker:
    told = row.detail.get("serving", {})
    said = {name: str(told.get(name, "")) for name in ("model", "sha256", "passport", "verdict", "error")}
    return ServingWorker(row.name, row.ready, refused=str(row.detail.get("refused", "")), **said)
