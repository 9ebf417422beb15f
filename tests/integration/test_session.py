"""What a process that stands still may keep from the others."""

from __future__ import annotations

import time
from collections.abc import Iterator

import pytest
from pydantic import SecretStr
from sqlalchemy import text

from gistline.errors import StorageUnavailable
from gistline.settings import DatabaseSettings
from gistline.storage.session import Sessions, close_database, open_database, transaction
from gistline.storage.submissions import hold_bytes


@pytest.fixture
def sessions(database_url: str) -> Iterator[Sessions]:
    made = open_database(DatabaseSettings(url=SecretStr(database_url), idle_timeout_s=1))
    yield made
    close_database(made)


def test_a_transaction_whose_process_stands_still_lets_go_of_its_locks(sessions: Sessions) -> None:
    """A worker frozen by its hypervisor must not keep the cameras from submitting."""
    frozen = transaction(sessions)
    session = frozen.__enter__()
    session.execute(text("LOCK TABLE frames_default IN ACCESS EXCLUSIVE MODE"))
    asked = time.monotonic()
    with transaction(sessions) as other:
        other.execute(text("SET LOCAL lock_timeout = '20s'"))
        other.execute(text("SELECT count(*) FROM frames"))
    assert time.monotonic() - asked > 0.5, "the lock was not held: the test proves nothing"
    with pytest.raises(StorageUnavailable, match="database"):
        frozen.__exit__(None, None, None)
    with transaction(sessions) as again:
        assert again.scalar(text("SELECT 1")) == 1


def count_within(sessions: Sessions, limit: str) -> None:
    with transaction(sessions) as session:
        session.execute(text(f"SET LOCAL {limit} = '50ms'"))
        session.execute(text("SELECT count(*) FROM frames_default"))


@pytest.mark.parametrize("limit", ["statement_timeout", "lock_timeout"])
def test_a_database_that_is_only_busy_is_not_called_away(sessions: Sessions, limit: str) -> None:
    with transaction(sessions) as holder:
        holder.execute(text("LOCK TABLE frames_default IN ACCESS EXCLUSIVE MODE"))
        with pytest.raises(StorageUnavailable, match="too busy: canceling statement due to"):
            count_within(sessions, limit)


def test_a_submission_may_wait_for_its_store_for_longer(sessions: Sessions) -> None:
    """Its lock is one that only the pruner waits for, and a bucket may take its time."""
    with transaction(sessions) as session:
        hold_bytes(session, ["ab" * 32])
        time.sleep(1.3)
        assert session.scalar(text("SELECT 1")) == 1
    with transaction(sessions) as session:
        assert session.scalar(text("SHOW idle_in_transaction_session_timeout")) == "1s", (
            "it is for that transaction alone"
        )
