"""Rows as the flows leave them, for tests of what reads them: frames inspected or given up, reports."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from decimal import Decimal
from uuid import UUID, uuid4

import httpx2

from gistline.domain import Box, Detection, EngineInfo, Language, Verdict, VerdictKind
from gistline.storage.findings import Measure
from gistline.storage.frames import Lease, Outcome, claim_fresh, finish
from gistline.storage.reports import NewReport, save_report
from gistline.storage.session import transaction
from gistline.storage.windows import open_window
from tests.support import images
from tests.support.api import RunningApi
from tests.support.passports import add_engine

DATA = images.frame(1)
ENGINE = EngineInfo(
    model="board-v1",
    weights_sha256="ab" * 32,
    runtime="openvino",
    device="CPU",
    precision="INT8",
    labels=("open", "short"),
    input_size=(640, 640),
    convolutions=60,
    int8_convolutions=57,
)


def submit(camera: httpx2.Client, **fields: str) -> str:
    answer = camera.post("/v1/frames", content=DATA, params=fields)
    found: str = answer.json()["frames"][0]["id"]
    return found


def inspect(api: RunningApi, frame_id: str) -> None:
    """Let a worker's storage functions finish the frame with two findings."""
    seen = [
        (Detection("short", 0.91, Box(1.5, 2.5, 10.0, 20.0)), 3),
        (Detection("spur", 0.95, Box(30.0, 31.0, 4.0, 5.0)), 2),
    ]
    with transaction(api.sessions) as session:
        engine_id, passport_id = add_engine(session, ENGINE)
        measure = Measure(engine_id, min_confidence=0.25, ng_confidence=0.5, passport_id=passport_id)
        lease = Lease(uuid4(), 60.0)
        claim_fresh(session, lease, limit=1, ids=[UUID(frame_id)])
        verdict = Verdict(VerdictKind.NG, "short at 0.91")
        finish(session, [Outcome.inspected(UUID(frame_id), verdict, seen)], token=lease.token, measure=measure)


def report(api: RunningApi, line: str) -> UUID:
    """Store a report of a window of a line."""
    now = datetime.now(UTC)
    with transaction(api.sessions) as session:
        window = open_window(session, line=line, starts_at=now - timedelta(minutes=15), ends_at=now)
        written = NewReport(
            window_id=window,
            writer="offline",
            model="claude-haiku-5-5",
            language=Language.ENGLISH,
            body="Nothing of note.",
            evidence=[],
            totals={"frames": {"inspected": 5, "ng": 1, "reinspect": 0, "failed": 1, "expired": 0}, "findings": 2},
            token_budget=4_000,
            prompt_tokens=900,
            prompt_ceiling_tokens=1_000,
            input_tokens=900,
            output_tokens=100,
            cost_usd=Decimal("0.001400000001"),
            simulated=True,
            image_tokens=8_000,
            image_usd=Decimal("0.0080"),
            image_plan={"requests": 1},
        )
        return save_report(session, written, {})


def give_up(api: RunningApi, frame_id: str) -> None:
    """Let a frame fail for good, with its dead letter."""
    with transaction(api.sessions) as session:
        measure = Measure(None, min_confidence=0.25, ng_confidence=0.5)
        lease = Lease(uuid4(), 60.0)
        claim_fresh(session, lease, limit=1, ids=[UUID(frame_id)])
        failed = Outcome.failed(UUID(frame_id), "made up")
        finish(session, [failed], token=lease.token, measure=measure)
