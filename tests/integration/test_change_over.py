"""One engine takes over from another: which of them a frame is written by, and when the old one is let go."""

from __future__ import annotations

import threading
from collections.abc import Generator, Iterable, Iterator
from pathlib import Path
from uuid import UUID, uuid4

import numpy as np
import pytest
from numpy.typing import NDArray
from sqlalchemy import select

from gistline.cli import serving_probe
from gistline.cli.checks import State
from gistline.domain import Box, Detection, EngineInfo, FrameState, Verdict, VerdictKind
from gistline.errors import EngineUnproven
from gistline.flows.inspect_frames import inspect_frames
from gistline.flows.measure_passport import MeasuringTools
from gistline.storage.frames import Lease, Outcome, claim_fresh, finish
from gistline.storage.heartbeats import Beat, save_beat
from gistline.storage.session import transaction
from gistline.storage.tables import FindingRow, VerdictRow
from tests.support.fleet import Fleet, fleet, fleet_settings
from tests.support.processes import wait_until
from tests.support.twin_detector import Order, TwinDetector
from workers import serving

NOWHERE = "redis://127.0.0.1:1/0"
WITHIN_S = 20.0


class OtherTwin(TwinDetector):
    """Another engine, by its digest; looks only when it may."""

    def __init__(self) -> None:
        super().__init__()
        self.may_look = threading.Event()
        self.looking = threading.Event()

    @property
    def info(self) -> EngineInfo:
        return EngineInfo("other", "1" * 64, "twin", "CPU", "FP32", ("open", "short"), (64, 64), 1, 0)

    def detect_each(
        self, images: Iterable[NDArray[np.uint8]], min_confidence: float | None = None
    ) -> Generator[list[Detection], None, None]:
        self.looking.set()
        assert self.may_look.wait(WITHIN_S)
        yield from super().detect_each(images)


@pytest.fixture
def line(database_url: str, tmp_path: Path) -> Iterator[Fleet]:
    with fleet(fleet_settings(database_url, NOWHERE, tmp_path, batch_size=4)) as made:
        yield made


def passports_of(line: Fleet) -> dict[UUID, set[UUID | None]]:
    """Of every frame, the passports that its verdict and findings name."""
    with transaction(line.sessions) as session:
        rows = [*session.execute(select(VerdictRow.frame_id, VerdictRow.passport_id))]
        rows += session.execute(select(FindingRow.frame_id, FindingRow.passport_id))
    found: dict[UUID, set[UUID | None]] = {}
    for frame_id, passport_id in rows:
        found.setdefault(frame_id, set()).add(passport_id)
    return found


def test_a_batch_under_way_is_finished_and_signed_by_the_old_engine(line: Fleet) -> None:
    old, new = OtherTwin(), TwinDetector()
    station, successor = line.station(old), line.station(new)
    before, after = station.serving.passport.id, successor.serving.passport.id
    ids = line.submit([Order.DEFECT] * 12)
    work = threading.Thread(target=inspect_frames, args=(ids, station))
    let_go: list[object] = []
    change = threading.Thread(target=lambda: let_go.append(station.change_over(successor.serving).detector))
    work.start()
    assert old.looking.wait(WITHIN_S)
    change.start()
    wait_until(lambda: station.serving is successor.serving, "the next batch goes to the new engine")
    assert let_go == [], "the old engine is let go while it looks"
    old.may_look.set()
    change.join(WITHIN_S)
    work.join(WITHIN_S)
    assert let_go == [old]
    assert line.in_state(FrameState.INSPECTED) == set(ids)
    assert [len(old.seen), len(new.seen)] == [4, 8]
    found = passports_of(line)
    assert sorted(map(len, found.values())) == [1] * 12
    assert [sum(one == {paper} for one in found.values()) for paper in (before, after)] == [4, 8]
    station.close()
    successor.close()


def test_two_engines_with_one_frame_write_one_result(line: Fleet) -> None:
    """A lease ran out across a change-over: both engines looked, the first writer stands."""
    stations = [line.station(TwinDetector()), line.station(OtherTwin())]
    first, late = (station.serving.measure for station in stations)
    (frame_id,) = line.submit([Order.DEFECT])
    token = uuid4()
    seen = [(Detection("open", 0.9, Box(8, 8, 4, 4)), 3)]
    outcome = Outcome.inspected(frame_id, Verdict(VerdictKind.NG, "open"), seen)
    with transaction(line.sessions) as session:
        claim_fresh(session, Lease(token, 60.0), limit=1)
    with transaction(line.sessions) as session:
        assert finish(session, [outcome], token=token, measure=first) == {frame_id}
    with transaction(line.sessions) as session:
        assert finish(session, [outcome], token=uuid4(), measure=late) == set()
    assert passports_of(line) == {frame_id: {first.passport_id}}
    assert line.findings() == {frame_id: 1}
    for station in stations:
        station.close()


def test_the_doctor_tells_of_workers_in_trouble(line: Fleet) -> None:
    well = {"model": "m.onnx", "sha256": "0" * 64, "passport": "p", "verdict": "passed", "error": ""}
    details: dict[str, dict[str, object]] = {
        "a": {"serving": well},
        "b": {"serving": well | {"error": "promotion 2 fails here"}},
        "c": {"serving": well | {"verdict": "unproven"}},
        "d": {"refused": "no passport"},
    }
    with transaction(line.sessions) as session:
        for name, detail in details.items():
            save_beat(session, Beat(name, "detect", ready=True, detail=detail))
    rule, *found = serving_probe.examine(line.settings)
    assert (rule.state, "UNPROVEN" in rule.found) == (State.MISSING, True)
    assert [one.state for one in found] == [State.OK, *[State.MISSING] * 3]
    said = [one.found for one in found]
    assert said[0] == "a serves m.onnx, passport p"
    assert "goes on with m.onnx: promotion 2 fails here" in said[1]
    assert "UNPROVEN" in said[2]
    assert "takes no work: no passport" in said[3]


def test_a_refused_engine_is_looked_at_again_without_any_news(line: Fleet, monkeypatch: pytest.MonkeyPatch) -> None:
    """Whoever measured it, and stood still or died over that, leaves none."""
    monkeypatch.setattr(serving, "LOOK_AGAIN_S", 0.3)
    tools = MeasuringTools(line.sessions, line.settings)
    said: list[bool] = []
    serving._wait_for_news(tools, serving.news(tools), lambda: said.append(True))
    assert said


@pytest.mark.parametrize(("again_s", "tries"), [(0.0, 2), (600.0, 1)])
def test_a_promotion_that_could_not_be_followed_is_tried_again_in_time(
    line: Fleet, monkeypatch: pytest.MonkeyPatch, again_s: float, tries: int
) -> None:
    monkeypatch.setattr(serving, "LOOK_AGAIN_S", again_s)
    tried: list[bool] = []

    def refuse(*_given: object) -> None:
        tried.append(True)
        raise EngineUnproven("Another process has been measuring it.")

    monkeypatch.setattr(serving, "wanted_model", refuse)
    station = line.station(TwinDetector())
    follower = serving.Follower(MeasuringTools(line.sessions, line.settings), station)
    for _ in range(2):
        follower.follow()
    station.close()
    assert len(tried) == tries
    assert "measuring" in follower.error
