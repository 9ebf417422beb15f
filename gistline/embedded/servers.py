"""The servers that the settings leave unnamed, run for as long as somebody needs them."""

from __future__ import annotations

import fcntl
import json
import os
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager, suppress
from functools import partial
from pathlib import Path
from typing import IO

from pydantic import SecretStr

from gistline.embedded.postgres import postgres
from gistline.embedded.redis import redis
from gistline.errors import StorageUnavailable
from gistline.settings import Settings
from gistline.settings_report import as_environment

LOCK = "owner.lock"
NOTE = "servers.json"
NOTE_WITHIN_S = 60.0
LOCK_WITHIN_S = 1.0
"""Long enough for an owner that is leaving, and for :func:`attached`, which holds the lock for an instant."""


@contextmanager
def servers(settings: Settings, *, on_end: Callable[[str], None] | None = None) -> Iterator[Settings]:
    """Start what has no URL in ``settings``; yield settings with both URLs and an absolute ``data_dir``.

    Data, logs and a note for :func:`attached` live in ``data_dir``, which has one owner at a time. ``on_end`` gets the
    name of a server that ends by itself, from a thread.

    Raises:
        StorageUnavailable: another process owns ``data_dir`` (it is named), or a server does not start.

    """
    settings = settings.model_copy(update={"data_dir": settings.data_dir.absolute()})
    if _complete(settings):
        yield settings
        return
    folder = settings.data_dir
    with ExitStack() as stack:
        stack.enter_context(_owned(folder))
        if not settings.database.url.get_secret_value():
            log, tell = folder / "logs" / "postgres.log", on_end and partial(on_end, "PostgreSQL")
            url = stack.enter_context(postgres(folder / "postgres", log, on_end=tell))
            settings = _with_urls(settings, database=url)
        if not settings.redis.url.get_secret_value():
            log, tell = folder / "logs" / "redis.log", on_end and partial(on_end, "Redis")
            url = stack.enter_context(redis(folder / "redis", log, on_end=tell))
            settings = _with_urls(settings, redis=url)
        stack.enter_context(_noted(settings))
        yield settings


@contextmanager
def attached(settings: Settings) -> Iterator[Settings]:
    """Like :func:`servers`, but shares the servers of a process that already owns ``data_dir``.

    For commands that look or write while ``gistline up`` runs beside them.

    Raises:
        StorageUnavailable: a server does not start, or the owner does not get its own ready.

    """
    settings = settings.model_copy(update={"data_dir": settings.data_dir.absolute()})
    if not _complete(settings) and is_owned(settings.data_dir):
        yield _completed(settings, _wait_for_note(settings.data_dir))
        return
    with servers(settings) as complete:
        yield complete


def already_running(settings: Settings) -> Settings:
    """Settings with the URLs of the servers that a live process has in ``data_dir``; as they are where none has.

    For those who only look: it starts nothing and waits for nothing.
    """
    if _complete(settings) or not is_owned(settings.data_dir):
        return settings
    try:
        note = _note(settings.data_dir)
    except OSError:  # not ready yet, or another user's
        return settings
    return _completed(settings, note)


def child_environment(settings: Settings) -> dict[str, str]:
    """Whole environment for a child process that is to load exactly ``settings``; holds secrets, so never print it."""
    ours = ("GISTLINE_", "ANTHROPIC_API_KEY")
    inherited = {name: value for name, value in os.environ.items() if not name.upper().startswith(ours)}
    return inherited | as_environment(settings)


def _complete(settings: Settings) -> bool:
    return bool(settings.database.url.get_secret_value() and settings.redis.url.get_secret_value())


def _completed(settings: Settings, note: dict[str, str]) -> Settings:
    """Copy with the noted URLs of what has none."""
    missing = {name: url for name, url in note.items() if not getattr(settings, name).url.get_secret_value()}
    return _with_urls(settings, **missing)


def _with_urls(settings: Settings, *, database: str = "", redis: str = "") -> Settings:
    """Copy with the URLs that are given, which hold their own passwords: the settings' are for no server of ours."""
    changed = {}
    none = SecretStr("")
    if database:
        changed["database"] = settings.database.model_copy(update={"url": SecretStr(database), "password": none})
    if redis:
        changed["redis"] = settings.redis.model_copy(update={"url": SecretStr(redis), "password": none})  # type: ignore[assignment]
    return settings.model_copy(update=changed)


@contextmanager
def _owned(folder: Path) -> Iterator[None]:
    """Hold the folder's lock, which the system frees however this process ends."""
    try:
        folder.mkdir(parents=True, exist_ok=True, mode=0o700)
        file = (folder / LOCK).open("a+")
    except OSError as error:
        raise StorageUnavailable(
            f"{folder} cannot be written: {error}.", cure="Set GISTLINE_DATA_DIR to a folder of yours."
        ) from error
    with file:
        if not _lock(file, patience_s=LOCK_WITHIN_S):
            file.seek(0)
            raise StorageUnavailable(
                f"{folder} is in use by process {file.read().strip() or 'unknown'}.",
                cure="Stop that one, or set GISTLINE_DATA_DIR to another folder.",
            )
        (folder / NOTE).unlink(missing_ok=True)  # of an owner that was killed
        file.truncate(0)
        file.write(str(os.getpid()))
        file.flush()
        yield


def is_owned(folder: Path) -> bool:
    """Whether a live process has its servers in this data folder."""
    with suppress(OSError), (folder / LOCK).open("r") as file:
        return not _lock(file)
    return False


def _lock(file: IO[str], *, patience_s: float = 0.0) -> bool:
    deadline = time.monotonic() + patience_s
    while True:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            if time.monotonic() >= deadline:
                return False
            time.sleep(0.05)
        else:
            return True


@contextmanager
def _noted(settings: Settings) -> Iterator[None]:
    """Leave the URLs for :func:`attached`, readable by their owner only, while the servers run."""
    path = settings.data_dir / NOTE
    note = {"database": settings.database.url.get_secret_value(), "redis": settings.redis.url.get_secret_value()}
    fresh = path.with_suffix(".new")
    fresh.unlink(missing_ok=True)
    with os.fdopen(os.open(fresh, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "w") as file:
        json.dump(note, file)
    fresh.rename(path)
    try:
        yield
    finally:
        path.unlink(missing_ok=True)


def _note(folder: Path) -> dict[str, str]:
    note: dict[str, str] = json.loads((folder / NOTE).read_text())
    return note


def _wait_for_note(folder: Path) -> dict[str, str]:
    """URLs of the live owner's servers; waits while they start."""
    deadline = time.monotonic() + NOTE_WITHIN_S
    while time.monotonic() < deadline:
        with suppress(FileNotFoundError):
            return _note(folder)
        time.sleep(0.05)
    raise StorageUnavailable(f"The owner of {folder} does not get its servers ready.", cure=f"See {folder / 'logs'}.")
