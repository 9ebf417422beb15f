"""The watch over the verdict channel, round by round."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from uuid import UUID

import pytest
from sqlalchemy import insert, select
from uuid_utils.compat import uuid7

from gistline.domain import Verdict, VerdictKind
from gistline.domain_acting import VerdictSource
from gistline.flows.tell_gates import GateTeller
from gistline.flows.verdict_out import VerdictOut
from gistline.flows.watch_verdicts import VerdictWatch
from gistline.settings import Settings
from gistline.settings_acting import VerdictChannelSettings
from gistline.storage.findings import Measure
from gistline.storage.frames import Outcome
from gistline.storage.gate_verdicts import CHUNK
from gistline.storage.session import Sessions, close_database, open_database, transaction
from gistline.storage.tables import GateVerdictRow
from tests.support.fleet import fleet_settings
from tests.support.processes import wait_until

LONG_AGO = timedelta(days=31)


@pytest.fixture
def settings(database_url: str, tmp_path: Path) -> Settings:
    channel = VerdictChannelSettings(enabled=True, keep_days=30)
    return fleet_settings(database_url, "redis://127.0.0.1:9/0", tmp_path).model_copy(update={"verdicts": channel})


@pytest.fixture
def sessions(settings: Settings) -> Iterator[Sessions]:
    opened = open_database(settings.database)
    yield opened
    close_database(opened)


def save(sessions: Sessions, count: int, *, ago: timedelta, decided: bool) -> None:
    """Frames of one camera, decided and published so long ago, or due since then."""
    at = datetime.now(UTC) - ago
    about = {"camera_id": 1, "camera": "cam-1", "line": "line-1", "captured_at": at, "accepted_at": at, "due_at": at}
    told = {"kind": VerdictKind.OK, "source": VerdictSource.INSPECTION, "decided_at": at, "published_at": at}
    with transaction(sessions) as session:
        rows = [
            {"frame_id": uuid7(), "frame_key": str(place), **about, **({"seq": place, **told} if decided else {})}
            for place in range(int(ago.total_seconds()), int(ago.total_seconds()) + count)
        ]
        session.execute(insert(GateVerdictRow), rows)


def count(sessions: Sessions, *, before: timedelta) -> int:
    with transaction(sessions) as session:
        old = GateVerdictRow.decided_at < datetime.now(UTC) - before
        return len(session.scalars(select(GateVerdictRow.frame_id).where(old)).all())


def test_old_verdicts_go_a_few_a_round_so_that_no_deadline_waits_for_them(
    settings: Settings, sessions: Sessions
) -> None:
    save(sessions, 2 * CHUNK + 50, ago=LONG_AGO, decided=True)
    save(sessions, 10, ago=timedelta(days=29), decided=True)
    watch = VerdictWatch(sessions, VerdictOut(settings, name="alone"), settings.verdicts)
    left = []
    for late in (1, 2, 3):
        save(sessions, 1, ago=timedelta(seconds=late), decided=False)
        watch.look()
        assert watch.missed == late
        left.append(count(sessions, before=timedelta(days=30)))
    assert left == [CHUNK + 50, 50, 0]
    assert count(sessions, before=timedelta(days=28)) == 10


class OnceBroken(VerdictOut):
    """Fails once in a way that nobody foresaw."""

    broken = True

    def taken(self) -> list[UUID]:
        if self.broken:
            self.broken = False
            raise RuntimeError("as planned")
        return super().taken()


@pytest.mark.filterwarnings("ignore::pytest.PytestUnhandledThreadExceptionWarning")
def test_a_failure_that_nobody_foresaw_does_not_silence_the_gates(settings: Settings, sessions: Sessions) -> None:
    save(sessions, 1, ago=timedelta(seconds=0), decided=False)
    with transaction(sessions) as session:
        frame_id = session.scalars(select(GateVerdictRow.frame_id)).one()
    out = OnceBroken(settings, name="worker")
    teller = GateTeller(sessions, out, settings.verdicts)
    teller.open()
    wait_until(lambda: not out.broken, "the failure")
    found = Verdict(VerdictKind.OK, "nothing found")
    teller.tell(Outcome.inspected(frame_id, found, ()), Measure(None, 0.25, 0.5))

    def decided() -> bool:
        with transaction(sessions) as session:
            return session.scalars(select(GateVerdictRow.kind)).one() is VerdictKind.OK

    wait_until(decided, "the verdict")
    teller.close()
