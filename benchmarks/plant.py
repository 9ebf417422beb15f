"""A plant with a past: cameras, frames with rendered boards, findings, reports, feedback.

For the screenshots and for the browser's tests. What the pages show is made by the product's own parts (rules, store,
report writer); the detections are the boards' planted defects, seen with noise.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from hashlib import sha256
from typing import Any, Final
from uuid import UUID

import numpy as np
from sqlalchemy import func, insert, select, update
from sqlalchemy.orm import Session

from gistline.domain import Box, Detection, EngineInfo, Feedback, FrameState, Person, Role
from gistline.findings.rules import decide, severity
from gistline.flows.add_camera import add_camera
from gistline.flows.give_feedback import give_feedback
from gistline.flows.measure_passport import unproven_passport
from gistline.flows.report_tools import open_report_tools
from gistline.flows.write_report import write_report
from gistline.frames.store import FrameStore
from gistline.settings import Settings
from gistline.simulator.boards import DEFECTS, Board, encode_jpeg, render_board
from gistline.storage.cameras import CameraIdentity
from gistline.storage.engines import register_engine
from gistline.storage.feedback import FindingKey
from gistline.storage.finding_lists import FindingFilter, list_findings
from gistline.storage.findings import Measure, NewFinding, NewVerdict, save_findings, save_verdicts
from gistline.storage.moments import ids_at
from gistline.storage.passports import save_passport
from gistline.storage.session import Sessions, transaction
from gistline.storage.tables import BatchRow, FindingRow, FrameRow, WorkerHeartbeat
from gistline.storage.windows import open_window

SEED: Final = 23_000_000
CAMERAS: Final = {"gate-1": "line-a", "gate-2": "line-a", "oven-1": "line-b", "press-1": "line-c", "press-2": "line-c"}
ENGINE: Final = EngineInfo("pcb.int8", "0" * 64, "openvino 2026.4", "CPU", "INT8", DEFECTS, (640, 640), 41, 39)
HIGH_SHARE: Final = 0.9


@dataclass(frozen=True, slots=True)
class Picture(Board):
    """A board with its JPEG."""

    jpeg: bytes

    @classmethod
    def render(cls, number: int) -> Picture:
        """One of a fixed sequence."""
        board = render_board(np.random.default_rng(SEED + number))
        return cls(board.image, board.defects, encode_jpeg(board.image))


@dataclass(slots=True)
class Plant:
    """What was made: cameras and frames, oldest first.

    ``window`` is the length of a report window, ``bad`` the share of boards with defects."""

    sessions: Sessions
    store: FrameStore
    settings: Settings
    engine: EngineInfo = ENGINE
    window: timedelta = timedelta(hours=1)
    bad: float = 0.12
    cameras: list[CameraIdentity] = field(default_factory=list)
    keys: dict[str, str] = field(default_factory=dict)
    frames: list[UUID] = field(default_factory=list)
    boards: list[Picture] = field(default_factory=list)
    _rng: np.random.Generator = field(default_factory=lambda: np.random.default_rng(SEED))
    _measure: Measure | None = None

    def build(self, *, boards: int = 12) -> None:
        """Cameras, an engine that serves, and the boards that they will see."""
        for name, line in CAMERAS.items():
            camera, key = add_camera(self.sessions, name, line)
            self.cameras.append(camera)
            self.keys[name] = key
        self.boards = [Picture.render(number) for number in range(boards)]
        with transaction(self.sessions) as session:
            passport = unproven_passport(self.engine, self.settings)
            save_passport(session, passport)
            session.flush()
            engine_id = register_engine(session, self.engine)
            verdicts = self.settings.verdict
            detection = self.settings.detection
            self._measure = Measure(engine_id, detection.min_confidence, verdicts.ng_confidence, passport.id)
            told = {"model": self.engine.model, "sha256": self.engine.weights_sha256, "passport": str(passport.id)}
            beat = {"serving": told | {"verdict": "passed", "error": ""}}
            for name, kind, detail in (("detect-1@plant", "detect", beat), ("report-1@plant", "report", {})):
                session.add(WorkerHeartbeat(name=name, kind=kind, ready=True, detail=detail))

    def run(self, start: datetime, end: datetime, *, every: timedelta, keep_since: datetime | None = None) -> None:
        """Let each camera take a frame ``every`` so often; windows that have ended get their reports.

        Images of frames taken before ``keep_since`` are not kept.
        """
        windows = []
        first = (
            datetime.min.replace(tzinfo=UTC) + ((start - datetime.min.replace(tzinfo=UTC)) // self.window) * self.window
        )
        while first < end:
            last = first + self.window
            with transaction(self.sessions) as session:
                moment = max(first, start)
                while moment < min(last, end):
                    for camera in self.cameras:
                        self._take(session, camera, moment, keep_since)
                    moment += every
                if last <= end:
                    lines = sorted({camera.line for camera in self.cameras})
                    windows += [open_window(session, line=line, starts_at=first, ends_at=last) for line in lines]
            first = last
        tools = open_report_tools(self.settings, self.sessions)
        for window in windows:
            write_report(window, tools)
        tools.writer.close()

    def work(self, *, per_second: float) -> None:
        """Note the batches of the last minute, as detect workers do."""
        with transaction(self.sessions) as session:
            for step in range(6):
                frames = round(10 * per_second)
                values = {
                    "fetch": 0.02,
                    "decode": 0.1,
                    "infer": 0.014 * frames,
                    "post": 0.01,
                    "commit": 0.02,
                    "total": 0.3,
                }
                session.execute(
                    insert(BatchRow).values(
                        id=ids_at(datetime.now(UTC) - timedelta(seconds=8 * step), 1)[0],
                        worker="detect-1@plant",
                        claimed_at=datetime.now(UTC) - timedelta(seconds=8 * step),
                        frames=frames,
                        failed=0,
                        cameras=len(self.cameras),
                        queue_s=0.04,
                        queue_max_s=0.1,
                        **{f"{name}_s": value for name, value in values.items()},
                    )
                )

    def beat(self) -> None:
        """Let the workers be heard of."""
        with transaction(self.sessions) as session:
            session.execute(update(WorkerHeartbeat).values(beat_at=func.now()))

    def judge(self, count: int) -> None:
        """Let an operator say what he thinks of the newest findings."""
        anna = Person(1, "anna", Role.OPERATOR)
        with transaction(self.sessions) as session:
            found = list_findings(session, FindingFilter(), limit=count)
        for place, one in enumerate(found):
            opinion = (
                Feedback.INCORRECT if place % 9 == 4 else Feedback.INCONCLUSIVE if place % 11 == 7 else Feedback.CORRECT
            )
            note = "dust, not copper" if opinion is Feedback.INCORRECT else ""
            give_feedback(self.sessions, FindingKey(one.frame_id, one.id), opinion, note=note, person=anna)

    def richest(self) -> UUID:
        """The kept frame with most findings of the last hundred frames."""
        count = func.count(FindingRow.id)
        found = select(FrameRow.id).join(FindingRow, FindingRow.frame_id == FrameRow.id).where(FrameRow.bytes_stored)
        found = found.where(FrameRow.id.in_(self.frames[-100:])).group_by(FrameRow.id).order_by(count.desc())
        with transaction(self.sessions) as session:
            return session.scalars(found.limit(1)).one()

    def _take(self, session: Session, camera: CameraIdentity, moment: datetime, keep_since: datetime | None) -> None:
        """One frame from its acceptance to its end."""
        taken = moment + timedelta(seconds=float(self._rng.uniform(0, 50)))
        board = self._pick(camera, taken)
        frame_id = ids_at(taken, 1)[0]
        data = board.jpeg[:2] + b"\xff\xfe\x00\x12" + frame_id.bytes + board.jpeg[2:]
        seen = self._see(board)
        kept = bool(seen) and (keep_since is None or taken >= keep_since)
        digest = sha256(data).hexdigest()
        if kept:
            self.store.put(digest, data)
        row: dict[str, Any] = {
            "id": frame_id,
            "camera_id": camera.id,
            "line": camera.line,
            "idempotency_key": f"{camera.name}-{len(self.frames):06d}",
            "part_number": f"PN-{1000 + len(self.frames) % 7}",
            "sha256": digest,
            "media_type": "image/jpeg",
            "byte_count": len(data),
            "width": board.image.shape[1],
            "height": board.image.shape[0],
            "captured_at": taken,
            "accepted_at": taken + timedelta(milliseconds=30),
            "bytes_stored": kept,
        }
        session.execute(insert(FrameRow).values(row))
        self._end(session, frame_id, taken, seen)
        self.frames.append(frame_id)

    def _end(self, session: Session, frame_id: UUID, taken: datetime, seen: Sequence[Detection]) -> None:
        assert self._measure is not None, "build() comes first"
        rules = self.settings.verdict
        end: dict[str, Any] = {"finished_at": taken + timedelta(milliseconds=400)}
        if self._rng.random() < 0.004:
            end |= {"state": FrameState.FAILED, "error": "the image ends too early"}
        else:
            end |= {"state": FrameState.INSPECTED, "engine_id": self._measure.engine_id}
        session.execute(update(FrameRow).where(FrameRow.id == frame_id).values(**end))
        if end["state"] is FrameState.INSPECTED:
            save_verdicts(session, [NewVerdict(frame_id, decide(seen, rules), looked=True)], self._measure)
            found = [NewFinding(frame_id, one, severity(one.label, rules)) for one in seen]
            save_findings(session, found, self._measure)

    def _pick(self, camera: CameraIdentity, moment: datetime) -> Picture:
        """Mostly clean boards; the oven has a bad hour now and then."""
        bad = 0.5 if camera.line == "line-b" and moment.hour % 5 == 0 else self.bad
        wanted = bool(self._rng.random() < bad)
        fitting = [one for one in self.boards if bool(one.defects) == wanted]
        return fitting[int(self._rng.integers(len(fitting)))]

    def _see(self, board: Board) -> list[Detection]:
        seen = []
        for label, box in board.defects:
            confidence = float(np.clip(self._rng.normal(0.82, 0.15), 0.26, 0.99))
            x, y, w, h = (float(side + self._rng.normal(0, 0.7)) for side in (box.x, box.y, box.w, box.h))
            if self._rng.random() < HIGH_SHARE:
                seen.append(Detection(label, confidence, Box(x, y, w, h)))
        return seen
