"""Alarms whose rule, camera or version of the program changes, notices that cannot be sent: none is stuck or false."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import insert, select, update

from gistline.domain_acting import AlarmSeverity, AlarmState, DeliveryState
from gistline.errors import RequestRejected
from gistline.flows.alarm_outputs import Outputs
from gistline.flows.alarm_rules import add_rule, remove_rule, set_rule, try_rule
from gistline.flows.deliver_alarms import deliver_alarms
from gistline.flows.evaluate_alarms import evaluate_alarms
from gistline.flows.inspect_frames import inspect_frames
from gistline.flows.revoke_camera import revoke_camera
from gistline.storage.alarms import list_alarms, list_deliveries
from gistline.storage.session import transaction
from gistline.storage.tables import AlarmDeliveryRow, AlarmInboxRow, AlarmRuleRow, AlarmStateRow
from tests.support.fleet import Fleet, fleet, fleet_settings
from tests.support.processes import wait_until
from tests.support.twin_detector import Order, TwinDetector


@pytest.fixture
def plant(database_url: str, tmp_path: Path) -> Iterator[Fleet]:
    """One camera; frames are inspected in this process."""
    with fleet(fleet_settings(database_url, "redis://127.0.0.1:9/0", tmp_path)) as held:
        yield held


def add(plant: Fleet, name: str, kind: str, **more: Any) -> None:
    add_rule(plant.sessions, {"name": name, "kind": kind, "cooldown_s": 0, **more}, by="a test")


def see_defects(plant: Fleet, count: int) -> None:
    ids = plant.submit([Order.DEFECT] * count)
    station = plant.station(TwinDetector())
    inspect_frames(ids, station)
    station.close()


def alarms(plant: Fleet) -> list[tuple[str, AlarmState]]:
    with transaction(plant.sessions) as session:
        return [(one.rule, one.state) for one in list_alarms(session, limit=100)]


def events(plant: Fleet) -> list[str]:
    with transaction(plant.sessions) as session:
        return [one.notice["event"] for one in reversed(list_deliveries(session, limit=100))]


def remembered(plant: Fleet) -> int:
    with transaction(plant.sessions) as session:
        return len(session.scalars(select(AlarmStateRow)).all())


def test_a_rule_that_this_version_does_not_understand_keeps_no_other_from_being_looked_at(plant: Fleet) -> None:
    with transaction(plant.sessions) as session:
        odd = {"name": "odd", "kind": "temperature", "severity": AlarmSeverity.INFO, "params": {}, "cooldown_s": 0}
        session.execute(insert(AlarmRuleRow).values(**odd, outputs=["log"], created_by="a later version"))
    add(plant, "opens", "class", label="open")
    see_defects(plant, 1)
    assert evaluate_alarms(plant.sessions).frames == 1
    assert alarms(plant) == [("opens", AlarmState.FIRING)]
    with transaction(plant.sessions) as session:
        assert session.scalars(select(AlarmInboxRow)).all() == []
    remove_rule(plant.sessions, "odd", by="a test")


def test_a_rule_that_looks_elsewhere_ends_what_it_saw_before_and_says_so(plant: Fleet) -> None:
    add(plant, "run", "consecutive_ng", params={"count": 2})
    see_defects(plant, 3)
    evaluate_alarms(plant.sessions)
    assert alarms(plant) == [("run", AlarmState.FIRING)]
    set_rule(plant.sessions, "run", {"line": "line-2"}, by="a test")
    evaluate_alarms(plant.sessions)
    assert alarms(plant) == [("run", AlarmState.RESOLVED)]
    assert events(plant) == ["firing", "resolved"]
    assert remembered(plant) == 0


def test_a_rule_that_is_told_otherwise_but_looks_at_the_same_keeps_its_alarm(plant: Fleet) -> None:
    add(plant, "run", "consecutive_ng", params={"count": 2})
    see_defects(plant, 3)
    evaluate_alarms(plant.sessions)
    set_rule(plant.sessions, "run", {"cooldown_s": 60, "outputs": ["log"]}, by="a test")
    see_defects(plant, 1)
    evaluate_alarms(plant.sessions)
    assert alarms(plant) == [("run", AlarmState.FIRING)]
    assert events(plant) == ["firing"]


def test_a_rule_that_goes_says_that_its_alarms_are_over(plant: Fleet) -> None:
    add(plant, "opens", "class", label="open")
    see_defects(plant, 1)
    evaluate_alarms(plant.sessions)
    remove_rule(plant.sessions, "opens", by="a test")
    assert alarms(plant) == [("opens", AlarmState.RESOLVED)]
    assert events(plant) == ["firing", "resolved"]


def test_a_camera_whose_keys_are_revoked_is_not_missed(plant: Fleet) -> None:
    add(plant, "silent", "silence", params={"seconds": 1})

    def fires() -> bool:
        evaluate_alarms(plant.sessions)
        return alarms(plant) == [("silent", AlarmState.FIRING)]

    wait_until(fires, "its silence is told")
    revoke_camera(plant.sessions, plant.camera.name, by="a test")
    evaluate_alarms(plant.sessions)
    assert alarms(plant) == [("silent", AlarmState.RESOLVED)]
    assert remembered(plant) == 0


def test_silence_of_other_lines_is_not_told_once_a_rule_looks_at_one_line(plant: Fleet) -> None:
    add(plant, "silent", "silence", params={"seconds": 1})
    evaluate_alarms(plant.sessions)
    assert remembered(plant) == 1
    set_rule(plant.sessions, "silent", {"line": "line-2"}, by="a test")
    evaluate_alarms(plant.sessions)
    assert remembered(plant) == 0


def test_a_notice_that_cannot_be_read_is_dead_and_holds_up_no_other(plant: Fleet) -> None:
    add(plant, "opens", "class", label="open", outputs=["log"])
    ids = [one for _ in range(2) for one in try_rule(plant.sessions, "opens", by="a test")]
    with transaction(plant.sessions) as session:
        session.execute(update(AlarmDeliveryRow).where(AlarmDeliveryRow.id == ids[0]).values(notice={"v": 99}))
    deliver_alarms(plant.sessions, Outputs(plant.settings), plant.settings.alarms)
    with transaction(plant.sessions) as session:
        ends = {one.id: one.state for one in list_deliveries(session, limit=10)}
    assert ends == {ids[0]: DeliveryState.DEAD, ids[1]: DeliveryState.DELIVERED}


def test_a_target_that_no_header_can_hold_is_refused_when_the_rule_is_written(plant: Fleet) -> None:
    with pytest.raises(RequestRejected, match="line break"):
        add(plant, "opens", "class", label="open", outputs=["email:anna@plant.example\nBcc: eve@elsewhere.example"])
