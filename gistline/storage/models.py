"""Model files in the database: the one place that every machine of a fleet shares."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from sqlalchemy import select
from sqlalchemy.dialects.postgresql import insert
from sqlalchemy.orm import Session

from gistline.errors import NotFound
from gistline.storage.tables import ModelRow

SHORTEST_DIGEST = 6
"""So many leading digits of a digest name a model."""


@dataclass(frozen=True, slots=True)
class NewModel:
    """A checked model file, about to be stored; fields as in :class:`StoredModel`."""

    sha256: str
    name: str
    origin: str
    labels: tuple[str, ...]
    layout: str
    input_size: tuple[int, int]
    convolutions: int
    quantised_convolutions: int
    source_sha256: str | None
    calibration_sha256: str | None
    recipe: dict[str, str]
    byte_count: int


@dataclass(frozen=True, slots=True)
class StoredModel(NewModel):
    """What is known of a model without its content.

    ``origin`` is ``bundled`` or ``added``; ``input_size`` is (height, width) in pixels; ``source_sha256`` is the FP32
    file that a quantised one was made of.
    """

    added_at: datetime

    @property
    def quantised(self) -> bool:
        """Made to run in INT8."""
        return self.quantised_convolutions > 0


def insert_model(session: Session, new: NewModel, content: bytes) -> bool:
    """Store a model unless it is there; returns whether it was new."""
    values: dict[str, Any] = {
        "sha256": new.sha256,
        "name": new.name,
        "origin": new.origin,
        "content": content,
        "byte_count": new.byte_count,
        "labels": {"names": list(new.labels)},
        "layout": new.layout,
        "input_height": new.input_size[0],
        "input_width": new.input_size[1],
        "convolutions": new.convolutions,
        "quantised_convolutions": new.quantised_convolutions,
        "source_sha256": new.source_sha256,
        "calibration_sha256": new.calibration_sha256,
        "recipe": dict(new.recipe),
    }
    stored = insert(ModelRow).values(**values).on_conflict_do_nothing().returning(ModelRow.sha256)
    return session.scalar(stored) is not None


def find_model(session: Session, wanted: str) -> StoredModel:
    """The model of this name, or whose digest begins so (six digits at least).

    Raises:
        NotFound: none is called so, or several are.

    """
    found = [one for one in list_models(session) if one.name == wanted]
    if not found and len(wanted) >= SHORTEST_DIGEST:
        found = [one for one in list_models(session) if one.sha256.startswith(wanted.lower())]
    if len(found) == 1:
        return found[0]
    if found:
        digests = ", ".join(one.sha256[:12] for one in found)
        raise NotFound(f"{len(found)} models are called {wanted!r}: {digests}.", cure="Name one by its digest.")
    raise NotFound(f"No model is called {wanted!r}.", cure="'gistline model list' shows every one.")


def get_model(session: Session, sha256: str) -> StoredModel | None:
    """The model with this digest, None when it is not stored."""
    row = session.get(ModelRow, sha256)
    return _stored(row) if row is not None else None


def list_models(session: Session) -> Sequence[StoredModel]:
    """Every model, newest first."""
    rows = session.scalars(select(ModelRow).order_by(ModelRow.added_at.desc(), ModelRow.name))
    return [_stored(row) for row in rows]


def model_content(session: Session, sha256: str) -> bytes:
    """The file's bytes as they are stored; whoever runs them checks the digest.

    Raises:
        NotFound: no such model.

    """
    content = session.scalar(select(ModelRow.content).where(ModelRow.sha256 == sha256))
    if content is None:
        raise NotFound(f"The database holds no model {sha256}.", cure="Take it in with 'gistline model add'.")
    return bytes(content)


def _stored(row: ModelRow) -> StoredModel:
    return StoredModel(
        sha256=row.sha256,
        name=row.name,
        origin=row.origin,
        labels=tuple(row.labels["names"]),
        layout=row.layout,
        input_size=(row.input_height, row.input_width),
        convolutions=row.convolutions,
        quantised_convolutions=row.quantised_convolutions,
        source_sha256=row.source_sha256,
        calibration_sha256=row.calibration_sha256,
        recipe=dict(row.recipe),
        byte_count=row.byte_count,
        added_at=row.added_at,
    )
