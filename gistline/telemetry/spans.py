"""The only file that imports OpenTelemetry: spans, their links, and the sender."""

from __future__ import annotations

import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from importlib.metadata import version
from threading import local
from typing import Final
from uuid import UUID

from opentelemetry import trace
from opentelemetry.context import Context
from opentelemetry.exporter.otlp.proto.http.trace_exporter import OTLPSpanExporter
from opentelemetry.sdk.resources import Resource
from opentelemetry.sdk.trace import TracerProvider
from opentelemetry.sdk.trace.export import BatchSpanProcessor
from opentelemetry.sdk.trace.id_generator import IdGenerator, RandomIdGenerator
from opentelemetry.sdk.trace.sampling import Decision, Sampler, SamplingResult, TraceIdRatioBased
from opentelemetry.trace import Link, Span, SpanContext, SpanKind, Status, StatusCode, TraceFlags
from opentelemetry.trace.propagation.tracecontext import TraceContextTextMapPropagator
from opentelemetry.util.types import Attributes as OtelAttributes

from gistline.settings_observability import TracingSettings
from gistline.telemetry.tracing import Attributes, OpenSpan, TracedFrame

SEND_EVERY_MS: Final = 2_000
HALF: Final = (1 << 64) - 1
KEPT: Final = TraceFlags(TraceFlags.SAMPLED)
PROPAGATOR: Final = TraceContextTextMapPropagator()


def open_tracer(settings: TracingSettings, service: str) -> OtelTracer:
    """Start sending to the endpoint from a thread."""
    secret = settings.authorization.get_secret_value()
    exporter = OTLPSpanExporter(
        endpoint=settings.endpoint,
        headers={"Authorization": secret} if secret else None,
        timeout=settings.timeout_s,
    )
    ids = BatchIds()
    provider = TracerProvider(
        sampler=HeadSampler(settings.share),
        resource=Resource.create({"service.name": f"gistline-{service}", "service.version": version("gistline")}),
        id_generator=ids,
        shutdown_on_exit=False,
    )
    provider.add_span_processor(BatchSpanProcessor(exporter, schedule_delay_millis=SEND_EVERY_MS))
    return OtelTracer(provider, ids)


class HeadSampler(Sampler):
    """What continues a kept trace or links to one is kept; what begins by itself is kept by chance."""

    def __init__(self, share: float) -> None:
        self._chance = TraceIdRatioBased(share)

    def should_sample(  # type: ignore[override]  # the SDK gives no trace state
        self,
        parent_context: Context | None,
        trace_id: int,
        name: str,
        kind: SpanKind | None = None,
        attributes: OtelAttributes = None,
        links: Sequence[Link] | None = None,
    ) -> SamplingResult:
        """Decide once, when the span begins."""
        parent = trace.get_current_span(parent_context).get_span_context()
        if any(link.context.trace_flags.sampled for link in links or ()) or (
            parent.is_valid and parent.trace_flags.sampled
        ):
            return SamplingResult(Decision.RECORD_AND_SAMPLE, attributes)
        if parent.is_valid:
            return SamplingResult(Decision.DROP)
        return self._chance.should_sample(parent_context, trace_id, name, kind, attributes, links)

    def get_description(self) -> str:
        """Its name."""
        return f"HeadSampler({self._chance.get_description()})"


class BatchIds(IdGenerator):
    """Random ids, but for a batch those that its claim's token gives."""

    def __init__(self) -> None:
        self._random = RandomIdGenerator()
        self._next = local()

    def generate_trace_id(self) -> int:
        """The batch's, else a random one."""
        token: UUID | None = getattr(self._next, "token", None)
        return token.int if token else self._random.generate_trace_id()

    def generate_span_id(self) -> int:
        """The batch's, else a random one."""
        token: UUID | None = getattr(self._next, "token", None)
        return token.int & HALF if token else self._random.generate_span_id()

    @contextmanager
    def of(self, token: UUID) -> Iterator[None]:
        """The span that begins inside is this batch's."""
        self._next.token = token
        try:
            yield
        finally:
            self._next.token = None


def batch_context(token: UUID) -> SpanContext:
    """Where the span of the batch with this token is found."""
    return SpanContext(token.int, token.int & HALF, is_remote=True, trace_flags=KEPT)


class OtelSpan:
    """A span of ours around one of OpenTelemetry's."""

    def __init__(self, span: Span) -> None:
        self._span = span
        found = span.get_span_context()
        kept = f"00-{found.trace_id:032x}-{found.span_id:016x}-01"
        self.traceparent = kept if found.trace_flags.sampled else ""

    def note(self, attributes: Attributes) -> None:
        """Add attributes."""
        self._span.set_attributes(_plain(attributes))

    def end(self, *, failed: str = "") -> None:
        """It is over."""
        if failed:
            self._span.set_status(Status(StatusCode.ERROR, failed))
        self._span.end()


class OtelTracer:
    """Makes spans and sends them; every method returns at once."""

    def __init__(self, provider: TracerProvider, ids: BatchIds) -> None:
        self._provider = provider
        self._ids = ids
        self._tracer = provider.get_tracer("gistline")

    def request(self, name: str, parent: str, attributes: Attributes) -> OpenSpan:
        """A server's span; a parent that is no traceparent is none."""
        context = PROPAGATOR.extract({"traceparent": parent}, Context())
        return OtelSpan(self._tracer.start_span(name, context, kind=SpanKind.SERVER, attributes=_plain(attributes)))

    def batch(self, token: UUID, seconds: float, attributes: Attributes, frames: Sequence[TracedFrame]) -> None:
        """One span for the batch, and one in each traced frame's own trace that links to it."""
        ended = time.time_ns()
        began = ended - int(seconds * 1e9)
        parents = [PROPAGATOR.extract({"traceparent": frame.traceparent}, Context()) for frame in frames]
        links = [Link(trace.get_current_span(parent).get_span_context()) for parent in parents]
        with self._ids.of(token):
            whole = self._tracer.start_span(
                "inspect batch",
                Context(),
                kind=SpanKind.CONSUMER,
                links=links,
                start_time=began,
                attributes=_plain(attributes),
            )
        whole.end(ended)
        for frame, parent in zip(frames, parents, strict=True):
            one = self._tracer.start_span(
                "inspect frame",
                parent,
                kind=SpanKind.CONSUMER,
                links=[Link(batch_context(token))],
                start_time=began,
                attributes=_plain(frame.attributes),
            )
            one.end(ended)

    @contextmanager
    def span(self, name: str, attributes: Attributes, batches: Sequence[UUID]) -> Iterator[OpenSpan]:
        """The current span of this thread while the block runs; an exception marks it as failed."""
        links = [Link(batch_context(token)) for token in batches]
        with self._tracer.start_as_current_span(name, links=links, attributes=_plain(attributes)) as found:
            yield OtelSpan(found)

    def close(self) -> None:
        """Send what is left, for as long as the exporter's time-out allows."""
        self._provider.shutdown()


def _plain(attributes: Attributes) -> dict[str, str | int | float | bool]:
    """What every trace store takes."""
    return {
        name: value if isinstance(value, str | int | float | bool) else str(value)
        for name, value in attributes.items()
        if value is not None
    }
