"""Built engines on disk: one that was built for anything else is never loaded.

An engine holds machine code for one GPU and one release of TensorRT. Its name says so for people; the JSON beside it
says so for the program, with the engine's own digest, so that a torn or foreign file is found out.
"""

from __future__ import annotations

import fcntl
import hashlib
import json
import logging
import os
import re
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, Final

from gistline.detection.tensorrt_api import release
from gistline.errors import EngineUnavailable

log = logging.getLogger(__name__)

FORMAT: Final = 1
"""Grows when the same key would mean another engine."""


@dataclass(frozen=True, slots=True)
class EngineKey:
    """Everything that decides whether a built engine fits; ``calibration`` is the images' digest or empty."""

    model: str
    model_sha256: str
    calibration: str
    gpu: str
    capability: tuple[int, int]
    tensorrt: str
    max_batch: int
    opt_batch: int
    workspace_mb: int
    builder_level: int
    version_compatible: bool

    @property
    def facts(self) -> dict[str, Any]:
        """As written beside the engine. A version-compatible engine fits its whole major version."""
        found = asdict(self) | {"format": FORMAT, "capability": list(self.capability)}
        if self.version_compatible:
            found["tensorrt"] = str(release(self.tensorrt)[0])
        # The file's name is for people: the same bytes under another name are the same model.
        del found["model"]
        return found

    @property
    def name(self) -> str:
        """File name: what a person looks for, then a digest of all of it."""
        digest = hashlib.sha256(json.dumps(self.facts, sort_keys=True).encode()).hexdigest()
        major, minor = self.capability
        parts = [
            _slug(Path(self.model).stem),
            _slug(self.gpu),
            f"sm{major}{minor}",
            f"trt{self.facts['tensorrt']}",
            f"b{self.max_batch}",
            digest[:12],
        ]
        return "-".join(parts) + ".engine"


@dataclass(frozen=True, slots=True)
class EngineStore:
    """A folder of engines and of what makes building them quicker."""

    folder: Path

    def path(self, key: EngineKey) -> Path:
        """Where the engine of a key lies or would lie."""
        return self.folder / key.name

    def find(self, key: EngineKey) -> bytes | None:
        """The engine of exactly this key; None when there is none, and a log line where one was turned down."""
        path = self.path(key)
        if not path.is_file():
            return None
        try:
            content, written = path.read_bytes(), json.loads(_sidecar(path).read_text())
        except (OSError, ValueError) as error:
            log.warning("%s is built again: what it was built for cannot be read (%s).", path, error)
            return None
        wanted = key.facts | {"sha256": hashlib.sha256(content).hexdigest()}
        seen = written if isinstance(written, dict) else {}
        different = sorted(name for name, value in wanted.items() if seen.get(name) != value)
        if different:
            log.warning("%s is built again: other %s.", path, ", ".join(different))
            return None
        return content

    def save(self, key: EngineKey, content: bytes, **notes: object) -> Path:
        """Write an engine, then what it was built for; ``notes`` are for people."""
        path = self.path(key)
        facts = key.facts | {"sha256": hashlib.sha256(content).hexdigest(), "model": key.model, "notes": notes}
        write_atomically(path, content)
        write_atomically(_sidecar(path), json.dumps(facts, indent=2, default=str).encode())
        return path

    def timing_cache(self, key: EngineKey) -> Path:
        """Measured kernels, good for every model on the same GPU and release."""
        major, minor = key.capability
        return self.folder / f"{_slug(key.gpu)}-sm{major}{minor}-trt{key.tensorrt}.timing"

    def calibration_cache(self, key: EngineKey) -> Path:
        """Scales that a calibrator found; other images, models or releases have others."""
        return self.folder / f"{key.model_sha256[:16]}-{key.calibration[:16]}-trt{key.tensorrt}.calibration"

    @contextmanager
    def building(self, key: EngineKey) -> Iterator[None]:
        """Hold the right to build a key; other processes of this machine wait, then find the engine."""
        lock = self.path(key).with_suffix(".lock")
        try:
            lock.parent.mkdir(parents=True, exist_ok=True)
            file = lock.open("w")
        except OSError as error:
            raise EngineUnavailable(
                f"Engines cannot be written to {self.folder}: {error.strerror or error}.",
                cure="Choose another folder (detection.tensorrt.cache_dir).",
            ) from error
        with file:
            fcntl.flock(file, fcntl.LOCK_EX)
            yield


def write_atomically(path: Path, content: bytes) -> None:
    """A reader sees the old file or the new one, never a part.

    Raises:
        EngineUnavailable: the folder cannot be written to.

    """
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        with tempfile.NamedTemporaryFile(dir=path.parent, prefix=path.name, suffix=".part", delete=False) as file:
            try:
                file.write(content)
                file.flush()
                os.fsync(file.fileno())
                os.replace(file.name, path)  # noqa: PTH105 - the counterpart of the file just written
            except OSError:
                Path(file.name).unlink(missing_ok=True)
                raise
    except OSError as error:
        raise EngineUnavailable(
            f"{path} cannot be written: {error.strerror or error}.",
            cure="Make room there, or choose another folder (detection.tensorrt.cache_dir).",
        ) from error


def _sidecar(path: Path) -> Path:
    return path.with_suffix(".json")


def _slug(text: str) -> str:
    return re.sub(r"[^A-Za-z0-9.]+", "_", text).strip("_") or "engine"
