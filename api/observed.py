"""What every request is counted and logged by. Plain ASGI: it sees each message pass and holds none back."""

from __future__ import annotations

import logging
import time
from collections.abc import Awaitable, Callable, MutableMapping
from typing import Any

from gistline.telemetry import metrics, tracing
from gistline.telemetry.logs import current_fields, log_fields

Scope = MutableMapping[str, Any]
Message = MutableMapping[str, Any]
Receive = Callable[[], Awaitable[Message]]
Send = Callable[[Message], Awaitable[None]]
App = Callable[[Scope, Receive, Send], Awaitable[None]]

log = logging.getLogger("api.access")
METHODS = frozenset({"GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS"})
UNMATCHED = "unmatched"
"""The route of every path that there is none for: what strangers type must not become labels."""
TRACEPARENT = b"traceparent"
BROKEN_OFF = 499
"""The client went away before it was answered."""


class Observed:
    """Counts requests by route, never by path, and times them; logs them where ``access`` says so."""

    def __init__(self, app: App, *, access: bool = False) -> None:
        self._app = app
        self._access = access

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Let it through; lifespans and sockets are none of our business."""
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        status = BROKEN_OFF
        began = time.perf_counter()

        async def noting(message: Message) -> None:
            nonlocal status
            if message["type"] == "http.response.start":
                status = int(message["status"])
            await send(message)

        metrics.HTTP_ARRIVING.inc()
        span = _begin_span(scope)
        with log_fields(method=scope["method"], path=scope["path"], trace_id=span.traceparent[3:35]):
            try:
                await self._app(scope, receive, noting)
            finally:
                metrics.HTTP_ARRIVING.dec()
                self._book(scope, status, time.perf_counter() - began)
                _end_span(span, scope, status)

    def _book(self, scope: Scope, status: int, seconds: float) -> None:
        route = _route(scope)
        method = scope["method"] if scope["method"] in METHODS else "other"
        metrics.HTTP_REQUESTS.labels(method, route, str(status)).inc()
        metrics.HTTP_SECONDS.labels(route).observe(seconds)
        if self._access:
            fields = {
                "status": status,
                "duration_ms": round(seconds * 1000, 1),
                "client": (scope.get("client") or ("",))[0],
            }
            log.info("%s %s %d", scope["method"], scope["path"], status, extra={"fields": fields})


def _route(scope: Scope) -> str:
    return str(getattr(scope.get("route"), "path", UNMATCHED))


def _begin_span(scope: Scope) -> tracing.OpenSpan:
    """A request that is traced carries its own span from here on, so that the rows that it makes do."""
    if not tracing.is_on():
        return tracing.NOTHING
    given = next((value.decode("latin-1") for name, value in scope["headers"] if name == TRACEPARENT), "")
    span = tracing.request_span(scope["method"], given, {"http.request.method": scope["method"]})
    if span.traceparent:
        rest = [(name, value) for name, value in scope["headers"] if name != TRACEPARENT]
        scope["headers"] = [*rest, (TRACEPARENT, span.traceparent.encode())]
    return span


def _end_span(span: tracing.OpenSpan, scope: Scope, status: int) -> None:
    if span.traceparent:
        known = {name: value for name, value in current_fields().items() if name in {"camera", "line"}}
        facts = {"http.route": _route(scope), "http.response.status_code": status}
        span.note(facts | {f"gistline.{name}": value for name, value in known.items()})
    span.end(failed="" if status < 500 else f"HTTP {status}")
