"""A gate passes on what it hears once, misses what does not come, and closes when nobody watches."""

from __future__ import annotations

from typing import Any

from hypothesis import given
from hypothesis import strategies as st

from gistline.domain import VerdictKind
from gistline.outputs.gate import Action, Gate
from gistline.outputs.verdict_message import BLIND, WATCHING, redis_channel, verdict_topic


def verdict(seq: int, kind: str = "ok", camera: str = "cam-1") -> dict[str, Any]:
    return {"seq": seq, "camera": camera, "verdict": kind, "reason": "because", "part_number": f"p{seq}"}


def heartbeat(state: str = WATCHING, /, **last: int) -> dict[str, Any]:
    return {"state": state, "interval_ms": 500, "last_seq": {name.replace("_", "-"): one for name, one in last.items()}}


def opened(**last: int) -> Gate:
    gate = Gate(gap_s=0.25)
    list(gate.hear_heartbeat(heartbeat(**last), 0.0))
    return gate


def test_every_verdict_is_acted_on_once() -> None:
    gate = opened()
    told = [verdict(1), verdict(2, "ng"), verdict(2, "ng"), verdict(3, "reinspect"), verdict(1)]
    done = [action for one in told for action in gate.hear_verdict(one, 0.0)]
    assert [(one.seq, one.kind.value) for one in done] == [(1, "ok"), (2, "ng"), (3, "reinspect")]
    assert gate.duplicates == 2
    assert done[0].part == "p1"


def test_a_missing_number_is_ng_once_its_time_is_up_and_a_late_one_is_ignored() -> None:
    gate = opened()
    assert [one.seq for one in gate.hear_verdict(verdict(1), 0.0)] == [1]
    assert [one.seq for one in gate.hear_verdict(verdict(4), 0.1)] == [4]
    assert [one.seq for one in gate.hear_verdict(verdict(2), 0.2)] == [2], "out of order, but in time"
    assert list(gate.tick(0.3)) == []
    assert list(gate.tick(0.4)) == [Action(VerdictKind.NG, "its verdict did not come", "cam-1", 3)]
    assert list(gate.hear_verdict(verdict(3), 0.5)) == []


def test_a_heartbeat_tells_of_a_last_verdict_that_did_not_come() -> None:
    gate = opened(cam_1=7)
    list(gate.hear_heartbeat(heartbeat(cam_1=8), 0.5))
    assert [(one.camera, one.seq, one.kind.value) for one in gate.tick(1.0)] == [("cam-1", 8, "ng")]


def test_it_is_closed_until_a_live_heartbeat_comes_and_when_they_stop() -> None:
    gate = Gate()
    assert list(gate.hear_heartbeat(heartbeat(), 0.0, retained=True)) == []
    assert not gate.is_open
    assert [one.kind for one in gate.hear_heartbeat(heartbeat(), 1.0)] == [VerdictKind.OK]
    assert list(gate.tick(3.0)) == []
    assert [one.why for one in gate.tick(3.1)] == ["closed: no heartbeat"]
    assert list(gate.tick(3.2)) == [], "it says so once"
    assert not gate.is_open


def test_it_closes_when_the_watch_is_blind_or_the_broker_is_gone() -> None:
    gate = opened()
    assert [one.why for one in gate.hear_heartbeat(heartbeat(BLIND), 0.1)] == ["closed: the watch is blind"]
    assert [one.kind for one in gate.hear_heartbeat(heartbeat(), 0.2)] == [VerdictKind.OK]
    assert [one.why for one in gate.lose_connection()] == ["closed: no connection to the broker"]


def test_numbers_that_begin_anew_are_noticed() -> None:
    gate = opened(cam_1=5_000)
    assert [one.kind for one in gate.hear_heartbeat(heartbeat(cam_1=3), 0.1)] == [VerdictKind.NG]
    assert [one.seq for one in gate.hear_verdict(verdict(4), 0.2)] == [4]


@given(st.permutations(range(1, 13)), st.sets(st.integers(1, 12)), st.integers(1, 12))
def test_whatever_the_order_each_number_is_acted_on_exactly_once(order: list[int], lost: set[int], again: int) -> None:
    gate = opened(cam_1=0)
    heard = [seq for seq in order if seq not in lost] + [again] * (again not in lost)
    done = [action.seq for seq in heard for action in gate.hear_verdict(verdict(seq), 0.0)]
    done += [one.seq for one in gate.hear_heartbeat(heartbeat(cam_1=12), 0.1)]
    done += [action.seq for action in gate.tick(0.5)]
    assert sorted(done) == list(range(1, 13))


def test_names_cannot_hold_a_wildcard() -> None:
    assert verdict_topic("gistline", "line/+", "cam#1") == "gistline/verdicts/line%2F%2B/cam%231"
    assert redis_channel("gistline", "line-1", "cam 1") == "gistline:verdicts:line-1:cam%201"
