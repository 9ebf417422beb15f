"""Logs on standard error: a line for people or one JSON object a line, with the ids of what is being worked on.

Ids travel in a context variable: a door or a flow opens :func:`log_fields`, and every line that is logged inside has
them, whoever logs it. Secrets of the settings, keys of cameras and of the LLM are masked in whatever is written.
"""

from __future__ import annotations

import json
import logging
import re
import sys
import threading
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from contextvars import ContextVar
from datetime import UTC, datetime
from types import TracebackType
from typing import Any, Final

from gistline.errors import GistlineError
from gistline.settings_observability import LogSettings

MASK: Final = "***"
SHORTEST_SECRET: Final = 6
"""Shorter ones are not masked: their letters would be found in ordinary words."""
KEYS: Final = re.compile(r"(?<![A-Za-z0-9])(gl[ps]?_|sk-ant-)[\w-]{16,}")
"""What keys of cameras and programs, tokens of sessions and an LLM key look like."""
MOST_IDS: Final = 16
"""Ids of one field that a line names; the rest is counted."""

_fields: ContextVar[dict[str, Any] | None] = ContextVar("log_fields", default=None)


@contextmanager
def log_fields(**fields: object) -> Iterator[None]:
    """Add fields to every line that is logged inside; lists of ids are cut after sixteen, empty values left out."""
    token = _fields.set({**(_fields.get() or {}), **_plain(fields)})
    try:
        yield
    finally:
        _fields.reset(token)


def add_fields(**fields: object) -> None:
    """Add fields to the innermost :func:`log_fields` that runs, from any thread that has its context; else to none.

    For a request, whose camera is only known after its key was looked up.
    """
    found = _fields.get()
    if found is not None:
        found.update(_plain(fields))


def current_fields() -> dict[str, Any]:
    """Fields that a line logged here would have."""
    return dict(_fields.get() or {})


def set_up_logging(settings: LogSettings, *, service: str, secrets: Iterable[str] = ()) -> None:
    """Send all logs to standard error in the form that the settings ask for; ends what was set up before.

    ``service`` names the kind of process (``api``, ``worker-detect``...). ``secrets`` are masked wherever they appear.
    """
    handler = logging.StreamHandler(sys.stderr)
    mask = Mask(secrets)
    handler.setFormatter(JsonFormatter(service, mask) if settings.format == "json" else TextFormatter(mask))
    logging.basicConfig(level=settings.level.upper(), handlers=[handler], force=True)
    logging.captureWarnings(True)
    if settings.format == "json":
        sys.excepthook = _log_uncaught
        threading.excepthook = _log_uncaught_of_thread


class Mask:
    """Replaces secrets in text."""

    def __init__(self, secrets: Iterable[str]) -> None:
        long = sorted({one for one in secrets if len(one) >= SHORTEST_SECRET}, key=len, reverse=True)
        self._known = re.compile("|".join(map(re.escape, long))) if long else None

    def __call__(self, text: str) -> str:
        """The text without secrets."""
        masked = self._known.sub(MASK, text) if self._known else text
        return mask_keys(masked)


def mask_keys(text: str) -> str:
    """The text without what looks like a key or a token, for answers too: people put them into the wrong place."""
    return KEYS.sub(lambda found: found[1] + MASK, text)


class TextFormatter(logging.Formatter):
    """``time level logger: message [field=value ...]``."""

    def __init__(self, mask: Mask) -> None:
        super().__init__("%(asctime)s %(levelname)s %(name)s: %(message)s")
        self._mask = mask

    def formatMessage(self, record: logging.LogRecord) -> str:  # noqa: N802 - logging's own name
        """One line, with its fields at the end."""
        line = super().formatMessage(record)
        shown = " ".join(f"{name}={_text(value)}" for name, value in _fields_of(record).items())
        return f"{line} [{shown}]" if shown else line

    def format(self, record: logging.LogRecord) -> str:
        """The line, and the traceback below it."""
        return self._mask(super().format(record))


class JsonFormatter(logging.Formatter):
    """One JSON object a line; fields stand beside ``message``, and those of ours win over none of the fixed names."""

    def __init__(self, service: str, mask: Mask) -> None:
        super().__init__()
        self._service = service
        self._mask = mask

    def format(self, record: logging.LogRecord) -> str:
        """The object: time (UTC), level, logger, message, service, pid, fields, exception."""
        at = datetime.fromtimestamp(record.created, UTC)
        fixed = {
            "time": at.isoformat(timespec="milliseconds").replace("+00:00", "Z"),
            "level": record.levelname.lower(),
            "logger": record.name,
            "message": record.getMessage(),
            "service": self._service,
            "pid": record.process,
        }
        entry = {**_fields_of(record), **fixed}
        if record.exc_info:
            entry["exception"] = self.formatException(record.exc_info)
        ordered = {name: entry[name] for name in (*fixed, *(name for name in entry if name not in fixed))}
        return json.dumps(_masked(ordered, self._mask), ensure_ascii=False, default=str)


def _fields_of(record: logging.LogRecord) -> dict[str, Any]:
    """Those of the context, those given with ``extra={"fields": ...}``, and the ids that an error of ours carries."""
    error = record.exc_info[1] if record.exc_info else None
    ids = error.ids if isinstance(error, GistlineError) else {}
    return {**ids, **(_fields.get() or {}), **_plain(getattr(record, "fields", {}))}


def _plain(fields: Mapping[str, object]) -> dict[str, Any]:
    return {name: _short(value) for name, value in fields.items() if value not in (None, "", [], ())}


def _short(value: object) -> Any:
    if isinstance(value, str | int | float | bool):
        return value
    if isinstance(value, list | tuple | set | frozenset):
        ids = [str(one) for one in value]
        return ids if len(ids) <= MOST_IDS else [*ids[:MOST_IDS], f"and {len(ids) - MOST_IDS} more"]
    return str(value)


def _text(value: Any) -> str:
    return ",".join(value) if isinstance(value, list) else str(value)


def _masked(value: Any, mask: Mask) -> Any:
    if isinstance(value, str):
        return mask(value)
    if isinstance(value, list):
        return [_masked(one, mask) for one in value]
    if isinstance(value, dict):
        return {name: _masked(one, mask) for name, one in value.items()}
    return value


def _log_uncaught(kind: type[BaseException], error: BaseException, trace: TracebackType | None) -> None:
    if issubclass(kind, KeyboardInterrupt):
        sys.__excepthook__(kind, error, trace)
        return
    logging.getLogger("gistline").critical("the process ends: %s", error, exc_info=(kind, error, trace))


def _log_uncaught_of_thread(ended: threading.ExceptHookArgs) -> None:
    if ended.exc_value is None or issubclass(ended.exc_type, SystemExit):
        return
    name = ended.thread.name if ended.thread else "unknown"
    logging.getLogger("gistline").critical(
        "the thread %s ends: %s", name, ended.exc_value, exc_info=(ended.exc_type, ended.exc_value, ended.exc_traceback)
    )
