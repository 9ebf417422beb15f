"""The bundled INT8 engine in service, measured again: unchanged, in the dark, spoilt, complained about; by workers."""

from __future__ import annotations

import hashlib
import json
import signal
import threading
from collections.abc import Iterator
from dataclasses import replace
from datetime import timedelta
from pathlib import Path

import numpy as np
import onnx
import pytest
from numpy.typing import NDArray
from onnx import numpy_helper
from pydantic import SecretStr
from sqlalchemy import func, select, text, update
from uuid_utils.compat import uuid7

from gistline.cli.main import run
from gistline.detection.model_file import bundled_path, read_content
from gistline.domain import Feedback, Passport
from gistline.domain_accuracy import Advice, Reviewed, ReviewKind, ReviewVerdict
from gistline.errors import NotFound, RequestRejected
from gistline.flows.alarm_rules import add_rule
from gistline.flows.evaluate_alarms import evaluate_alarms
from gistline.flows.export_frames import export_frames
from gistline.flows.rebase_drift import rebase_drift
from gistline.flows.register_model import register_model
from gistline.flows.review_accuracy import Round, review_accuracy
from gistline.flows.serve_model import admit
from gistline.settings import RedisSettings
from gistline.storage.accuracy_reviews import REVIEW_LOCK, keep_reference, prune_reviews, save_reviews
from gistline.storage.alarms import Alarm, list_alarms
from gistline.storage.feedback import FindingKey, NewFeedback, save_feedback
from gistline.storage.passports import save_passport
from gistline.storage.session import Sessions, transaction
from gistline.storage.tables import AccuracyReviewRow, FindingRow, PassportRow
from tests.support.processes import wait_until
from tests.support.reviewing import Plant, of_kind, open_lasting, plant, plant_settings
from tests.support.workers import process

FRAMES = 24
"""As few as the settings of the test let speak."""
MOVED = Reviewed(
    ReviewKind.DRIFT,
    ReviewVerdict.WARN,
    Advice.CAMERA,
    "Moved.",
    "brightness",
    bound=0.3,
    sample=100,
    camera="cam-1",
    line="line-1",
)


@pytest.fixture
def made(database_url: str, tmp_path: Path, clean_settings: Path) -> Iterator[Plant]:
    with plant(plant_settings(database_url, tmp_path)) as running:
        yield running


def darker(image: NDArray[np.uint8]) -> NDArray[np.uint8]:
    return np.asarray(image * 0.4, np.uint8)


def firing(sessions: Sessions, rule: str) -> list[Alarm]:
    evaluate_alarms(sessions)
    with transaction(sessions) as session:
        return [one for one in list_alarms(session, limit=50, firing=True) if one.rule == rule]


def rules(sessions: Sessions) -> None:
    """One of each kind."""
    add_rule(sessions, {"name": "worth", "kind": "accuracy"}, by="test")
    add_rule(sessions, {"name": "moved", "kind": "drift", "params": {"reviews": 1}}, by="test")


def stored(sessions: Sessions) -> list[AccuracyReviewRow]:
    with transaction(sessions) as session:
        return list(session.scalars(select(AccuracyReviewRow).order_by(AccuracyReviewRow.id)))


@pytest.mark.long
def test_an_unchanged_engine_raises_nothing_and_a_dark_lamp_is_told(made: Plant) -> None:
    rules(made.sessions)
    made.inspect(FRAMES)
    first = made.review()
    assert of_kind(first, ReviewKind.LABELLED).verdict is ReviewVerdict.OK
    assert of_kind(first, ReviewKind.LABELLED).value == 0.0
    same = of_kind(first, ReviewKind.AGREEMENT)
    assert (same.verdict, same.sample) == (ReviewVerdict.OK, 16)
    assert "Operators judged 0 findings" in of_kind(first, ReviewKind.FEEDBACK).text
    reference = of_kind(first, ReviewKind.DRIFT)
    assert (reference.verdict, reference.camera, reference.line) == (ReviewVerdict.UNKNOWN, "cam-1", "line-1")
    assert "what it is held against from now on" in reference.text

    made.inspect(FRAMES)
    calm = of_kind(made.review(), ReviewKind.DRIFT)
    assert (calm.verdict, calm.advice) == (ReviewVerdict.OK, Advice.NOTHING)
    assert firing(made.sessions, "moved") == firing(made.sessions, "worth") == []

    made.inspect(FRAMES, darker)
    dark = of_kind(made.review(), ReviewKind.DRIFT)
    assert (dark.verdict, dark.advice) == (ReviewVerdict.WARN, Advice.CAMERA)
    assert {one["statistic"] for one in dark.evidence["statistics"] if one["drifted"]} >= {"brightness"}
    (alarm,) = firing(made.sessions, "moved")
    assert (alarm.camera, alarm.line) == ("cam-1", "line-1")
    assert "Look at the camera first: lamp" in alarm.text
    assert "gistline model quantise" in alarm.text
    assert firing(made.sessions, "worth") == []


def test_a_camera_that_came_back_in_between_has_not_drifted_and_a_new_normal_ends_the_alarm(made: Plant) -> None:
    add_rule(made.sessions, {"name": "moved", "kind": "drift", "params": {"reviews": 2, "psi": 0.5}}, by="test")
    engine_id = made.station.serving.measure.engine_id
    assert engine_id is not None

    def reviewed(*indices: float) -> int:
        """Alarms after reviews with such indices; above 0.3 they have drifted."""
        for index in indices:
            verdict = ReviewVerdict.WARN if index > 0.3 else ReviewVerdict.OK
            point = replace(MOVED, verdict=verdict, value=index, low=index, high=index)
            with transaction(made.sessions) as session:
                save_reviews(session, [point], engine_id=engine_id, passport_id=None, machine="here")
        return len(firing(made.sessions, "moved"))

    assert reviewed(0.9) == 0
    assert reviewed(0.1, 0.9) == 0
    assert reviewed(0.4) == 0  # drifted, and less than the rule's 0.5
    assert reviewed(0.9, 0.9) == 1
    with transaction(made.sessions) as session:
        keep_reference(session, engine_id, ("cam-1", "images"), {}, frames=1)
    assert rebase_drift(made.sessions, "cam-1") == ["cam-1"]
    with pytest.raises(NotFound, match="Nothing is known of how camera cam-1 looked"):
        rebase_drift(made.sessions, "cam-1")
    assert reviewed(0.2) == 0
    with transaction(made.sessions) as session:
        session.execute(update(AccuracyReviewRow).values(reviewed_at=func.now() - timedelta(hours=73)))
    assert reviewed(0.9) == 0


def spoil(made: Plant) -> None:
    """Serve a file whose weights were damaged after its passport was measured."""
    proto = onnx.load_model_from_string(bundled_path("int8").read_bytes())
    random = np.random.default_rng(1)
    for weights in proto.graph.initializer:
        values = numpy_helper.to_array(weights)
        if values.dtype == np.int8 and values.ndim == 4:
            noise = random.integers(-14, 15, values.shape)
            weights.CopyFrom(numpy_helper.from_array(np.clip(values + noise, -64, 64).astype(np.int8), weights.name))
    file = read_content("spoilt.onnx", proto.SerializeToString())
    register_model(made.sessions, file, made.settings.registry)
    detector = open_lasting(file, made.settings.detection)
    good: Passport = made.station.serving.passport
    passport = replace(good, id=uuid7(), engine=detector.info)
    with transaction(made.sessions) as session:
        save_passport(session, passport)
    made.station.change_over(admit(made.tools, detector, passport, None)).detector.close()


def test_a_spoilt_engine_raises_the_alarm_that_says_what_to_do(made: Plant) -> None:
    rules(made.sessions)
    spoil(made)
    made.inspect(FRAMES)
    found = made.review()
    lost = of_kind(found, ReviewKind.LABELLED)
    assert (lost.verdict, lost.advice) == (ReviewVerdict.LOST, Advice.ROLL_BACK)
    assert (lost.low or 0) > 1.0
    apart = of_kind(found, ReviewKind.AGREEMENT)
    assert (apart.verdict, apart.advice) == (ReviewVerdict.LOST, Advice.RECALIBRATE)
    alarms = {one.label: one for one in firing(made.sessions, "worth")}
    assert set(alarms) == {"mAP50-95 of spoilt.onnx", "agreement of spoilt.onnx"}
    assert "gistline model rollback" in alarms["mAP50-95 of spoilt.onnx"].text
    assert "gistline model quantise" in alarms["agreement of spoilt.onnx"].text
    assert alarms["mAP50-95 of spoilt.onnx"].facts["low"] == pytest.approx(lost.low)


def judge(made: Plant, opinions: list[Feedback]) -> None:
    """Operators think so of the first findings."""
    with transaction(made.sessions) as session:
        rows = session.scalars(select(FindingRow).order_by(FindingRow.id).limit(len(opinions))).all()
        assert len(rows) == len(opinions)
        for row, opinion in zip(rows, opinions, strict=True):
            save_feedback(session, NewFeedback(FindingKey(row.frame_id, row.id), opinion, "", "anna"), lines=None)


def only(made: Plant, **settings: float) -> None:
    """Ask about what the database alone can tell."""
    accuracy = made.settings.accuracy.model_copy(update={"max_s": 1e-9, **settings})
    made.settings = made.settings.model_copy(update={"accuracy": accuracy})


def test_operators_complaints_raise_the_alarm_and_too_few_or_too_little_time_never_do(made: Plant) -> None:
    rules(made.sessions)
    made.inspect(FRAMES)
    only(made)
    judge(made, [Feedback.INCORRECT] * 9 + [Feedback.INCONCLUSIVE] * 5)
    few = made.review()
    assert "judged 9 findings in 30 days; fewer than 10 say nothing" in of_kind(few, ReviewKind.FEEDBACK).text
    assert {one.verdict for one in few} == {ReviewVerdict.UNKNOWN}
    assert "accuracy.max_s" in of_kind(few, ReviewKind.LABELLED).text
    assert "accuracy.max_s" in of_kind(few, ReviewKind.AGREEMENT).text
    assert firing(made.sessions, "worth") == []

    judge(made, [Feedback.INCORRECT] * 12 + [Feedback.CORRECT] * 3)
    found = of_kind(made.review(), ReviewKind.FEEDBACK)
    assert (found.verdict, found.sample, found.value) == (ReviewVerdict.LOST, 15, 0.2)
    assert (found.high or 1) == pytest.approx(0.4519, abs=1e-4)  # Wilson's for 3 of 15
    (alarm,) = firing(made.sessions, "worth")
    assert alarm.label == "precision of pcb.int8.onnx"
    assert "Label frames of today" in alarm.text
    judge(made, [Feedback.CORRECT] * 15)
    made.review()
    assert firing(made.sessions, "worth") == []

    with pytest.raises(RequestRejected, match="looks at a whole engine"):
        add_rule(made.sessions, {"name": "line", "kind": "accuracy", "line": "line-1"}, by="test")
    with transaction(made.sessions) as session:
        session.execute(update(AccuracyReviewRow).values(reviewed_at=func.now() - timedelta(days=3)))
        assert prune_reviews(session, keep_days=4) == 0
        assert prune_reviews(session, keep_days=2) == len(few) * 3


def test_a_review_is_due_once_a_pause_after_the_passport_and_one_of_two_at_once_does_it(made: Plant) -> None:
    made.inspect(FRAMES)
    only(made, every_h=1.0)
    assert review_accuracy(made.tools, made.store) == Round(alone=True)
    with transaction(made.sessions) as session:
        session.execute(update(PassportRow).values(measured_at=func.now() - timedelta(hours=2)))
    start, rounds = threading.Barrier(2), list[Round]()

    def look() -> None:
        start.wait()
        rounds.append(review_accuracy(made.tools, made.store))

    threads = [threading.Thread(target=look) for _ in range(2)]
    for one in threads:
        one.start()
    for one in threads:
        one.join()
    assert sorted(len(one.found) for one in rounds) == [0, 4]
    assert len(stored(made.sessions)) == 4
    assert review_accuracy(made.tools, made.store) == Round(alone=True)
    only(made, every_h=0.0)
    assert review_accuracy(made.tools, made.store) == Round(alone=True)


def held(sessions: Sessions) -> bool:
    """Whether some process reviews."""
    locks = text("SELECT count(*) FROM pg_locks WHERE locktype = 'advisory' AND classid = :lock AND granted")
    with transaction(sessions) as session:
        return bool(session.scalar(locks, {"lock": REVIEW_LOCK}))


@pytest.mark.longest
def test_a_worker_that_dies_half_way_has_done_nothing_and_the_next_does_it_whole(
    made: Plant, redis_url: str, tmp_path: Path
) -> None:
    made.inspect(FRAMES)
    with transaction(made.sessions) as session:
        session.execute(update(PassportRow).values(measured_at=func.now() - timedelta(hours=48)))
    settings = made.settings.model_copy(update={"redis": RedisSettings(url=SecretStr(redis_url))})
    with process("report", settings, tmp_path / "dying") as dying:
        wait_until(lambda: held(made.sessions), "it reviews")
        dying.kill()
        dying.wait()
    assert stored(made.sessions) == []
    with process("report", settings, tmp_path / "next") as another:
        wait_until(lambda: len(stored(made.sessions)) > 0, "it has written", within_s=60)
        another.send_signal(signal.SIGTERM)
        assert another.wait(30) == 0
    rows = stored(made.sessions)
    assert sorted(row.kind for row in rows) == sorted(ReviewKind)
    assert {row.verdict for row in rows if row.kind in ("labelled", "agreement")} == {ReviewVerdict.OK}
    assert len({row.reviewed_at for row in rows}) == 1


def test_frames_of_today_are_written_as_they_came(made: Plant, tmp_path: Path) -> None:
    made.inspect(FRAMES)
    out = tmp_path / "out"
    written = export_frames(made.sessions, made.store, out, count=10, hours=1)
    assert len(written) == 10
    assert all(path.suffix == ".jpeg" and made.store.get(digest_of(path)) == path.read_bytes() for path in written)
    assert sorted(out.iterdir()) == sorted(written)
    assert export_frames(made.sessions, made.store, out, count=10, hours=1) == []


def digest_of(path: Path) -> str:
    return hashlib.sha256(path.read_bytes()).hexdigest()


@pytest.mark.long
def test_the_commands_review_list_and_show(
    made: Plant, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    made.inspect(FRAMES)
    monkeypatch.setenv("GISTLINE_DATABASE__URL", made.settings.database.url.get_secret_value())
    monkeypatch.setenv("GISTLINE_FRAMES__STORE_URL", made.settings.frames.store_url)
    monkeypatch.setenv("GISTLINE_DATA_DIR", str(made.settings.data_dir))
    monkeypatch.setenv("GISTLINE_ACCURACY__MAX_S", "1")
    monkeypatch.setenv("COLUMNS", "250")
    assert run(["accuracy", "review"]) == 0
    assert "No frame" not in capsys.readouterr().out
    assert run(["accuracy", "list", "--kind", "drift", "--json"]) == 0
    (told,) = json.loads(capsys.readouterr().out)
    assert (told["camera"], told["verdict"]) == ("cam-1", "unknown")
    assert run(["accuracy", "show", told["id"]]) == 0
    assert "drift review of pcb.int8.onnx: unknown" in capsys.readouterr().out
    assert run(["accuracy", "show", str(uuid7())]) == 2
    assert run(["accuracy", "rebase"]) == 0
    assert run(["accuracy", "frames", "--out", str(made.settings.data_dir / "x"), "--count", "3"]) == 0
    assert "3 new files" in capsys.readouterr().out
