"""The verdict channel: one verdict a frame for its gate, whoever dies, over a real broker, database and worker."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import threading
from collections import Counter
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any
from uuid import UUID, uuid4

import pytest
from pydantic import SecretStr
from redis import Redis
from sqlalchemy import func, select, update

from gistline.dispatch import CelerySender, NullDispatcher
from gistline.domain import FrameState, VerdictKind
from gistline.domain_acting import GateDecision, VerdictSource
from gistline.errors import SettingsError
from gistline.flows.alarm_rules import add_rule
from gistline.flows.evaluate_alarms import evaluate_alarms
from gistline.flows.sweep import LOST_WORKER, sweep
from gistline.flows.verdict_out import VerdictOut
from gistline.flows.watch_verdicts import VerdictWatch
from gistline.settings import DatabaseSettings, Settings
from gistline.settings_acting import MqttSettings, VerdictChannelSettings
from gistline.settings_report import as_environment
from gistline.storage.alarms import list_alarms
from gistline.storage.frames import Lease, claim_fresh
from gistline.storage.gate_verdicts import decide
from gistline.storage.session import open_database, transaction
from gistline.storage.tables import FrameRow, GateVerdictRow
from tests.support.broker import Broker, Heard, Listener, listening, own_broker
from tests.support.fleet import Fleet, fleet, fleet_settings
from tests.support.processes import ROOT, wait_until
from tests.support.redis_server import own_redis
from tests.support.twin_detector import Order

NOWHERE = "redis://127.0.0.1:1/0"
VERDICTS, HEARTBEAT = "gistline/verdicts/", "gistline/heartbeat"


@pytest.fixture(scope="module")
def module_broker(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Broker]:
    with own_broker(tmp_path_factory.mktemp("mosquitto")) as broker:
        yield broker


@pytest.fixture
def broker(module_broker: Broker) -> Broker:
    return module_broker


def channel_settings(database_url: str, redis_url: str, folder: Path, broker: Broker, **channel: Any) -> Settings:
    quick = {"enabled": True, "deadline_ms": 5_000, "heartbeat_ms": 100, "publish_again_ms": 300}
    return fleet_settings(database_url, redis_url, folder, lease_s=1.0).model_copy(
        update={"mqtt": broker.settings(), "verdicts": VerdictChannelSettings(**(quick | channel))}
    )


@contextmanager
def watcher(settings: Settings) -> Iterator[subprocess.Popen[bytes]]:
    """A watch as a process of its own."""
    ours = {name: value for name, value in os.environ.items() if not name.upper().startswith("GISTLINE_")}
    with (settings.data_dir / f"watch-{uuid4().hex[:6]}.log").open("wb") as log:
        process = subprocess.Popen(
            [sys.executable, "-m", "workers", "verdicts"],
            cwd=ROOT,
            env=ours | as_environment(settings),
            stdout=log,
            stderr=log,
        )
    try:
        yield process
    finally:
        process.kill()
        process.wait()


@contextmanager
def watching(settings: Settings, held: Fleet) -> Iterator[None]:
    """A watch in this process."""
    stopping = threading.Event()
    watch = VerdictWatch(held.sessions, VerdictOut(settings, name="beside", beats=True), settings.verdicts)
    thread = threading.Thread(target=watch.run, args=(stopping,))
    thread.start()
    try:
        yield
    finally:
        stopping.set()
        thread.join()


def verdicts_of(listener: Listener) -> dict[UUID, list[Heard]]:
    """What was heard about each frame, each number once: a broker may deliver a message again."""
    found: dict[UUID, list[Heard]] = {}
    for one in listener.of(VERDICTS):
        told = found.setdefault(UUID(one.told["frame_id"]), [])
        if one.told["seq"] not in [other.told["seq"] for other in told]:
            told.append(one)
    return found


def wait_for_verdicts(listener: Listener, ids: Sequence[UUID], within_s: float = 20.0) -> dict[UUID, dict[str, Any]]:
    """Wait until every frame has its verdict; fails when one has two."""
    wait_until(lambda: set(ids) <= set(verdicts_of(listener)), "every frame has a verdict", within_s=within_s)
    found = verdicts_of(listener)
    assert {one: len(told) for one, told in found.items() if len(told) != 1} == {}
    return {one: told[0].told for one, told in found.items()}


def assert_gapless(told: dict[UUID, dict[str, Any]]) -> None:
    assert sorted(one["seq"] for one in told.values()) == list(range(1, len(told) + 1))


def watched(listener: Listener) -> bool:
    return any(one.told["state"] == "watching" for one in listener.of(HEARTBEAT))


def test_each_frame_is_told_once_over_mqtt_and_redis(
    database_url: str, redis_url: str, tmp_path: Path, broker: Broker
) -> None:
    settings = channel_settings(database_url, redis_url, tmp_path, broker)
    with fleet(settings) as held, listening(broker) as listener, Redis.from_url(redis_url) as client:
        heard = client.pubsub()
        heard.psubscribe("gistline:verdicts:*")
        worker = held.start_worker()
        worker.wait_until_ready()
        sender = CelerySender(settings.redis, settings.fleet)
        ids = held.submit([Order.CLEAN, Order.DEFECT, Order.CLEAN, Order.DEFECT], sender)
        told = wait_for_verdicts(listener, ids)
        sender.close()
        assert [told[one]["verdict"] for one in ids] == ["ok", "ng", "ok", "ng"]
        assert_gapless(told)
        first = told[ids[1]]
        assert (first["camera"], first["line"], first["source"]) == ("cam-1", "line-1", "inspection")
        assert "strongest open" in first["reason"]
        assert first["passport_id"]
        message = listener.of(VERDICTS)[0]
        assert message.topic == "gistline/verdicts/line-1/cam-1"
        assert message.properties["frame"] == message.told["frame_id"]
        assert message.expires_s == 60
        held.wait_until_finished(ids)
        assert {one: VerdictKind(told[one]["verdict"]) for one in ids} == held.verdicts()

        def on_redis() -> set[str]:
            while (message := heard.get_message(ignore_subscribe_messages=True, timeout=0.1)) is not None:
                got.add(json.loads(message["data"])["frame_id"])
            return got

        got: set[str] = set()
        wait_until(lambda: on_redis() == {str(one) for one in ids}, "Redis told the same")
        wait_until(lambda: state_of(held)["unpublished"] == 0, "what the broker took is noted")
        heard.close()


def state_of(held: Fleet) -> Counter[str]:
    """How many of the channel's verdicts came from where, and how many are awaited, untold, or came too late."""
    with transaction(held.sessions) as session:
        rows = session.scalars(select(GateVerdictRow)).all()
    return Counter(
        word
        for row in rows
        for word, is_so in (
            ("awaited" if row.source is None else row.source.value, True),
            ("unpublished", row.source is not None and row.published_at is None),
            ("superseded", row.late_kind is not None),
        )
        if is_so
    )


@pytest.mark.long
def test_a_killed_worker_s_frames_fail_closed_and_a_later_inspection_changes_nothing(
    database_url: str, redis_url: str, tmp_path: Path, broker: Broker
) -> None:
    settings = channel_settings(database_url, redis_url, tmp_path, broker, deadline_ms=1_500)
    with fleet(settings) as held, listening(broker) as listener, watcher(settings):
        wait_until(lambda: watched(listener), "the watch is there")
        worker = held.start_worker(frame_ms=500)
        worker.wait_until_ready()
        sender = CelerySender(settings.redis, settings.fleet)
        ids = held.submit([Order.CLEAN] * 4, sender)
        sender.close()
        wait_until(lambda: len(verdicts_of(listener)) >= 1, "the first frame is told")
        worker.kill()
        told = wait_for_verdicts(listener, ids)
        assert_gapless(told)
        missed = [one for one in ids if told[one]["source"] == "deadline"]
        assert 2 <= len(missed) <= 3, "the worker died in the second frame"
        assert {told[one]["verdict"] for one in missed} == {"ng"}
        held.start_worker().wait_until_ready()
        held.wait_until_finished(ids)
        wait_until(lambda: state_of(held)["superseded"] == len(missed), "what came too late is recorded")
        assert len(wait_for_verdicts(listener, ids)) == 4


def test_a_frame_that_nobody_saw_fail_is_told_as_soon_as_it_has_failed(
    database_url: str, tmp_path: Path, broker: Broker
) -> None:
    settings = channel_settings(database_url, NOWHERE, tmp_path, broker, deadline_ms=600_000)
    with fleet(settings) as held, listening(broker) as listener, watching(settings, held):
        [given_up, expired, waiting] = held.submit([Order.CLEAN] * 3)
        with transaction(held.sessions) as session:
            for frame in (given_up, expired):
                assert claim_fresh(session, Lease(uuid4(), 0.0), limit=1, ids=[frame])
            wait = update(FrameRow).where(FrameRow.id == expired)
            session.execute(wait.values(state=FrameState.PENDING, token=None, lease_until=None, expires_at=func.now()))
        limits = settings.fleet.model_copy(update={"max_attempts": 1})
        sweep(held.sessions, NullDispatcher(), settings.model_copy(update={"fleet": limits}))
        told = wait_for_verdicts(listener, [given_up, expired])
        assert {(one["verdict"], one["source"]) for one in told.values()} == {("reinspect", "failure")}
        assert LOST_WORKER in told[given_up]["reason"]
        assert_gapless(told)
        assert waiting not in verdicts_of(listener)
        for name, count in (("two", 2), ("three", 3)):
            missed = {"name": name, "kind": "verdicts_missed", "params": {"count": count}}
            add_rule(held.sessions, missed, by="a test")
        evaluate_alarms(held.sessions)
        with transaction(held.sessions) as session:
            [alarm] = list_alarms(session, limit=10)
        assert alarm.rule == "two"
        assert alarm.text.startswith("2 frames of cam-1 (line-1) had no verdict of an inspection in the last 300 s")


@pytest.mark.long
def test_without_redis_every_frame_has_its_verdict_over_mqtt(database_url: str, tmp_path: Path, broker: Broker) -> None:
    with own_redis(tmp_path) as server:
        settings = channel_settings(database_url, server.url, tmp_path, broker, deadline_ms=1_500)
        with fleet(settings) as held, listening(broker) as listener, watcher(settings):
            held.start_worker().wait_until_ready()
            wait_until(lambda: watched(listener), "the watch is there")
            server.kill()
            ids = held.submit([Order.CLEAN, Order.DEFECT] * 3)
            told = wait_for_verdicts(listener, ids)
            assert_gapless(told)
            wrong = [one for one in ids[1::2] if told[one]["verdict"] == "ok"]
            assert wrong == [], "a defect is never told to be good"


@pytest.mark.long
def test_verdicts_decided_while_the_broker_is_away_come_when_it_is_back(
    database_url: str, redis_url: str, tmp_path: Path
) -> None:
    with own_broker(tmp_path) as broker:
        settings = channel_settings(database_url, redis_url, tmp_path, broker)
        with fleet(settings) as held, watcher(settings):
            held.start_worker().wait_until_ready()
            with listening(broker) as listener:
                wait_until(lambda: watched(listener), "the watch is there")
                before = held.submit([Order.CLEAN] * 3)
                wait_for_verdicts(listener, before)
                wait_until(lambda: state_of(held)["unpublished"] == 0, "noted")
                broker.kill()
                away = held.submit([Order.DEFECT] * 3)
                held.wait_until_finished(away)
                broker.start()
                told = wait_for_verdicts(listener, [*before, *away])
            assert_gapless(told)
            wait_until(lambda: state_of(held)["unpublished"] == 0, "noted")


def test_two_watches_decide_once_and_the_broker_tells_when_one_vanishes(
    database_url: str, redis_url: str, tmp_path: Path, broker: Broker
) -> None:
    settings = channel_settings(database_url, redis_url, tmp_path, broker, deadline_ms=100, missing="reinspect")
    with fleet(settings) as held, listening(broker) as listener, watcher(settings) as one, watching(settings, held):
        wait_until(lambda: len({beat.told["watcher"] for beat in listener.of(HEARTBEAT)}) == 2, "both watch")
        ids = [frame for _ in range(10) for frame in held.submit([Order.CLEAN] * 4)]
        told = wait_for_verdicts(listener, ids)
        assert_gapless(told)
        assert Counter(one["verdict"] for one in told.values()) == {"reinspect": 40}
        assert state_of(held)["deadline"] == 40
        one.kill()
        wait_until(lambda: any(beat.told["state"] == "offline" for beat in listener.of(HEARTBEAT)), "its will")


def test_decisions_at_once_take_one_another_nothing(
    database_url: str, redis_url: str, tmp_path: Path, broker: Broker
) -> None:
    settings = channel_settings(database_url, redis_url, tmp_path, broker)
    with fleet(settings) as held:
        ids = held.submit([Order.CLEAN] * 30)
        standing: list[Any] = []

        def tell(source: VerdictSource, kind: VerdictKind, frames: Sequence[UUID]) -> None:
            for start in range(0, len(frames), 5):
                decisions = [GateDecision(one, kind, "said", source) for one in frames[start : start + 5]]
                with transaction(held.sessions) as session:
                    mine = decide(session, decisions, settings.verdicts)
                standing.extend(mine)

        threads = [
            threading.Thread(target=tell, args=(VerdictSource.INSPECTION, VerdictKind.OK, ids)),
            threading.Thread(target=tell, args=(VerdictSource.DEADLINE, VerdictKind.NG, ids[::-1])),
            threading.Thread(target=tell, args=(VerdictSource.FAILURE, VerdictKind.REINSPECT, ids[10:] + ids[:10])),
        ]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        assert sorted(one.frame_id for one in standing) == sorted(ids)
        assert sorted(one.seq for one in standing) == list(range(1, 31))
        state = state_of(held)
        assert (state["inspection"] + state["deadline"] + state["failure"], state["awaited"]) == (30, 0)
        assert state["superseded"] == 30 - state["inspection"]


def test_a_watch_without_a_database_says_that_it_is_blind(tmp_path: Path, broker: Broker) -> None:
    settings = Settings(
        data_dir=tmp_path,
        database=DatabaseSettings(url=SecretStr("postgresql://nobody@127.0.0.1:9/none"), connect_timeout_s=1),
        mqtt=broker.settings(prefix="blind"),
        verdicts=VerdictChannelSettings(enabled=True),
    )
    sessions = open_database(settings.database)
    stopping = threading.Event()
    with listening(broker, "blind/#") as listener:
        watch = VerdictWatch(sessions, VerdictOut(settings, name="w", beats=True), settings.verdicts)
        thread = threading.Thread(target=watch.run, args=(stopping,))
        thread.start()
        wait_until(lambda: [one.told["state"] for one in listener.messages][-1:] == ["blind"], "it says so")
        stopping.set()
        thread.join()
    sessions.kw["bind"].dispose()


def test_a_channel_that_leads_nowhere_is_refused() -> None:
    nowhere = Settings(verdicts=VerdictChannelSettings(enabled=True))
    with pytest.raises(SettingsError, match=r"neither mqtt\.url nor redis\.url"):
        VerdictOut(nowhere, name="w")
    wrong = nowhere.model_copy(update={"mqtt": MqttSettings(url=SecretStr("http://user:secret@host"))})
    with pytest.raises(SettingsError, match="begins with 'http'") as refused:
        VerdictOut(wrong, name="w")
    assert "secret" not in str(refused.value)
