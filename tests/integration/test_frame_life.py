"""One life for each frame: what the database allows, the ledger that proves it, dead letters, fair order."""

from __future__ import annotations

import json
from collections.abc import Iterator
from contextlib import nullcontext, suppress
from dataclasses import replace
from datetime import timedelta
from itertools import product
from pathlib import Path
from uuid import UUID, uuid4

import pytest
from sqlalchemy import func, text, update
from sqlalchemy.exc import IntegrityError

from gistline.cli.main import run
from gistline.dispatch import NullDispatcher
from gistline.domain import FINAL_STATES, TRANSITIONS, DeadLetterKind, DeadLetterResolution, FrameState
from gistline.errors import NotFound
from gistline.flows.add_camera import add_camera
from gistline.flows.dead_letters import discard_dead_letters, retry_dead_letters
from gistline.flows.inspect_frames import inspect_frames
from gistline.flows.prune_frames import prune_frames
from gistline.flows.station import Station
from gistline.flows.sweep import sweep
from gistline.storage.dead_letters import DeadLetter, list_letters
from gistline.storage.frame_ledger import FrameLedger, read_frame_ledger
from gistline.storage.frame_sweep import frames_to_ring
from gistline.storage.frames import Lease, claim_fresh
from gistline.storage.session import transaction
from gistline.storage.tables import FrameRow
from tests.support.fleet import Fleet, fleet, fleet_settings
from tests.support.twin_detector import Order, TwinDetector

NOWHERE = "redis://127.0.0.1:1/0"


@pytest.fixture
def line(database_url: str, tmp_path: Path) -> Iterator[Fleet]:
    with fleet(fleet_settings(database_url, NOWHERE, tmp_path)) as made:
        yield made


@pytest.fixture
def station(line: Fleet) -> Iterator[Station]:
    made = line.station(TwinDetector())
    yield made
    made.close()


def sql(line: Fleet, statement: str, **values: object) -> None:
    with transaction(line.sessions) as session:
        session.execute(text(statement), values)


def ledger(line: Fleet) -> FrameLedger:
    with transaction(line.sessions) as session:
        return read_frame_ledger(session)


def letters(line: Fleet, *, resolved: bool = False) -> list[DeadLetter]:
    with transaction(line.sessions) as session:
        return list_letters(session, limit=100, resolved=resolved)


def put(line: Fleet, frame_id: UUID, state: FrameState) -> None:
    """Set a state with what the checks of its row ask for, in one statement."""
    with transaction(line.sessions) as session:
        session.execute(
            update(FrameRow)
            .where(FrameRow.id == frame_id)
            .values(
                state=state,
                lease_until=func.now() if state is FrameState.RUNNING else None,
                finished_at=func.now() if state in FINAL_STATES else None,
            )
        )


def inspect_all(station: Station) -> None:
    """Until nothing is pending, whatever the frames do."""
    for _ in range(20):
        with suppress(RuntimeError):
            if not inspect_frames((), station).batches:
                return


def test_the_database_allows_what_the_table_says(line: Fleet) -> None:
    pairs = [pair for pair in product(FrameState, FrameState) if pair[0] is not pair[1]]
    for frame, (before, after) in zip(line.submit([Order.DEFECT] * len(pairs)), pairs, strict=True):
        if before is not FrameState.PENDING:
            put(line, frame, before)
        allowed = after in TRANSITIONS[before]
        refusal = pytest.raises(IntegrityError, match=f"cannot go from {before} to {after}")
        with nullcontext() if allowed else refusal:
            put(line, frame, after)
        assert line.frames()[frame].state is (after if allowed else before)
    line.sound = False


def test_every_state_is_in_the_table_and_two_are_the_end() -> None:
    assert set(TRANSITIONS) == set(FrameState)
    assert {state for state, after in TRANSITIONS.items() if not after} == FINAL_STATES - {FrameState.FAILED}


def test_a_frame_begins_as_pending_and_stays(line: Fleet) -> None:
    [frame] = line.submit([Order.DEFECT])
    with pytest.raises(IntegrityError, match="cannot begin as running"):
        sql(
            line,
            "INSERT INTO frames (id, camera_id, line, idempotency_key, sha256, media_type, byte_count, width, height, "
            "captured_at, state, lease_until) SELECT :new, camera_id, line, 'other', sha256, media_type, byte_count, "
            "width, height, captured_at, 'running', now() FROM frames",
            new=uuid4(),
        )
    with pytest.raises(IntegrityError, match="an accepted frame is never lost"):
        sql(line, "DELETE FROM frames WHERE id = :frame", frame=frame)
    assert set(line.frames()) == {frame}


def test_the_ledger_agrees_through_a_frames_life(line: Fleet, station: Station) -> None:
    line.submit([Order.DEFECT] * 5)
    line.submit([Order.CLEAN, Order.RAISE])
    before = ledger(line)
    assert (before.accepted, before.pending, before.missing, before.faults) == (7, 7, 0, {})
    inspect_all(station)
    after = ledger(line)
    assert (after.inspected, after.failed, after.pending, after.running) == (6, 1, 0, 0)
    assert after.faults == {}


def lose_a_frame(line: Fleet, frame: UUID) -> None:
    with transaction(line.sessions) as session:
        session.execute(text("SET LOCAL gistline.retention = 'on'"))
        for table in ("findings", "verdicts"):
            session.execute(text(f"DELETE FROM {table} WHERE frame_id = :frame"), {"frame": frame})  # noqa: S608 - names from above
        session.execute(text("DELETE FROM frames WHERE id = :frame"), {"frame": frame})


def double_a_finding(line: Fleet, frame: UUID) -> None:
    sql(
        line,
        "WITH other AS (INSERT INTO engines (model, weights_sha256, runtime, device, precision, convolutions, "
        "int8_convolutions, labels) SELECT model, 'other', runtime, device, precision, convolutions, "
        "int8_convolutions, labels FROM engines LIMIT 1 RETURNING id) "
        "INSERT INTO findings (frame_id, engine_id, passport_id, label, confidence, x, y, w, h, severity, "
        "min_confidence) SELECT frame_id, other.id, passport_id, label, confidence, x, y, w, h, severity, "
        "min_confidence FROM findings, other WHERE frame_id = :frame",
        frame=frame,
    )


def fail_unseen(line: Fleet, frame: UUID) -> None:
    sql(line, "ALTER TABLE frames DISABLE TRIGGER frames_one_life")
    sql(line, "UPDATE frames SET state = 'failed' WHERE id = :frame", frame=frame)
    sql(line, "ALTER TABLE frames ENABLE TRIGGER frames_one_life")


FAULTS = {
    "missing": (lose_a_frame, {"missing": 1}),
    "no verdict": (
        lambda line, frame: sql(line, "DELETE FROM verdicts WHERE frame_id = :frame", frame=frame),
        {"ended_without_verdict": 1},
    ),
    "doubled across engines": (double_a_finding, {"findings_astray": 1, "findings_doubled": 1}),
    "failed unseen": (fail_unseen, {"findings_astray": 1, "failed_without_letter": 1}),
}


@pytest.mark.parametrize("fault", FAULTS)
def test_the_ledger_sees_what_is_off(
    line: Fleet, station: Station, fault: str, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    url = line.settings.database.url.get_secret_value()
    monkeypatch.setenv("GISTLINE_DATABASE__URL", url)
    frame, *_ = line.submit([Order.DEFECT] * 3)
    inspect_frames((), station)
    assert run(["ledger", "frames"]) == 0
    assert "Nothing is missing, nothing is doubled." in capsys.readouterr().out
    plant, found = FAULTS[fault]
    plant(line, frame)
    assert run(["ledger", "frames", "--json"]) == 1
    assert json.loads(capsys.readouterr().out)["faults"] == found
    line.sound = False


def test_a_killer_is_quarantined_and_tried_again_when_asked(line: Fleet, station: Station) -> None:
    [frame] = line.submit([Order.DEFECT])
    for _ in range(line.settings.fleet.max_attempts):
        with transaction(line.sessions) as session:
            session.execute(update(FrameRow).values(error="tried", attempts=FrameRow.attempts))
            session.execute(
                text(
                    "UPDATE frames SET state = 'running', attempts = attempts + 1, "
                    "lease_until = now() - interval '1 second' WHERE state = 'pending'"
                )
            )
        sweep(line.sessions, NullDispatcher(), line.settings)
    [letter] = letters(line)
    assert (letter.frame_id, letter.kind, letter.attempts) == (frame, DeadLetterKind.QUARANTINED, 2)
    assert "worker died" in letter.reason
    assert ledger(line).faults == {}

    assert retry_dead_letters(line.sessions, None, by="somebody").frames == (frame,)
    assert ledger(line).pending == 1
    assert not letters(line)
    inspect_all(station)
    line.assert_inspected_once([frame])
    [closed] = letters(line, resolved=True)
    assert (closed.resolution, closed.resolved_by) == (DeadLetterResolution.RETRIED, "somebody")


def test_bytes_of_an_open_letter_outlive_their_age(line: Fleet, station: Station) -> None:
    frames = line.submit([Order.RAISE, Order.RAISE])
    inspect_all(station)
    assert {one.kind for one in letters(line)} == {DeadLetterKind.FAILED}
    with transaction(line.sessions) as session:
        session.execute(update(FrameRow).values(finished_at=func.now() - timedelta(days=400)))
    assert prune_frames(line.sessions, line.store, line.settings.frames) == 0
    assert discard_dead_letters(line.sessions, frames[:1], by="somebody").frames == tuple(frames[:1])
    assert prune_frames(line.sessions, line.store, line.settings.frames) == 1
    assert [row.bytes_stored for _, row in sorted(line.frames().items())] == [
        frame != frames[0] for frame in sorted(frames)
    ]
    with pytest.raises(NotFound, match=str(frames[0])):
        retry_dead_letters(line.sessions, frames, by="somebody")
    assert len(letters(line)) == 1, "nothing was changed"


def test_without_bytes_there_is_no_second_try(line: Fleet, station: Station) -> None:
    [frame] = line.submit([Order.RAISE])
    inspect_all(station)
    with transaction(line.sessions) as session:
        session.execute(update(FrameRow).values(bytes_stored=False))
    assert retry_dead_letters(line.sessions, [frame], by="somebody").without_bytes == (frame,)
    assert line.in_state(FrameState.FAILED) == {frame}
    assert len(letters(line)) == 1


def claimed(line: Fleet, limit: int) -> list[UUID]:
    with transaction(line.sessions) as session:
        return [one.id for one in claim_fresh(session, Lease(uuid4(), 60.0), limit=limit)]


def beside(line: Fleet, name: str, *, priority: int = 5) -> Fleet:
    camera, _ = add_camera(line.sessions, name, "line-1", priority=priority)
    return replace(line, camera=camera, numbers=10_000 * (1 + len(line.frames())))


def test_a_quiet_camera_does_not_wait_for_a_chatty_one(line: Fleet) -> None:
    for _ in range(4):
        line.submit([Order.DEFECT] * 16)
    [quiet] = beside(line, "cam-2").submit([Order.DEFECT])
    assert quiet in claimed(line, 16)


def test_cameras_that_send_slowly_are_served_as_they_come(line: Fleet) -> None:
    first = line.submit([Order.DEFECT])
    second = beside(line, "cam-2").submit([Order.DEFECT])
    third = line.submit([Order.DEFECT])
    assert claimed(line, 3) == [*first, *second, *third]


def test_an_alarm_camera_is_served_first(line: Fleet) -> None:
    line.submit([Order.DEFECT] * 40)
    [alarm] = beside(line, "alarm", priority=0).submit([Order.DEFECT])
    assert claimed(line, 1) == [alarm]


def test_a_long_queue_is_rung_for_less_and_less(line: Fleet) -> None:
    [frame] = line.submit([Order.DEFECT])
    pauses = []
    for _ in range(5):
        waited = 0
        while True:
            waited += 1
            sql(line, "UPDATE frames SET sent_at = now() - make_interval(secs => :waited)", waited=waited + 0.5)
            with transaction(line.sessions) as session:
                if list(frames_to_ring(session, ring_again_s=2.0, longest_s=10.0)) == [frame]:
                    break
        pauses.append(waited)
    assert pauses == [2, 4, 8, 10, 10]
