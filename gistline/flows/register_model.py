"""A checked model file goes into the database, where every worker can fetch it."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Final

from gistline.detection.model_file import BUNDLED, ModelFile, bundled_path, read_content, read_model
from gistline.detection.provenance import read_provenance
from gistline.errors import ModelRejected
from gistline.settings import RegistrySettings, Settings
from gistline.storage import audit
from gistline.storage.model_cache import fetch_content
from gistline.storage.models import NewModel, StoredModel, get_model, insert_model
from gistline.storage.session import Sessions, transaction

ADDED: Final = "added"
SHIPPED: Final = "bundled"


@dataclass(frozen=True, slots=True)
class Registered:
    """The model as it is stored, and whether it was new."""

    model: StoredModel
    new: bool


def register_model(
    sessions: Sessions, model: ModelFile, settings: RegistrySettings, *, origin: str = ADDED, by: str = audit.SYSTEM
) -> Registered:
    """Store a model under its digest; one that is there stays as it is, name included.

    Raises:
        ModelRejected: the file is larger than ``registry.max_bytes``.
        StorageUnavailable: the database does not answer.

    """
    if len(model.content) > settings.max_bytes:
        raise ModelRejected(
            f"{model.name} has {len(model.content)} bytes, at most {settings.max_bytes} are taken in.",
            cure="Raise GISTLINE_REGISTRY__MAX_BYTES.",
        )
    with transaction(sessions) as session:
        found = get_model(session, model.sha256)
        if found is not None:
            return Registered(found, new=False)
        new = insert_model(session, _as_new(model, origin), model.content)
        session.flush()
        if new:
            detail = {"sha256": model.sha256, "origin": origin}
            audit.record(session, actor=by, action="model.add", subject=f"model {model.name}", detail=detail)
        stored = get_model(session, model.sha256)
    assert stored is not None  # noqa: S101 - inserted in the same transaction, or by another one before it
    return Registered(stored, new)


def register_bundled(sessions: Sessions, settings: Settings) -> dict[str, StoredModel]:
    """Store the pair that comes with the program, unless it is there; by precision, ``fp32`` and ``int8``.

    Raises:
        ModelRejected: the installation lacks a file.
        StorageUnavailable: the database does not answer.

    """
    files = {precision: read_model(bundled_path(precision)) for precision in BUNDLED}
    return {
        precision: register_model(sessions, file, settings.registry, origin=SHIPPED).model
        for precision, file in files.items()
    }


def fetch_model(sessions: Sessions, stored: StoredModel, settings: Settings) -> ModelFile:
    """Read a stored model and check it again, bytes and all.

    Raises:
        ModelRejected: its bytes are not those that its digest promises, or this version does not understand them.
        StorageUnavailable: the database does not answer.

    """
    content = fetch_content(sessions, stored.sha256, cache_folder(settings))
    return read_content(stored.name, content)


def cache_folder(settings: Settings) -> Path:
    """Where fetched models are kept."""
    return Path(settings.registry.cache_dir) if settings.registry.cache_dir else settings.data_dir / "models"


def _as_new(model: ModelFile, origin: str) -> NewModel:
    told = read_provenance(model.content)
    return NewModel(
        sha256=model.sha256,
        name=model.name,
        origin=origin,
        labels=model.labels,
        layout=model.layout.kind.value,
        input_size=model.input_size,
        convolutions=model.convolutions,
        quantised_convolutions=model.quantised_convolutions,
        source_sha256=told.source_sha256 if told.source_sha256 != model.sha256 else None,
        calibration_sha256=told.calibration_sha256,
        recipe=told.recipe,
        byte_count=len(model.content),
    )
