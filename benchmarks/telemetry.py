"""What it costs to be watched: ``python -m benchmarks.telemetry``; a few seconds, no server.

Microseconds of processor time of one call, the best of five rounds, the sender's thread included: what a process pays
beside its work, off and on.
"""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import Callable
from datetime import UTC, datetime
from uuid import uuid4

from api.observed import Message, Observed, Receive, Scope, Send
from gistline.settings_observability import TracingSettings
from gistline.telemetry import metrics, tracing
from gistline.telemetry.logs import JsonFormatter, Mask, TextFormatter, log_fields
from tests.support.otlp import receiving

FRAMES = 32
ROUNDS = 5
STAGES = dict.fromkeys(metrics.STAGES, 0.01)


def microseconds(call: Callable[[], object], times: int) -> float:
    """Best mean of a round."""
    best = float("inf")
    for _ in range(ROUNDS):
        began = time.process_time()
        for _ in range(times):
            call()
        best = min(best, (time.process_time() - began) / times)
    return best * 1e6


def traced(count: int) -> Callable[[], None]:
    """A batch of which so many frames are traced."""
    frames = [tracing.TracedFrame(f"00-{one + 1:032x}-{one + 1:016x}-01", {"frame": one}) for one in range(count)]
    return lambda: tracing.batch_ended(uuid4(), 0.5, {"gistline.frames": FRAMES}, frames)


def record() -> logging.LogRecord:
    return logging.LogRecord("gistline", logging.WARNING, __file__, 1, "%d frames wait", (3,), None)


async def _app(_scope: Scope, _receive: Receive, send: Send) -> None:
    await send({"type": "http.response.start", "status": 202})


async def _receive() -> Message:
    return {}


async def _send(_message: Message) -> None:
    return None


def requests(app: Callable[[Scope, Receive, Send], object], times: int) -> float:
    """Microseconds of one request through an application that does nothing."""

    async def run() -> float:
        best = float("inf")
        for _ in range(ROUNDS):
            began = time.process_time()
            for _ in range(times):
                scope: Scope = {"type": "http", "method": "POST", "path": "/v1/frames", "headers": []}
                await app(scope, _receive, _send)  # type: ignore[misc]
            best = min(best, (time.process_time() - began) / times)
        return best * 1e6

    return asyncio.run(run())


def main() -> None:
    accepted = [datetime.now(UTC)] * FRAMES
    batch = metrics.BatchTimes(accepted, time.monotonic(), FRAMES, STAGES)
    ends = [("inspected", "ok")] * FRAMES
    said = record()
    rows = [
        (f"metrics of a batch of {FRAMES}", microseconds(lambda: metrics.count_batch(batch), 500)),
        (f"verdicts of a batch of {FRAMES}", microseconds(lambda: metrics.count_ends(ends), 500)),
        ("a request, counted", requests(Observed(_app), 2_000) - requests(_app, 2_000)),
        ("a batch's trace, tracing off", microseconds(traced(1), 5_000)),
    ]
    with receiving() as receiver:
        settings = TracingSettings(endpoint=receiver.url, share=1.0)
        with tracing.tracing(settings, service="benchmark"):
            rows.append(("a batch's trace, no frame traced", microseconds(traced(0), 5_000)))
            rows.append((f"a batch's trace, 1 frame of {FRAMES} traced", microseconds(traced(1), 200)))
            rows.append((f"a batch's trace, all {FRAMES} traced", microseconds(traced(FRAMES), 50)))
            rows.append(("a request, counted and traced", requests(Observed(_app), 300) - requests(_app, 300)))
    with log_fields(frame=[uuid4() for _ in range(8)], batch=uuid4()):
        mask = Mask(["a-secret-of-the-settings"])
        text, json = TextFormatter(mask), JsonFormatter("worker-detect", mask)
        rows.append(("a log line as text", microseconds(lambda: text.format(said), 2_000)))
        rows.append(("a log line as JSON", microseconds(lambda: json.format(said), 2_000)))
    for name, cost in rows:
        print(f"{name:<40} {cost:9.1f} us")


if __name__ == "__main__":
    main()
