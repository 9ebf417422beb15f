"""The table of fates."""

from __future__ import annotations

import logging

import pytest

from gistline.errors import EngineUnavailable, ImageRejected, SettingsError, StorageUnavailable
from workers.retries import FATES, Fate, fate_of, settled


@pytest.mark.parametrize(
    ("error", "fate"),
    [
        (StorageUnavailable("away"), Fate.WAIT),
        (EngineUnavailable("broken"), Fate.LEAVE),
        (ImageRejected("no image"), Fate.DROP),
        (SettingsError("wrong"), Fate.DROP),
        (ValueError("no id"), Fate.RING),
        (RuntimeError("who knows"), Fate.RING),
    ],
)
def test_every_error_has_one_fate(error: Exception, fate: Fate) -> None:
    assert fate_of(error) is fate


def test_no_line_of_the_table_hides_a_later_one() -> None:
    kinds = [kind for kind, _ in FATES]
    for number, kind in enumerate(kinds):
        assert not any(issubclass(kind, earlier) for earlier in kinds[:number])


def test_what_is_planned_is_no_error_and_what_is_not_keeps_its_traceback(caplog: pytest.LogCaptureFixture) -> None:
    answered: list[Fate] = []
    reactions = {Fate.LEAVE: lambda: answered.append(Fate.LEAVE)}
    with settled(reactions):
        raise StorageUnavailable("away")
    assert [record.levelno for record in caplog.records] == [logging.WARNING]
    assert answered == []
    with settled(reactions):
        raise EngineUnavailable("broken")
    assert caplog.records[-1].levelno == logging.ERROR
    assert caplog.records[-1].exc_info
    assert answered == [Fate.LEAVE]


def test_a_signal_to_leave_passes_through() -> None:
    with pytest.raises(SystemExit), settled({}):
        raise SystemExit(0)
