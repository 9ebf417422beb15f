"""Bells over a real Redis: after the commit, merged, bounded, and never in anybody's way."""

from __future__ import annotations

import base64
import json
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any
from uuid import UUID, uuid4

import pytest
from kombu.connection import Connection
from kombu.entity import Queue
from kombu.messaging import Consumer
from pydantic import SecretStr
from redis.exceptions import ConnectionError as RedisConnectionError

from gistline.dispatch import AfterCommit, CelerySender, NullDispatcher, QueueName, TaskName, sender_app, waiting
from gistline.settings import DatabaseSettings, FleetSettings, RedisSettings
from gistline.storage.session import close_database, open_database, transaction
from tests.support.processes import wait_until
from tests.support.redis_server import RedisServer, own_redis
from workers.transport import GUARDED


@pytest.fixture
def server(tmp_path: Path) -> Iterator[RedisServer]:
    with own_redis(tmp_path) as made:
        yield made


@pytest.fixture
def sender(server: RedisServer) -> Iterator[CelerySender]:
    made = CelerySender(RedisSettings(url=SecretStr(server.url)), FleetSettings(max_bells=10))
    yield made
    made.close()


def messages(server: RedisServer, queue: QueueName) -> list[dict[str, Any]]:
    with server.client() as client:
        return [json.loads(raw) for raw in client.lrange(queue.value, 0, -1)]


def ids_of(message: dict[str, Any]) -> list[UUID]:
    (ids,), _, _ = json.loads(base64.b64decode(message["body"]))
    return [UUID(one) for one in ids]


def test_a_message_names_its_task_and_carries_ids_alone(server: RedisServer, sender: CelerySender) -> None:
    frames = [uuid4(), uuid4()]
    sender.ring_detect(frames)
    sender.close(flush_s=10)
    (message,) = messages(server, QueueName.DETECT)
    assert message["headers"]["task"] == TaskName.DETECT_FRAMES.value
    assert ids_of(message) == frames
    assert message["content-type"] == "application/json"
    assert message["properties"]["delivery_info"] == {"exchange": "", "routing_key": "detect"}


def test_calls_that_come_together_are_merged(server: RedisServer) -> None:
    sender = CelerySender(RedisSettings(url=SecretStr(server.url)), FleetSettings(bell_frames=16))
    server.freeze()
    first = uuid4()
    sender.ring_detect([first])
    time.sleep(0.1)
    frames = [uuid4() for _ in range(50)]
    for frame in frames:
        sender.ring_detect([frame])
    sender.ring_detect([frames[0]])
    sender.ring_detect(())
    server.thaw()
    sender.close(flush_s=10)
    found = [ids_of(message) for message in messages(server, QueueName.DETECT)]
    assert sorted(one for ids in found for one in ids) == sorted([first, *frames])
    assert len(found) <= 5
    assert max(len(ids) for ids in found) == 16


def test_each_window_has_a_message_of_its_own(server: RedisServer, sender: CelerySender) -> None:
    windows = [uuid4(), uuid4(), uuid4()]
    sender.ring_report(windows)
    sender.close(flush_s=10)
    assert sorted(ids_of(one)[0] for one in messages(server, QueueName.REPORT)) == sorted(windows)


def test_no_more_bells_are_sent_than_anybody_could_need(server: RedisServer, sender: CelerySender) -> None:
    for _ in range(12):
        sender.ring_report([uuid4()])
    sender.close(flush_s=10)
    assert server.length("report") == 10
    assert (sender.count.sent, sender.count.surplus) == (10, 2)


def test_nobody_waits_for_a_redis_that_does_not_answer(server: RedisServer) -> None:
    settings = RedisSettings(url=SecretStr(server.url), send_timeout_s=0.2, connect_timeout_s=0.2)
    sender = CelerySender(settings, FleetSettings())
    sender.ring_detect([uuid4()])
    wait_until(lambda: sender.count.sent == 1, "the first bell is sent")
    server.freeze()
    sender.ring_detect([uuid4()])
    wait_until(lambda: sender.count.failed == 1, "the time-out ends the wait")
    for _ in range(1_000):
        sender.ring_detect([uuid4()])
    server.thaw()

    def sends_again() -> bool:
        sender.ring_detect([uuid4()])
        return sender.count.sent > 1

    wait_until(sends_again, "it finds back to Redis")
    sender.close()


def test_a_queue_that_was_flushed_takes_messages_again(server: RedisServer, sender: CelerySender) -> None:
    for number in (1, 2):
        sender.ring_detect([uuid4()])
        wait_until(lambda number=number: sender.count.sent == number, "it is sent")  # type: ignore[misc]
        assert server.length("detect") == 1
        server.flush()


def test_waiting_counts_what_nobody_has_taken(server: RedisServer, sender: CelerySender) -> None:
    sender.ring_report([uuid4(), uuid4()])
    sender.close(flush_s=10)
    with sender_app(RedisSettings(url=SecretStr(server.url))).connection_for_write() as connection:
        assert waiting(connection.default_channel, QueueName.REPORT) == 2
        assert waiting(connection.default_channel, QueueName.DETECT) == 0


def test_bells_leave_with_the_commit_and_not_before(database_url: str) -> None:
    sessions = open_database(DatabaseSettings(url=SecretStr(database_url)))
    bells, frame, window = NullDispatcher(), uuid4(), uuid4()
    with transaction(sessions) as session:
        held = AfterCommit(session, bells)
        with session.begin_nested():
            held.ring_detect([frame])
        held.ring_report([window])
        assert (bells.frames, bells.windows) == ([], [])
    assert (bells.frames, bells.windows) == ([frame], [window])
    close_database(sessions)


def test_a_rollback_drops_the_bells(database_url: str) -> None:
    sessions = open_database(DatabaseSettings(url=SecretStr(database_url)))
    bells = NullDispatcher()
    with transaction(sessions) as session:
        AfterCommit(session, bells).ring_detect([uuid4()])
        session.rollback()
    assert bells.frames == []
    close_database(sessions)


@pytest.mark.parametrize("transport", ["redis", GUARDED])
def test_a_command_on_a_released_connection_is_a_connection_error(server: RedisServer, transport: str) -> None:
    """Without the guard it is an AttributeError, which ends a Celery worker; once it is not, the guard may go."""
    connection: Any = Connection(server.url, transport=transport)  # type: ignore[no-untyped-call]
    queue: Any = Queue("q")  # type: ignore[no-untyped-call]
    with connection.Producer() as producer:
        producer.publish({}, exchange="", routing_key="q", declare=[queue])
    got: list[Any] = []
    consumer: Any = Consumer(connection.channel(), [queue], on_message=got.append, accept=["json"])  # type: ignore[no-untyped-call]
    with consumer:
        wait_until(lambda: bool(got) or connection.drain_events(timeout=1), "the message comes")
    got[0].ack()
    connection.collect()
    expected: type[Exception] = RedisConnectionError if transport == GUARDED else AttributeError
    with pytest.raises(expected):
        got[0].channel.qos.restore_visible()
