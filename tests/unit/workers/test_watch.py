"""The thread that keeps watch beside a worker's messages."""

from __future__ import annotations

from threading import Event

from gistline.errors import EngineUnavailable, StorageUnavailable
from workers.retries import Fate
from workers.upkeep import Duty, Watch

WITHIN_S = 10.0


def test_a_duty_that_fails_keeps_no_other_from_being_done() -> None:
    done, failures = Event(), []

    def fail() -> None:
        failures.append(1)
        raise StorageUnavailable("away")

    def succeed() -> None:
        if len(failures) > 2:
            done.set()

    watch = Watch([Duty(0.001, fail), Duty(0.001, succeed)], {})
    watch.start()
    assert done.wait(WITHIN_S)
    watch.leave()
    assert not watch.is_alive()


def test_a_duty_that_asks_for_it_is_done_again_at_once() -> None:
    done, turns = Event(), []

    def hungry() -> bool:
        turns.append(1)
        if len(turns) == 3:
            done.set()
        return len(turns) < 3

    watch = Watch([Duty(3_600.0, hungry)], {})
    watch.start()
    assert done.wait(WITHIN_S), "it waited for an hour"
    watch.leave()
    assert len(turns) == 3


def test_an_error_of_a_duty_has_the_fate_of_a_tasks() -> None:
    left = Event()

    def broken() -> None:
        raise EngineUnavailable("broken")

    watch = Watch([Duty(3_600.0, broken)], {Fate.LEAVE: left.set})
    watch.start()
    assert left.wait(WITHIN_S)
    watch.leave()
