"""The tables that grow, cut by time: where rows go, what is made ahead, what retention drops and what it must not."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path
from uuid import UUID

import pytest
from sqlalchemy import func, select, text, update

from gistline.dispatch import NullDispatcher
from gistline.domain import Box, DeadLetterResolution, Detection, Verdict, VerdictKind
from gistline.flows.add_camera import add_camera
from gistline.flows.close_windows import close_now
from gistline.flows.dead_letters import discard_dead_letters, retry_dead_letters
from gistline.flows.keep_partitions import make_partitions, retire_rows
from gistline.flows.submit_frames import Submitted, submit_frames
from gistline.storage import partitions, retention
from gistline.storage.dead_letters import resolve_letters
from gistline.storage.findings import Measure
from gistline.storage.frame_ledger import FrameLedger, read_frame_ledger
from gistline.storage.frames import Outcome, finish
from gistline.storage.moments import ids_at, moment_of
from gistline.storage.partitions import CUT_BY, Period, make_period, missing_periods, periods
from gistline.storage.session import transaction
from gistline.storage.submissions import NewFrame, insert_frames
from gistline.storage.tables import FrameKey, FrameRow, ReportWindow, RetiredPartition, WindowState
from tests.support.fleet import Fleet, fleet, fleet_settings, picture
from tests.support.passports import add_engine
from tests.support.twin_detector import Order

OLD = Period(datetime(2020, 1, 6, tzinfo=UTC), datetime(2020, 2, 3, tzinfo=UTC))
OPEN = Detection("open", 0.9, Box(1.0, 2.0, 3.0, 4.0))


@pytest.fixture
def line(database_url: str, tmp_path: Path) -> Iterator[Fleet]:
    """A fleet whose first partition makes room for one of the year 2020."""
    with fleet(fleet_settings(database_url, "redis://127.0.0.1:1/0", tmp_path)) as made:
        with transaction(made.sessions) as session:
            session.execute(text("DROP TABLE " + ", ".join(f"{table}_first" for table in CUT_BY)))
            assert make_period(session, OLD, wait_ms=500)
        make_partitions(made.sessions, made.settings.frames)
        yield made


def homes(line: Fleet, table: str = "frames") -> dict[str, int]:
    """Rows of each partition of a table."""
    with transaction(line.sessions) as session:
        rows = session.execute(text(f"SELECT tableoid::regclass::text, count(*) FROM {table} GROUP BY 1"))  # noqa: S608
        return dict(rows.all())


def ledger(line: Fleet) -> FrameLedger:
    with transaction(line.sessions) as session:
        return read_frame_ledger(session)


def accept(line: Fleet, moment: datetime, keys: list[str]) -> list[UUID]:
    """Accept frames of a time that is over; their bytes are gone."""
    ids = ids_at(moment, len(keys))
    template = NewFrame(ids[0], line.camera.id, "line-1", None, "", "0" * 64, "image/png", 1, 32, 32, None, None)
    rows = [replace(template, id=one, idempotency_key=key) for one, key in zip(ids, keys, strict=True)]
    with transaction(line.sessions) as session:
        assert insert_frames(session, rows) == set(ids)
        session.execute(update(FrameRow).where(FrameRow.id.in_(ids)).values(bytes_stored=False))
    return ids


def end(line: Fleet, ids: list[UUID], *, failed: int = 0) -> None:
    """Inspect them; the last ``failed`` of them fail."""
    seen = [Outcome.inspected(one, Verdict(VerdictKind.NG, "open"), [(OPEN, 3)]) for one in ids[: len(ids) - failed]]
    lost = [Outcome.failed(one, "damaged") for one in ids[len(ids) - failed :]]
    with transaction(line.sessions) as session:
        engine_id, passport_id = add_engine(session)
        measure = Measure(engine_id, 0.25, 0.5, passport_id)
        assert finish(session, [*seen, *lost], token=None, measure=measure) == set(ids)


def report(line: Fleet) -> None:
    """Put what ended into windows and call these written."""
    close_now(line.sessions, NullDispatcher(), line.settings.reports, "line-1")
    with transaction(line.sessions) as session:
        session.execute(update(ReportWindow).values(state=WindowState.WRITTEN))


def forget_keys(line: Fleet) -> None:
    with transaction(line.sessions) as session:
        session.execute(FrameKey.__table__.delete())  # type: ignore[attr-defined]


def over(line: Fleet, keys: list[str], *, failed: int = 0) -> list[UUID]:
    """Frames of the old period that nobody needs any more, but for the dead letters of those that failed."""
    ids = accept(line, OLD.starts_at + timedelta(days=1), keys)
    end(line, ids, failed=failed)
    report(line)
    return ids


def retired(line: Fleet) -> dict[str, tuple[int, ...]]:
    with transaction(line.sessions) as session:
        rows = session.scalars(select(RetiredPartition))
        return {row.partition: (row.accepted, row.inspected, row.failed, row.expired, row.findings) for row in rows}


def test_rows_of_a_frame_lie_in_partitions_of_its_time(line: Fleet) -> None:
    over(line, ["a", "b"])
    new = line.submit([Order.DEFECT])
    end(line, new)
    with transaction(line.sessions) as session:
        [current, *_] = [one for one in periods(session) if one.lowest <= new[0] < one.end]
    for table, rows in (("frames", 2), ("findings", 2), ("verdicts", 2), ("submissions", 1)):
        assert homes(line, table) == {f"{table}_{OLD.name}": rows, f"{table}_{current.name}": 1}


def test_partitions_are_made_ahead_once(line: Fleet) -> None:
    assert make_partitions(line.sessions, line.settings.frames) == []
    daily = line.settings.frames.model_copy(update={"partition_days": 1, "keep_rows_days": 30})
    with transaction(line.sessions) as session:
        before = periods(session)
        for table in CUT_BY:
            assert periods(session, table) == before, table
        now = partitions.database_time(session)
    assert list(missing_periods(before, now=now, days=1)) == []
    assert make_partitions(line.sessions, daily) == []


def test_what_no_period_covers_is_taken_all_the_same_and_keeps_its_place(line: Fleet) -> None:
    coming = Period(datetime(2031, 5, 5, tzinfo=UTC), datetime(2031, 5, 6, tzinfo=UTC))
    frames = accept(line, coming.starts_at, ["ahead"])
    end(line, frames)
    assert homes(line) == {"frames_default": 1}
    with transaction(line.sessions) as session:
        assert partitions.has_strays(session, coming)
        assert not partitions.has_strays(session, OLD)
    report(line)
    assert ledger(line).faults == {}


def test_a_period_is_dropped_and_the_books_agree(line: Fleet) -> None:
    over(line, ["a", "b", "c"])
    new = line.submit([Order.DEFECT])
    forget_keys(line)
    before = ledger(line)
    assert [one.name for one in retire_rows(line.sessions, line.settings.frames)] == [OLD.name]
    after = ledger(line)
    assert (before.accepted, before.inspected, before.pending, before.retired) == (4, 3, 1, 0)
    assert (after.accepted, after.inspected, after.pending, after.retired) == (4, 3, 1, 3)
    assert after.faults == {}
    assert retired(line) == {OLD.name: (3, 3, 0, 0, 3)}
    assert set(line.frames()) == set(new)
    with transaction(line.sessions) as session:
        assert OLD not in periods(session)
    assert retire_rows(line.sessions, line.settings.frames) == []


def test_keys_go_before_their_frames_and_name_new_ones_then(line: Fleet) -> None:
    over(line, ["same"])
    image = Submitted(picture(Order.DEFECT, 7), frame_key="same")
    assert [one.name for one in retire_rows(line.sessions, line.settings.frames)] == [OLD.name]
    arguments = {
        "sessions": line.sessions,
        "store": line.store,
        "dispatcher": NullDispatcher(),
        "settings": line.settings,
    }
    [first] = submit_frames(line.camera, [image], **arguments)  # type: ignore[arg-type]
    [again] = submit_frames(line.camera, [image], **arguments)  # type: ignore[arg-type]
    assert (first.duplicate, again.duplicate, again.id) == (False, True, first.id)
    other, _ = add_camera(line.sessions, "cam-2", "line-1")
    [others] = submit_frames(other, [image], **arguments)  # type: ignore[arg-type]
    assert not others.duplicate


def leave_unfinished(line: Fleet) -> None:
    accept(line, OLD.starts_at, ["x"])


def leave_unreported(line: Fleet) -> None:
    end(line, accept(line, OLD.starts_at, ["x"]))


def leave_unwritten(line: Fleet) -> None:
    end(line, accept(line, OLD.starts_at, ["x"]))
    close_now(line.sessions, NullDispatcher(), line.settings.reports, "line-1")


def leave_bytes(line: Fleet) -> None:
    frames = over(line, ["x"])
    with transaction(line.sessions) as session:
        session.execute(update(FrameRow).where(FrameRow.id.in_(frames)).values(bytes_stored=True))


def leave_a_letter(line: Fleet) -> None:
    over(line, ["x", "y"], failed=1)


HOLDS = {
    "frames that are not finished": leave_unfinished,
    "frames that no report speaks of yet": leave_unreported,
    "frames of a window": leave_unwritten,
    "frames whose bytes are kept": leave_bytes,
    "open dead letters": leave_a_letter,
}


@pytest.mark.parametrize("reason", HOLDS)
def test_a_period_stays_while_somebody_needs_it(line: Fleet, reason: str, caplog: pytest.LogCaptureFixture) -> None:
    HOLDS[reason](line)
    before = line.frames().keys()
    assert retire_rows(line.sessions, line.settings.frames) == []
    assert line.frames().keys() == before
    said = "frames that no report speaks of yet" if reason == "frames of a window" else reason
    assert f"the rows of {OLD.name} are older than frames.keep_rows_days, and stay: {said}" in caplog.text
    assert retired(line) == {}


def test_a_settled_letter_goes_with_its_frame(line: Fleet) -> None:
    *_, failed = over(line, ["x", "y"], failed=1)
    assert retire_rows(line.sessions, line.settings.frames) == []
    assert discard_dead_letters(line.sessions, [failed], by="somebody").frames == (failed,)
    assert retire_rows(line.sessions, line.settings.frames) == [OLD]
    assert retired(line) == {OLD.name: (2, 1, 1, 0, 1)}
    assert ledger(line).faults == {}


def test_rows_stay_for_ever_when_asked(line: Fleet) -> None:
    frames = over(line, ["a"])
    kept = line.settings.frames.model_copy(update={"keep_rows_days": 0})
    assert retire_rows(line.sessions, kept) == []
    assert set(line.frames()) == set(frames)


def test_who_reads_is_not_disturbed_for_long_and_nothing_goes_half(
    line: Fleet, monkeypatch: pytest.MonkeyPatch
) -> None:
    over(line, ["a"])
    forget_keys(line)
    monkeypatch.setattr("gistline.flows.keep_partitions.TRIES", 2)
    monkeypatch.setattr("gistline.flows.keep_partitions.PAUSE_S", 0.0)
    monkeypatch.setattr("gistline.flows.keep_partitions.WAIT_MS", 50)
    with transaction(line.sessions) as reader:
        assert reader.scalar(select(func.count()).select_from(FrameRow)) == 1
        assert retire_rows(line.sessions, line.settings.frames) == []
        with transaction(line.sessions) as session:
            assert not make_period(session, Period(OLD.ends_at, OLD.ends_at + timedelta(days=1)), wait_ms=50)
    with transaction(line.sessions) as session:
        assert len(periods(session)) == len(periods(session, "findings"))
    assert retired(line) == {}
    assert retire_rows(line.sessions, line.settings.frames) == [OLD]


def test_what_somebody_needs_at_the_last_moment_stays(line: Fleet) -> None:
    *_, failed = over(line, ["x", "y"], failed=1)
    with transaction(line.sessions) as session:
        counted = retention.count_period(session, OLD)
        assert retention.what_holds(session, OLD) != []
        assert not retention.drop_period(session, OLD, counted, wait_ms=500)
    assert failed in line.frames()


def test_strays_are_deleted_row_by_row_and_counted(line: Fleet) -> None:
    strays = accept(line, datetime(2031, 1, 1, tzinfo=UTC), ["a", "b", "c"])
    end(line, strays, failed=1)
    report(line)
    with transaction(line.sessions) as session:
        old = {"finished_at": func.now() - timedelta(days=366)}
        session.execute(update(FrameRow).where(FrameRow.id.in_(strays[:1] + strays[2:])).values(old))
        session.execute(text("UPDATE submissions SET accepted_at = now() - interval '366 days'"))
    retire_rows(line.sessions, line.settings.frames)
    assert set(line.frames()) == set(strays[1:]), "one is too young, one has an open dead letter"
    with transaction(line.sessions) as session:
        resolve_letters(session, strays[2:], DeadLetterResolution.DISCARDED, resolved_by="somebody")
    retire_rows(line.sessions, line.settings.frames)
    assert set(line.frames()) == {strays[1]}
    assert retired(line)["default"] == (3, 1, 1, 0, 1)
    books = ledger(line)
    assert (books.accepted, books.inspected, books.failed, books.retired, books.faults) == (3, 2, 1, 2, {})


def test_ids_are_of_the_databases_time(line: Fleet, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("uuid_utils.compat.uuid7", lambda: pytest.fail("an id by the clock of this process"))
    for frame_id, row in ((one, line.frames()[one]) for one in line.submit([Order.DEFECT] * 3)):
        assert abs(moment_of(frame_id) - row.accepted_at) < timedelta(milliseconds=2)


def test_an_old_letter_can_be_tried_again(line: Fleet) -> None:
    *_, failed = over(line, ["x", "y"], failed=1)
    with transaction(line.sessions) as session:
        session.execute(update(FrameRow).where(FrameRow.id == failed).values(bytes_stored=True))
    assert retry_dead_letters(line.sessions, [failed], by="somebody").frames == (failed,)
    with transaction(line.sessions) as session:
        session.execute(update(FrameRow).where(FrameRow.id == failed).values(bytes_stored=False))
    end(line, [failed])
    assert retire_rows(line.sessions, line.settings.frames) == []
    report(line)
    assert retire_rows(line.sessions, line.settings.frames) == [OLD]
    assert retired(line)[OLD.name] == (2, 2, 0, 0, 2)
