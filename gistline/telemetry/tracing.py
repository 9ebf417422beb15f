"""Traces from submission to report, off by default; this file loads OpenTelemetry only when they are on.

A frame's row carries the ``traceparent`` of the request that brought it, if that request was chosen to be traced. The
batch that looks at the frame links to it and adds a span to its trace; a report links to the batches of its frames. A
batch's trace is named after its claim's token, which the rows keep: nothing more has to be stored for a later link.
Celery is not instrumented: the row carries what a message would, and the instrumentation costs a third of its speed.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence
from contextlib import AbstractContextManager, contextmanager, nullcontext
from dataclasses import dataclass
from typing import Final, Protocol
from uuid import UUID

from gistline.errors import SettingsError
from gistline.settings_observability import TracingSettings

SAMPLED: Final = re.compile(r"00-(?!0{32})[0-9a-f]{32}-(?!0{16})[0-9a-f]{16}-0[13]")
"""A W3C traceparent of a trace that is kept."""
MOST_LINKS: Final = 100
Attributes = Mapping[str, object]
"""Facts beside a span; ids are written as text, and None is left out."""


@dataclass(frozen=True, slots=True)
class TracedFrame:
    """A frame of a batch that belongs to a trace, and how it ended."""

    traceparent: str
    attributes: Attributes


class OpenSpan(Protocol):
    """A span that has begun."""

    traceparent: str
    """Under which others continue it; empty when it is not kept."""

    def note(self, attributes: Attributes) -> None:
        """Add attributes."""
        ...

    def end(self, *, failed: str = "") -> None:
        """It is over; ``failed`` says why it went wrong."""
        ...


class Tracer(Protocol):
    """What OpenTelemetry does for us."""

    def request(self, name: str, parent: str, attributes: Attributes) -> OpenSpan:
        """Begin a request's span, which continues ``parent`` if that is a traceparent."""
        ...

    def batch(self, token: UUID, seconds: float, attributes: Attributes, frames: Sequence[TracedFrame]) -> None:
        """Tell of a batch that ended now after so many seconds, and of its frames' part in their traces."""
        ...

    def span(self, name: str, attributes: Attributes, batches: Sequence[UUID]) -> AbstractContextManager[OpenSpan]:
        """A span of this thread's work, linked to these batches."""
        ...

    def close(self) -> None:
        """Send what is left."""
        ...


class _Nothing:
    """A span that is not kept."""

    traceparent = ""

    def note(self, attributes: Attributes) -> None:
        """Nothing."""

    def end(self, *, failed: str = "") -> None:
        """Nothing."""


NOTHING: Final = _Nothing()
_active: list[Tracer] = []
"""This process's tracer while there is one; logging has its root in the same way."""


@contextmanager
def tracing(settings: TracingSettings, *, service: str) -> Iterator[None]:
    """Trace while the block runs, where the settings want it; sends what is left at the end, within the time-out.

    Raises:
        SettingsError: the packages of the extra ``trace`` are not installed.

    """
    if not settings.endpoint:
        yield
        return
    try:
        from gistline.telemetry.spans import open_tracer
    except ImportError as error:
        raise SettingsError(
            f"tracing.endpoint is set, but OpenTelemetry is not installed ({error.name}).",
            cure="Run 'pip install gistline[trace]', or unset GISTLINE_TRACING__ENDPOINT.",
        ) from error
    tracer = open_tracer(settings, service)
    _active.append(tracer)
    try:
        yield
    finally:
        _active.remove(tracer)
        tracer.close()


def is_on() -> bool:
    """Whether this process traces."""
    return bool(_active)


def request_span(name: str, parent: str, attributes: Attributes) -> OpenSpan:
    """Begin a request's span; end it with its ``end``."""
    return _active[-1].request(name, parent, attributes) if _active else NOTHING


def batch_ended(token: UUID, seconds: float, attributes: Attributes, frames: Sequence[TracedFrame]) -> None:
    """Tell of a batch whose frames are written; without a traced frame it is not kept."""
    if _active and frames:
        _active[-1].batch(token, seconds, attributes, frames[:MOST_LINKS])


def span(name: str, attributes: Attributes, batches: Sequence[UUID] = ()) -> AbstractContextManager[OpenSpan]:
    """A span around a block; linked to batches it is kept, within a kept one too, else by chance."""
    return _active[-1].span(name, attributes, batches[:MOST_LINKS]) if _active else nullcontext(NOTHING)


def is_traced(traceparent: str | None) -> bool:
    """Whether a row's traceparent names a trace that is kept."""
    return traceparent is not None and SAMPLED.fullmatch(traceparent) is not None
