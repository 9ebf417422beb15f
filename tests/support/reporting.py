"""Findings, prompts and filled windows for the tests of reports and costs."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import Any
from uuid import UUID, uuid4

from sqlalchemy import select, update
from sqlalchemy.orm import Session

from gistline.domain import Box, Finding, FrameCounts, FrameId, FrameState, ImageSize, VerdictKind
from gistline.findings.grouping import group_findings
from gistline.reports.draft import Draft, Place, Statement, schema
from gistline.reports.offline import compose
from gistline.reports.prompt import Prompt, WindowData
from gistline.reports.request import Request
from gistline.reports.totals import count_totals
from gistline.storage.tables import Camera, FindingRow, FrameRow, VerdictRow
from tests.support.passports import add_engine

START = datetime(2026, 11, 23, 8, 0, tzinfo=UTC)
END = START + timedelta(minutes=15)


def finding(
    key: int,
    *,
    camera: str = "cam-1",
    label: str = "open",
    confidence: float = 0.9,
    severity: int = 3,
    seconds: float = 0.0,
    box: Box | None = None,
) -> Finding:
    """A finding ``seconds`` after the window's start."""
    return Finding(
        finding_id=key,
        frame_id=FrameId(UUID(int=key)),
        camera=camera,
        line="line-1",
        label=label,
        confidence=confidence,
        box=box or Box(100.0 + key, 40.0, 20.0, 18.0),
        severity=severity,
        captured_at=START + timedelta(seconds=seconds),
    )


def window_data(findings: Sequence[Finding], frames: FrameCounts | None = None) -> WindowData:
    """The data of a window that holds these findings."""
    groups = group_findings(findings)
    counts = frames or FrameCounts(inspected=120, ng=5, reinspect=2, failed=1)
    return WindowData("line-1", START, END, count_totals(groups, counts), groups)


def some_findings(count: int, *, image: ImageSize | None = None) -> list[Finding]:
    """A mix over three cameras and four classes; the same for the same count."""
    classes = (("open", 3), ("spur", 2), ("pin-hole", 1))
    found = [
        finding(
            key,
            camera=f"cam-{key % 3}",
            label=classes[key * 7 % 3][0] if key % 5 else "short",
            severity=classes[key * 7 % 3][1] if key % 5 else 3,
            confidence=0.30 + (key * 37 % 70) / 100,
            seconds=key * 13 % 900,
            box=Box(key * 31 % 600 + 0.4, key * 17 % 600 + 0.6, 8 + key % 40, 9 + key % 30),
        )
        for key in range(1, count + 1)
    ]
    return [replace(one, image=image) for one in found]


def request_of(prompt: Prompt, *, max_tokens: int = 321) -> Request:
    """The request that asks for the report of a prompt."""
    return Request(
        prompt.system,
        prompt.user,
        max_tokens,
        offline=lambda: compose(prompt.data, prompt.language).model_dump_json(),
        schema=schema(),
    )


def sent_request(body: Mapping[str, Any]) -> Request:
    """The request that arrived as this body."""
    form, system = body.get("output_config"), body["system"]
    return Request(
        system if isinstance(system, str) else system[0]["text"],
        body["messages"][0]["content"],
        body.get("max_tokens", 0),
        offline=str,
        schema=form["format"]["schema"] if form else None,
    )


def draft_text(headline: str, *happened: str, places: Sequence[tuple[str, str]] = ()) -> str:
    """An answer of the asked form that says this, with no claims."""
    return Draft(
        headline=Statement(text=headline, numbers=()),
        happened=tuple(Statement(text=one, numbers=()) for one in happened),
        places=tuple(Place(camera=camera, defect=label) for camera, label in places),
        cause=Statement(text="Not known.", numbers=()),
        check_first=(),
        confidence="low",
    ).model_dump_json()


def add_camera(session: Session, *, name: str = "cam-1", line: str = "line-1") -> int:
    """Insert a camera unless it is there; returns its key."""
    found = session.scalar(select(Camera.id).where(Camera.name == name))
    if found is not None:
        return found
    camera = Camera(name=name, line=line)
    session.add(camera)
    session.flush()
    return camera.id


def add_frame(
    session: Session,
    *,
    finished_at: datetime,
    camera: str = "cam-1",
    line: str = "line-1",
    labels: Sequence[str] = (),
    state: FrameState = FrameState.INSPECTED,
) -> UUID:
    """Insert a finished 640 x 640 frame with a finding of each label and its verdict."""
    frame_id = uuid4()
    session.add(
        FrameRow(
            id=frame_id,
            camera_id=add_camera(session, name=camera, line=line),
            line=line,
            idempotency_key=str(frame_id),
            sha256=frame_id.hex,
            media_type="image/jpeg",
            byte_count=1000,
            width=640,
            height=640,
            captured_at=finished_at - timedelta(seconds=2),
        )
    )
    session.flush()
    end = update(FrameRow).where(FrameRow.id == frame_id)  # a frame begins as pending
    session.execute(end.values(state=state, finished_at=finished_at))
    if state is FrameState.INSPECTED:
        _inspect(session, frame_id, labels)
    return frame_id


def _inspect(session: Session, frame_id: UUID, labels: Sequence[str]) -> None:
    engine_id, passport_id = add_engine(session)
    proof = {"engine_id": engine_id, "passport_id": passport_id}
    kind = VerdictKind.NG if labels else VerdictKind.OK
    session.add(VerdictRow(frame_id=frame_id, **proof, kind=kind, reason="test", ng_confidence=0.5))
    for place, label in enumerate(labels):
        session.add(
            FindingRow(
                frame_id=frame_id,
                **proof,
                label=label,
                confidence=0.9,
                x=10.0 + 50 * place,
                y=20.0,
                w=30.0,
                h=25.0,
                severity=3 if label == "open" else 1,
                min_confidence=0.25,
            )
        )
    session.flush()
