"""A receiver of OTLP over HTTP: takes what an exporter posts and writes down every span."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from threading import Thread
from typing import Any

from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceRequest


@dataclass(frozen=True)
class SpanSeen:
    """One span as it was sent; ids are hexadecimal, ``links`` are pairs of trace and span."""

    service: str
    name: str
    trace_id: str
    span_id: str
    parent: str
    links: tuple[tuple[str, str], ...]
    attributes: dict[str, Any]
    seconds: float


@dataclass
class Receiver:
    """A listening receiver and what it was told."""

    url: str = ""
    spans: list[SpanSeen] = field(default_factory=list)
    authorizations: set[str] = field(default_factory=set)
    status: int = 200

    def named(self, name: str) -> list[SpanSeen]:
        """All spans of one name."""
        return [one for one in self.spans if one.name == name]

    def take(self, body: bytes) -> None:
        """Write down what a request holds."""
        request = ExportTraceServiceRequest.FromString(body)
        for resource in request.resource_spans:
            about = _values(resource.resource.attributes)
            for scope in resource.scope_spans:
                self.spans.extend(_seen(span, about["service.name"]) for span in scope.spans)


def _seen(span: Any, service: str) -> SpanSeen:
    return SpanSeen(
        service=service,
        name=span.name,
        trace_id=span.trace_id.hex(),
        span_id=span.span_id.hex(),
        parent=span.parent_span_id.hex(),
        links=tuple((link.trace_id.hex(), link.span_id.hex()) for link in span.links),
        attributes=_values(span.attributes),
        seconds=(span.end_time_unix_nano - span.start_time_unix_nano) / 1e9,
    )


def _values(attributes: Any) -> dict[str, Any]:
    return {one.key: getattr(one.value, one.value.WhichOneof("value")) for one in attributes}


@contextmanager
def receiving() -> Iterator[Receiver]:
    """Listen on a free port for the length of the block."""
    made = Receiver()

    class Handler(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            body = self.rfile.read(int(self.headers["Content-Length"]))
            made.authorizations.add(self.headers.get("Authorization", ""))
            if made.status == 200:
                made.take(body)
            self.send_response(made.status)
            self.send_header("Content-Length", "0")
            self.end_headers()

        def log_message(self, *_arguments: object) -> None:
            return

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    thread = Thread(target=server.serve_forever, kwargs={"poll_interval": 0.05}, daemon=True)
    thread.start()
    made.url = f"http://127.0.0.1:{server.server_address[1]}/v1/traces"
    try:
        yield made
    finally:
        server.shutdown()
        server.server_close()
