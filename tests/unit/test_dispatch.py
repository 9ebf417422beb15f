"""The bell without a Redis: names, queues, and what a sender does when nobody answers."""

from __future__ import annotations

from uuid import uuid4

import pytest
from pydantic import SecretStr

from gistline.dispatch import (
    QUEUE_OF,
    CelerySender,
    NullDispatcher,
    QueueName,
    TaskName,
    message_settings,
    sender_app,
    transport_options,
)
from gistline.errors import SettingsError
from gistline.settings import FleetSettings, RedisSettings

NOWHERE = RedisSettings(url=SecretStr("redis://127.0.0.1:1/0"))


def test_every_task_has_a_queue() -> None:
    assert set(QUEUE_OF) == set(TaskName)
    assert set(QUEUE_OF.values()) == set(QueueName)


def test_the_null_dispatcher_remembers_what_it_did_not_send() -> None:
    bells, frame, window = NullDispatcher(), uuid4(), uuid4()
    bells.ring_detect([frame])
    bells.ring_report([window])
    assert (bells.frames, bells.windows) == ([frame], [window])


def test_a_sender_without_redis_counts_and_raises_nothing() -> None:
    sender = CelerySender(NOWHERE, FleetSettings())
    for _ in range(5):
        sender.ring_detect([uuid4()])
    sender.close(flush_s=10)
    assert (sender.count.sent, sender.count.surplus) == (0, 0)
    assert sender.count.failed >= 1
    before = sender.count.failed
    sender.ring_report([uuid4()])
    assert sender.count.failed == before + 1, "closed"


@pytest.mark.parametrize("url", ["", "amqp://127.0.0.1", "redis+socket:///tmp/redis"])
def test_other_brokers_are_refused_with_a_cure(url: str) -> None:
    with pytest.raises(SettingsError, match=r"redis://|GISTLINE_REDIS__URL"):
        message_settings(RedisSettings(url=SecretStr(url)))


def test_the_password_is_not_in_the_error() -> None:
    with pytest.raises(SettingsError) as caught:
        message_settings(RedisSettings(url=SecretStr("amqp://user:geheim@host")))
    assert "geheim" not in str(caught.value)


def test_messages_are_json_and_every_command_has_a_time_out() -> None:
    app = sender_app(RedisSettings(url=NOWHERE.url, send_timeout_s=0.7, connect_timeout_s=0.3))
    assert app.conf.task_serializer == "json"
    assert app.conf.accept_content == ["json"]
    assert app.conf.task_publish_retry is False
    assert app.conf.broker_transport_options["socket_timeout"] == 0.7
    assert app.conf.broker_transport_options["socket_connect_timeout"] == 0.3
    assert transport_options(NOWHERE, 5.0)["socket_timeout"] == 5.0
