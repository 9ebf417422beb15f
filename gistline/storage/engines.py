"""Detectors as they really ran, one row for each distinct combination."""

from __future__ import annotations

from sqlalchemy import select
from sqlalchemy.dialects.postgresql import insert
from sqlalchemy.orm import Session

from gistline.domain import EngineInfo
from gistline.storage.tables import EngineRow


def register_engine(session: Session, info: EngineInfo) -> int:
    """Id of the row that describes this engine; made if it is new, and the same for every worker that runs it."""
    identity = {
        "weights_sha256": info.weights_sha256,
        "runtime": info.runtime,
        "device": info.device,
        "precision": info.precision,
        "int8_convolutions": info.int8_convolutions,
    }
    new = insert(EngineRow).values(
        **identity, model=info.model, convolutions=info.convolutions, labels={"names": list(info.labels)}
    )
    session.execute(new.on_conflict_do_nothing())
    return session.scalars(select(EngineRow.id).filter_by(**identity)).one()
