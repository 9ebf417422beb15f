"""Models fetched from the database, kept in a folder by digest; every read proves that the bytes are the right ones."""

from __future__ import annotations

import hashlib
import logging
import os
import tempfile
from contextlib import suppress
from pathlib import Path

from gistline.errors import ModelRejected
from gistline.storage.models import model_content
from gistline.storage.session import Sessions, transaction

log = logging.getLogger(__name__)


def fetch_content(sessions: Sessions, sha256: str, folder: Path) -> bytes:
    """Bytes of a model: from ``folder`` when they are there and whole, else from the database.

    A folder that cannot be written costs the next start another fetch, nothing else.

    Raises:
        ModelRejected: what the database holds has another digest.
        NotFound: no such model.
        StorageUnavailable: the database does not answer.

    """
    path = folder / f"{sha256}.onnx"
    with suppress(OSError):
        content = path.read_bytes()
        if _digest(content) == sha256:
            return content
        log.warning("%s is damaged and fetched again", path)
    with transaction(sessions) as session:
        content = model_content(session, sha256)
    if _digest(content) != sha256:
        raise ModelRejected(
            f"The database holds other bytes under the digest {sha256}.",
            cure="Restore the table 'models', or add the model again and promote it.",
        )
    _keep(path, content)
    return content


def _keep(path: Path, content: bytes) -> None:
    """Write beside, then rename: a reader sees the whole file or none."""
    fresh: Path | None = None
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        with tempfile.NamedTemporaryFile(dir=path.parent, prefix=".fetch-", delete=False) as file:
            fresh = Path(file.name)
            file.write(content)
            file.flush()
            os.fsync(file.fileno())
        fresh.replace(path)
    except OSError as error:
        log.warning("%s cannot be kept: %s", path, error)
        if fresh is not None:
            fresh.unlink(missing_ok=True)


def _digest(content: bytes) -> str:
    return hashlib.sha256(content).hexdigest()
