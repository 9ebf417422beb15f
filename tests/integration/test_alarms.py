"""Alarms from committed frames to real receivers that fail, break off and come back: nothing lost, ids the same."""

from __future__ import annotations

import hashlib
import hmac
import json
import logging
import sys
import threading
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import timedelta
from decimal import Decimal
from pathlib import Path
from typing import Any
from uuid import UUID

import pytest
from pydantic import SecretStr
from sqlalchemy import func, select, update

from gistline.domain import Language
from gistline.domain_acting import AlarmState, DeliveryState
from gistline.domain_money import BudgetPeriod, BudgetScope
from gistline.flows.alarm_outputs import Outputs
from gistline.flows.alarm_rules import add_rule, decide_deliveries, remove_rule, set_rule, try_rule
from gistline.flows.budgets import set_budget
from gistline.flows.deliver_alarms import deliver_alarms
from gistline.flows.evaluate_alarms import evaluate_alarms
from gistline.flows.inspect_frames import inspect_frames
from gistline.flows.prune_alarms import prune_alarms
from gistline.settings import Settings
from gistline.settings_acting import AlarmSettings
from gistline.storage import audit
from gistline.storage.alarm_rules import list_rules
from gistline.storage.alarms import Alarm, Delivery, list_alarms, list_deliveries
from gistline.storage.budget_book import BudgetKey
from gistline.storage.budgets import ensure_period
from gistline.storage.session import transaction
from gistline.storage.tables import AlarmDeliveryRow, AlarmInboxRow, AlarmRow, BudgetPeriodRow, BudgetRow
from gistline.storage.token_record import NewSample, add_drift
from tests.support.broker import listening, own_broker
from tests.support.fleet import Fleet, fleet, fleet_settings
from tests.support.processes import wait_until
from tests.support.receivers import own_hook, own_mailbox
from tests.support.twin_detector import Order, TwinDetector

SECRET = "a-signing-key-of-the-tests"


@pytest.fixture
def alarmed(database_url: str, tmp_path: Path) -> Iterator[Fleet]:
    """A fleet without workers: frames are inspected in this process."""
    with fleet(fleet_settings(database_url, "redis://127.0.0.1:9/0", tmp_path)) as held:
        yield held


def rule(held: Fleet, name: str, kind: str, **more: Any) -> None:
    add_rule(held.sessions, {"name": name, "kind": kind, "cooldown_s": 0, **more}, by="a test")


def inspect(held: Fleet, *orders: Order) -> list[UUID]:
    ids = held.submit(orders)
    station = held.station(TwinDetector())
    inspect_frames(ids, station)
    station.close()
    return ids


def alarms_of(held: Fleet) -> list[Alarm]:
    with transaction(held.sessions) as session:
        return list_alarms(session, limit=1_000)


def deliveries_of(held: Fleet) -> list[Delivery]:
    with transaction(held.sessions) as session:
        return list_deliveries(session, limit=1_000)


def states(held: Fleet) -> Counter[str]:
    return Counter(one.state.value for one in deliveries_of(held))


def quick(**more: Any) -> AlarmSettings:
    given = {"retry_backoff_s": 0.0, "webhook_networks": ["127.0.0.0/8"], "max_per_minute": 10_000, "timeout_s": 2.0}
    return AlarmSettings(**(given | more))


@contextmanager
def delivering(held: Fleet, settings: AlarmSettings, **sections: Any) -> Iterator[Any]:
    """A function that delivers what is due, once."""
    outputs = Outputs(held.settings.model_copy(update={"alarms": settings, **sections}))
    yield lambda: deliver_alarms(held.sessions, outputs, settings)
    outputs.close()


def deliver_all(held: Fleet, deliver: Any) -> None:
    def done() -> bool:
        deliver()
        return states(held)["pending"] == 0

    wait_until(done, "every delivery has an end")


def test_an_alarm_says_what_was_found_and_its_repeats_are_held_back_and_counted(alarmed: Fleet) -> None:
    rule(alarmed, "opens", "class", label="open", cooldown_s=3_600, severity="critical")
    rule(alarmed, "others", "class", label="short")
    inspect(alarmed, Order.CLEAN, Order.DEFECT, Order.CLEAN)
    assert evaluate_alarms(alarmed.sessions).frames == 3
    inspect(alarmed, Order.DEFECT, Order.DEFECT)
    assert evaluate_alarms(alarmed.sessions).held_back == 2
    (alarm,) = alarms_of(alarmed)
    assert (alarm.rule, alarm.camera, alarm.line, alarm.label) == ("opens", "cam-1", "line-1", "open")
    assert (alarm.count, alarm.held_back, alarm.state) == (3, 2, "firing")
    assert "open 0.90 (severity 3) near (10, 10)" in alarm.text
    (delivery,) = deliveries_of(alarmed)
    assert delivery.notice["subject"] == "[CRITICAL] opens: open at cam-1 (line-1)"
    with transaction(alarmed.sessions) as session:
        assert {one.fields["name"]: (one.firing, one.held_back) for one in list_rules(session)} == {
            "opens": (1, 2),
            "others": (0, 0),
        }


def test_a_state_fires_once_and_tells_its_end(alarmed: Fleet) -> None:
    rule(alarmed, "run", "consecutive_ng", params={"count": 2})
    rule(alarmed, "letters", "dead_letters")
    inspect(alarmed, Order.DEFECT, Order.DEFECT, Order.DEFECT)
    for _ in range(3):
        evaluate_alarms(alarmed.sessions)
    assert [one.notice["event"] for one in deliveries_of(alarmed)] == ["firing"]
    inspect(alarmed, Order.CLEAN)
    evaluate_alarms(alarmed.sessions)
    assert [one.notice["event"] for one in deliveries_of(alarmed)] == ["resolved", "firing"]
    assert [one.state for one in alarms_of(alarmed)] == ["resolved"]


def test_queue_silence_and_missed_verdicts(alarmed: Fleet) -> None:
    rule(alarmed, "waiting", "queue_age", params={"seconds": 1})
    rule(alarmed, "silent", "silence", params={"seconds": 1}, camera="cam-1")
    ids = alarmed.submit([Order.CLEAN, Order.CLEAN])

    def fire() -> set[str]:
        evaluate_alarms(alarmed.sessions)
        return {one.rule for one in alarms_of(alarmed)}

    wait_until(lambda: fire() == {"waiting", "silent"}, "both fire")
    texts = {one.rule: one.text for one in alarms_of(alarmed)}
    assert texts["waiting"].startswith("2 frames of cam-1 (line-1) wait, the oldest for ")
    assert texts["silent"].startswith("No frame from cam-1 (line-1) for ")
    station = alarmed.station(TwinDetector())
    inspect_frames(ids, station)
    station.close()
    fire()
    assert {one.rule: one.state.value for one in alarms_of(alarmed)}["waiting"] == "resolved"


def test_many_processes_judge_each_frame_once(alarmed: Fleet) -> None:
    rule(alarmed, "opens", "class", label="open")
    inspect(alarmed, *[Order.DEFECT] * 40)
    judged: list[int] = []

    def judge() -> None:
        judged.append(evaluate_alarms(alarmed.sessions).frames)

    threads = [threading.Thread(target=judge) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert sum(judged) == 40
    assert alarms_of(alarmed)[0].count == 40
    with transaction(alarmed.sessions) as session:
        assert session.scalars(select(AlarmInboxRow)).all() == []


def test_no_rule_no_inbox(alarmed: Fleet) -> None:
    inspect(alarmed, Order.DEFECT)
    with transaction(alarmed.sessions) as session:
        assert session.scalars(select(AlarmInboxRow)).all() == []


def test_a_webhook_is_signed_and_comes_through_whatever_its_receiver_does(alarmed: Fleet) -> None:
    with own_hook() as hook:
        hook.answers = [500, 0, 429, 503]
        rule(alarmed, "opens", "class", label="open", outputs=["webhook"])
        inspect(alarmed, Order.DEFECT)
        evaluate_alarms(alarmed.sessions)
        settings = quick(webhook_url=SecretStr(hook.url), webhook_secret=SecretStr(SECRET))
        with delivering(alarmed, settings) as deliver:
            deliver_all(alarmed, deliver)
        assert [status for _, _, status in hook.heard] == [500, 0, 429, 503, 200]
        assert len({headers["Idempotency-Key"] for headers, _, _ in hook.heard}) == 1
        assert len({body for _, body, _ in hook.heard}) == 1, "the same bytes each time"
        headers, body = hook.accepted[0]
        stamp, _, mac = headers["Gistline-Signature"].removeprefix("t=").partition(",v1=")
        assert mac == hmac.new(SECRET.encode(), f"{stamp}.".encode() + body, hashlib.sha256).hexdigest()
        told = json.loads(body)
        assert told["id"] == headers["Idempotency-Key"]
        assert (told["camera"], told["class"], told["event"]) == ("cam-1", "open", "firing")
        (delivery,) = deliveries_of(alarmed)
        assert (delivery.state, delivery.attempts) == (DeliveryState.DELIVERED, 5)


def test_what_is_refused_for_good_or_too_often_is_dead_until_somebody_decides(
    alarmed: Fleet, caplog: pytest.LogCaptureFixture
) -> None:
    with own_hook() as hook:
        hook.answers = [404, 500, 500, 500]
        rule(alarmed, "opens", "class", label="open", outputs=["webhook"])
        settings = quick(webhook_url=SecretStr(hook.url), webhook_secret=SecretStr(SECRET), max_attempts=3)
        with delivering(alarmed, settings) as deliver:
            for _ in range(2):
                inspect(alarmed, Order.DEFECT)
                evaluate_alarms(alarmed.sessions)
                deliver_all(alarmed, deliver)
            late, first = deliveries_of(alarmed)
            assert (first.state, first.attempts, first.error) == (DeliveryState.DEAD, 1, "the receiver answered 404")
            assert (late.state, late.attempts) == (DeliveryState.DEAD, 3)
            discarded = decide_deliveries(alarmed.sessions, [first.id], DeliveryState.DISCARDED, by="a test")
            assert discarded == [first.id]
            assert decide_deliveries(alarmed.sessions, None, DeliveryState.PENDING, by="a test") == [late.id]
            deliver_all(alarmed, deliver)
        assert [json.loads(body)["id"] for _, body in hook.accepted] == [str(late.id)]
        assert states(alarmed) == {"delivered": 1, "discarded": 1}
    assert SECRET not in caplog.text
    assert "in-the-url" not in caplog.text


def test_a_private_address_is_reached_only_if_its_network_is_named(alarmed: Fleet) -> None:
    with own_hook() as hook:
        rule(alarmed, "opens", "class", label="open", outputs=[f"webhook:{hook.url}"])
        try_rule(alarmed.sessions, "opens", by="a test")
        with delivering(alarmed, quick(webhook_networks=[])) as deliver:
            deliver_all(alarmed, deliver)
        assert hook.heard == []
        (delivery,) = deliveries_of(alarmed)
        assert delivery.state is DeliveryState.DEAD
        assert "127.0.0.1, which is neither public nor in alarms.webhook_networks" in (delivery.error or "")
        with transaction(alarmed.sessions) as session:
            assert "in-the-url" not in str([row.detail for row in audit.newest(session, limit=10)])


def test_mqtt_waits_for_a_broker_that_is_away(alarmed: Fleet, tmp_path: Path) -> None:
    with own_broker(tmp_path) as broker:
        rule(alarmed, "opens", "class", label="open", outputs=["mqtt"], severity="critical")
        inspect(alarmed, Order.DEFECT)
        evaluate_alarms(alarmed.sessions)
        mqtt = broker.settings(connect_timeout_s=0.3, ack_timeout_s=0.5)
        with delivering(alarmed, quick(), mqtt=mqtt) as deliver:
            broker.kill()
            assert deliver() == 1
            assert deliveries_of(alarmed)[0].error == "no connection to the MQTT broker"
            broker.start()
            with listening(broker, "gistline/alarms/#") as listener:
                deliver_all(alarmed, deliver)
                wait_until(lambda: bool(listener.messages), "it is heard")
                heard = {one.told["id"]: one for one in listener.messages}
        ((told_id, message),) = heard.items()
        assert message.topic == "gistline/alarms/critical/line-1"
        assert message.properties == {"id": told_id, "event": "firing", "severity": "critical", "rule": "opens"}
        assert message.expires_s == 86_400


def test_mail_comes_through_a_server_that_greylists(alarmed: Fleet) -> None:
    with own_mailbox() as mailbox:
        mailbox.answers = ["451 later", "421 too busy"]
        rule(alarmed, "opens", "class", label="open", outputs=["email", "email:chief@plant.example"])
        inspect(alarmed, Order.DEFECT)
        evaluate_alarms(alarmed.sessions)
        settings = quick(
            smtp_url=SecretStr(mailbox.url),
            smtp_from="gistline@plant.example",
            smtp_to="a@plant.example,b@plant.example",
        )
        with delivering(alarmed, settings) as deliver:
            deliver_all(alarmed, deliver)
        assert {mail["To"] for mail in mailbox.mails} == {"a@plant.example, b@plant.example", "chief@plant.example"}
        assert {mail["Message-ID"] for mail in mailbox.mails} == {
            f"<{one.id}@plant.example>" for one in deliveries_of(alarmed)
        }
        mail = mailbox.mails[0]
        assert mail["Subject"] == "[WARNING] opens: open at cam-1 (line-1)"
        assert b"open 0.90 (severity 3) near (10, 10)" in bytes(mail.get_payload(decode=True))
        inspect(alarmed, Order.DEFECT)
        evaluate_alarms(alarmed.sessions)
        mailbox.answers = ["550 unknown", "550 unknown"]
        with delivering(alarmed, settings) as deliver:
            deliver_all(alarmed, deliver)
        assert states(alarmed) == {"delivered": 2, "dead": 2}


def test_one_output_gets_no_more_than_its_share_of_a_minute(alarmed: Fleet, caplog: pytest.LogCaptureFixture) -> None:
    rule(alarmed, "opens", "class", label="open", outputs=["log"])
    for _ in range(4):
        try_rule(alarmed.sessions, "opens", by="a test")
    with caplog.at_level(logging.INFO), delivering(alarmed, quick(max_per_minute=3)) as deliver:
        assert [deliver(), deliver()] == [3, 0]
        assert states(alarmed) == {"delivered": 3, "pending": 1}
        with transaction(alarmed.sessions) as session:
            session.execute(update(AlarmDeliveryRow).values(tried_at=None))
        assert deliver() == 1
    assert caplog.text.count("[TEST] opens: open at the whole site") == 4


def test_a_deliverer_that_dies_half_way_leaves_its_work_to_another(alarmed: Fleet) -> None:
    with own_hook() as hook:
        rule(alarmed, "opens", "class", label="open", outputs=["webhook"])
        try_rule(alarmed.sessions, "opens", by="a test")
        settings = quick(webhook_url=SecretStr(hook.url), timeout_s=0.1)
        outputs = Outputs(alarmed.settings.model_copy(update={"alarms": settings}))
        with pytest.raises(SystemExit):
            deliver_alarms(alarmed.sessions, outputs, settings, stopping=lambda: sys.exit(1))
        assert deliver_alarms(alarmed.sessions, outputs, settings) == 0, "leased"
        deliver_all(alarmed, lambda: deliver_alarms(alarmed.sessions, outputs, settings))
        assert len(hook.accepted) == 1
        assert deliveries_of(alarmed)[0].attempts == 2


def test_rules_change_and_go_and_their_alarms_end(alarmed: Fleet) -> None:
    rule(alarmed, "opens", "class", label="open")
    inspect(alarmed, Order.DEFECT)
    evaluate_alarms(alarmed.sessions)
    changed = set_rule(alarmed.sessions, "opens", {"enabled": False, "params": {"at_least": "2"}}, by="a test")
    assert changed.params == {"min_confidence": 0.0, "at_least": 2, "window_s": 0}
    assert [one.state for one in alarms_of(alarmed)] == ["resolved"]
    set_rule(alarmed.sessions, "opens", {"enabled": True, "params": {"at_least": 1}}, by="a test")
    inspect(alarmed, Order.DEFECT)
    evaluate_alarms(alarmed.sessions)
    remove_rule(alarmed.sessions, "opens", by="a test")
    assert [one.state for one in alarms_of(alarmed)] == ["resolved", "resolved"]
    with transaction(alarmed.sessions) as session:
        actions = [row.action for row in audit.newest(session, limit=10) if row.action.startswith("alarm.")]
    assert actions == ["alarm.remove", "alarm.set", "alarm.set", "alarm.add"]


def test_nothing_to_do_is_done_quietly(alarmed: Fleet) -> None:
    """A report worker's duties do not raise for the sake of an empty table."""
    assert evaluate_alarms(alarmed.sessions).notices == 0
    settings: Settings = alarmed.settings
    with delivering(alarmed, settings.alarms) as deliver:
        assert deliver() == 0


def test_budgets_and_tokens(alarmed: Fleet) -> None:
    rule(alarmed, "money", "budget", params={"share": 0.8})
    rule(alarmed, "elsewhere", "budget", params={"share": 0.1}, line="line-2")
    rule(alarmed, "tokens", "token_drift", params={"share": 0.1})
    state = set_budget(alarmed.sessions, BudgetKey(BudgetScope.LINE, "line-1", BudgetPeriod.DAY), Decimal("2.00"))
    evaluate_alarms(alarmed.sessions)
    assert alarms_of(alarmed) == []
    with transaction(alarmed.sessions) as session:
        ensure_period(session, session.get_one(BudgetRow, state.budget_id), state.period_start)
        session.execute(update(BudgetPeriodRow).values(settled_usd=Decimal("1.20"), held_usd=Decimal("0.50")))
        sample = NewSample("0" * 64, "claude-x", "report", Language.ENGLISH, 100, 150, 100, 100.0, "learned")
        add_drift(session, sample, 0.5)
        add_drift(session, sample, 0.05)
    evaluate_alarms(alarmed.sessions)
    texts = {one.rule: one.text for one in alarms_of(alarmed)}
    assert set(texts) == {"money", "tokens"}
    assert texts["money"].startswith("85% of the budget line line-1 per day is used: 1.7000 of 2.00 US dollars since ")
    assert texts["tokens"].startswith(
        "1 requests to claude-x were billed otherwise than expected in 3600 s; the worst "
    )
    with transaction(alarmed.sessions) as session:
        session.execute(update(BudgetPeriodRow).values(held_usd=Decimal(0)))
    evaluate_alarms(alarmed.sessions)
    assert {one.rule: one.state.value for one in alarms_of(alarmed)} == {"money": "resolved", "tokens": "firing"}


def test_what_was_over_long_ago_goes_with_its_deliveries_and_what_fires_stays(alarmed: Fleet) -> None:
    rule(alarmed, "opens", "class", label="open", outputs=["log"])
    inspect(alarmed, Order.DEFECT)
    evaluate_alarms(alarmed.sessions)
    with delivering(alarmed, quick()) as deliver:
        deliver_all(alarmed, deliver)
    long_ago = func.now() - timedelta(days=1_000)
    with transaction(alarmed.sessions) as session:
        session.execute(update(AlarmRow).values(fired_at=long_ago, state=AlarmState.FIRING, resolved_at=None))
        session.execute(update(AlarmDeliveryRow).values(created_at=long_ago))
    prune_alarms(alarmed.sessions, quick())
    assert len(alarms_of(alarmed)) == len(deliveries_of(alarmed)) == 1
    with transaction(alarmed.sessions) as session:
        session.execute(update(AlarmRow).values(state=AlarmState.RESOLVED, resolved_at=long_ago))
    prune_alarms(alarmed.sessions, quick())
    assert not alarms_of(alarmed)
    assert not deliveries_of(alarmed)
