"""Real workers with the bundled detectors: promotions in mid-run, broken ones, and workers without a passport."""

from __future__ import annotations

import os
import subprocess
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from itertools import groupby
from pathlib import Path
from uuid import UUID

import numpy as np
import onnx
import pytest
from onnx import numpy_helper
from sqlalchemy import func, select

from gistline.detection.model_file import bundled_path, read_content
from gistline.dispatch import CelerySender
from gistline.domain import FrameState, PassportVerdict
from gistline.errors import Conflict, EngineUnproven
from gistline.flows.measure_passport import MeasuringTools, measure_passport
from gistline.flows.promote_model import promote_model
from gistline.flows.register_model import register_bundled, register_model
from gistline.flows.rollback_model import rollback_model
from gistline.flows.submit_frames import Submitted, submit_frames
from gistline.settings import DetectionSettings, PassportSettings
from gistline.settings_report import as_environment
from gistline.simulator.boards import encode_jpeg, render_board
from gistline.storage.health import ServingWorker, serving_workers
from gistline.storage.models import StoredModel
from gistline.storage.session import transaction
from gistline.storage.tables import FindingRow, FrameRow, PassportRow, VerdictRow
from tests.support.fleet import Fleet, fleet, fleet_settings
from tests.support.processes import ROOT, wait_until
from tests.support.redis_server import own_redis

QUICK = PassportSettings(
    boards=12, least_boxes=5, resamples=200, max_loss=5, max_loss50=5, max_class_loss=30, max_class_loss50=30
)
WITHIN_S = 60.0


@pytest.fixture
def line(database_url: str, tmp_path: Path, request: pytest.FixtureRequest) -> Iterator[Fleet]:
    """A fleet of real detectors; parametrize it to change the settings of passports."""
    with own_redis(tmp_path) as server:
        settings = fleet_settings(database_url, server.url, tmp_path, lease_s=30.0, batch_size=8)
        passport = QUICK.model_copy(update=getattr(request, "param", {}))
        detection = DetectionSettings(runtime="openvino")
        with fleet(settings.model_copy(update={"passport": passport, "detection": detection})) as made:
            yield made


@pytest.fixture
def models(line: Fleet) -> dict[str, StoredModel]:
    return register_bundled(line.sessions, line.settings)


@contextmanager
def worker(line: Fleet, number: int = 1) -> Iterator[Path]:
    """A real detect worker process; yields its log."""
    log = line.settings.data_dir / f"detect-{number}.log"
    ours = {name: value for name, value in os.environ.items() if not name.upper().startswith("GISTLINE_")}
    with log.open("wb") as output:
        process = subprocess.Popen(
            [sys.executable, "-m", "workers", "detect"],
            cwd=ROOT,
            env=ours | as_environment(line.settings),
            stdout=output,
            stderr=subprocess.STDOUT,
        )
    try:
        yield log
    finally:
        assert process.poll() is None, log.read_text()
        process.terminate()
        process.wait(30)


@contextmanager
def cameras(line: Fleet) -> Iterator[list[UUID]]:
    """Frames of boards with defects, accepted one batch after the other until the end; yields their ids so far."""
    jpegs = [encode_jpeg(render_board(np.random.default_rng(seed), defects=6).image) for seed in range(4)]
    sender = CelerySender(line.settings.redis, line.settings.fleet)
    ids: list[UUID] = []
    stop = threading.Event()

    def play() -> None:
        while not stop.wait(0.4):
            frames = [Submitted(jpeg) for jpeg in jpegs]
            accepted = submit_frames(
                line.camera,
                frames,
                sessions=line.sessions,
                store=line.store,
                dispatcher=sender,
                settings=line.settings,
            )
            ids.extend(frame.id for frame in accepted)

    thread = threading.Thread(target=play)
    thread.start()
    try:
        yield ids
    finally:
        stop.set()
        thread.join()
        sender.close()


def judged_by(line: Fleet) -> list[UUID]:
    """Passports behind the verdicts, in the order of the frames' ends."""
    with transaction(line.sessions) as session:
        ends = select(VerdictRow.passport_id).join(FrameRow, FrameRow.id == VerdictRow.frame_id)
        found = session.scalars(ends.order_by(FrameRow.finished_at))
        return [one for one in found if one is not None]


def told(line: Fleet) -> list[ServingWorker]:
    with transaction(line.sessions) as session:
        return list(serving_workers(session))


def passports(line: Fleet, sha256: str) -> list[PassportVerdict]:
    with transaction(line.sessions) as session:
        return list(session.scalars(select(PassportRow.verdict).where(PassportRow.model_sha256 == sha256)))


@pytest.mark.long
def test_a_promotion_and_its_rollback_lose_and_double_no_frame(line: Fleet, models: dict[str, StoredModel]) -> None:
    fp32 = measure_passport(models["fp32"], MeasuringTools(line.sessions, line.settings))
    with worker(line), cameras(line) as ids:
        wait_until(lambda: len(judged_by(line)) >= 8, "INT8 works", within_s=WITHIN_S)
        int8 = judged_by(line)[0]
        promoted = promote_model(line.sessions, "pcb.onnx", line.settings, actor="test")
        assert promoted.passport is not None
        assert promoted.passport.id == fp32.id
        wait_until(lambda: judged_by(line).count(fp32.id) >= 8, "FP32 works", within_s=WITHIN_S)
        wait_until(lambda: [one.model for one in told(line)] == ["pcb.onnx"], "the worker says so")
        assert rollback_model(line.sessions, actor="test").model is None
        wait_until(lambda: judged_by(line)[-1] == int8, "INT8 works again", within_s=WITHIN_S)
        seen = list(ids)
        line.wait_until_finished(seen, within_s=WITHIN_S)
    assert_each_inspected_once(line, seen)
    assert [one for one, _ in groupby(judged_by(line))] == [int8, fp32.id, int8]


def assert_each_inspected_once(line: Fleet, ids: list[UUID]) -> None:
    frames = line.frames()
    assert {frames[one].state for one in ids} == {FrameState.INSPECTED}
    assert {frames[one].attempts for one in ids} == {1}
    assert {frames[one].error for one in ids} == {None}
    boxes = (FindingRow.frame_id, FindingRow.label, FindingRow.x, FindingRow.y, FindingRow.w, FindingRow.h)
    other = FindingRow.passport_id != VerdictRow.passport_id
    with transaction(line.sessions) as session:
        doubled = session.execute(select(*boxes).group_by(*boxes).having(func.count() > 1)).all()
        strange = session.execute(
            select(FindingRow.id).join(VerdictRow, VerdictRow.frame_id == FindingRow.frame_id).where(other)
        ).all()
        assert (session.scalar(select(func.count()).select_from(FindingRow)) or 0) > len(ids)
    assert doubled == []
    assert strange == [], "a frame's findings and verdict speak of different engines"


def broken(line: Fleet) -> StoredModel:
    """The bundled INT8 detector, which still says whose twin it is, with half of its weights gone."""
    proto = onnx.load_model_from_string(bundled_path("int8").read_bytes())
    for tensor in proto.graph.initializer:
        if tensor.data_type == onnx.TensorProto.INT8 and len(tensor.dims) == 4:
            values = numpy_helper.to_array(tensor).copy()
            values[::2] = 0
            tensor.CopyFrom(numpy_helper.from_array(values, tensor.name))
    model = read_content("broken.onnx", proto.SerializeToString())
    return register_model(line.sessions, model, line.settings.registry).model


@pytest.mark.longest
def test_a_promoted_engine_that_fails_changes_nothing(line: Fleet, models: dict[str, StoredModel]) -> None:
    with worker(line, 1), worker(line, 2), cameras(line) as ids:
        wait_until(lambda: sum(one.ready for one in told(line)) == 2, "both are ready", within_s=WITHIN_S)
        assert passports(line, models["int8"].sha256) == [PassportVerdict.PASSED], "one measures, the other waits"
        bad = broken(line)
        with pytest.raises(EngineUnproven, match="no passing passport"):
            promote_model(line.sessions, bad.sha256[:8], line.settings, actor="test")
        promote_model(line.sessions, "broken.onnx", line.settings, actor="test", reason="a drill", force=True)
        wait_until(lambda: all("mAP50" in one.error for one in told(line)), "both refuse it", within_s=WITHIN_S)
        assert passports(line, bad.sha256) == [PassportVerdict.FAILED]
        assert [(one.model, one.ready) for one in told(line)] == [("pcb.int8.onnx", True)] * 2
        seen, before = list(ids), len(judged_by(line))
        line.wait_until_finished(seen, within_s=WITHIN_S)
        wait_until(lambda: len(judged_by(line)) > before + 8, "the old engine goes on")
        rollback_model(line.sessions, actor="test")
        wait_until(lambda: not any(one.error for one in told(line)), "all is well again")
    assert len(set(judged_by(line))) == 1
    with pytest.raises(Conflict):
        rollback_model(line.sessions, actor="test")


@pytest.mark.longest
@pytest.mark.parametrize("line", [{"measure_at_start": False}], indirect=True)
def test_a_worker_without_a_passport_takes_nothing_until_it_has_one(
    line: Fleet, models: dict[str, StoredModel]
) -> None:
    with worker(line), cameras(line) as ids:
        wait_until(lambda: bool(told(line)), "it beats", within_s=WITHIN_S)
        wait_until(lambda: len(ids) >= 4, "frames come")
        (one,) = told(line)
        assert not one.ready
        assert "has no passport" in one.refused
        assert "gistline model passport pcb.int8.onnx" in one.refused
        assert {row.state for row in line.frames().values()} == {FrameState.PENDING}
        passport = measure_passport(models["int8"], MeasuringTools(line.sessions, line.settings))
        wait_until(lambda: [one.ready for one in told(line)] == [True], "it is ready", within_s=WITHIN_S)
        line.wait_until_finished(list(ids), within_s=WITHIN_S)
    assert set(judged_by(line)) == {passport.id}


@pytest.mark.long
@pytest.mark.parametrize("line", [{"least_map50": 0.9999}], indirect=True)
def test_a_worker_whose_engine_fails_takes_nothing_and_says_why(line: Fleet) -> None:
    with worker(line) as log, cameras(line) as ids:
        wait_until(lambda: any(one.refused for one in told(line)), "it refuses", within_s=WITHIN_S)
        wait_until(lambda: len(ids) >= 4, "frames come")
        (one,) = told(line)
        assert "mAP50 is" in one.refused
        assert "at least 100.0 is wanted" in one.refused
        assert not one.ready
        assert {row.state for row in line.frames().values()} == {FrameState.PENDING}
        assert "takes no work" in log.read_text()
