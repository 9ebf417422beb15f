"""What the fleet is held against: ``python -m benchmarks.naive_worker``, one Celery task and one commit a frame.

Same rows, same bytes, same engine and the same late acknowledgement; but each message names one frame, which is
fetched, decoded, looked at and committed before the next one is taken. It drops no bytes afterwards, as the fleet does.
"""

from __future__ import annotations

import os
import time
from collections.abc import Sequence
from uuid import UUID, uuid4

from celery import Celery

from benchmarks.simulated_worker import FRAME_MS, open_simulated
from gistline.detection.detector import open_model
from gistline.dispatch import message_settings, transport_options
from gistline.findings.rules import decide, severity
from gistline.flows.measure_passport import MeasuringTools
from gistline.flows.serve_model import Serving, serve_model, wanted_model
from gistline.frames.decode import decode
from gistline.frames.store import FrameStore, open_store
from gistline.settings import RedisSettings, Settings, load_settings
from gistline.storage.frames import Lease, Outcome, claim_fresh, finish
from gistline.storage.session import Sessions, open_database, transaction
from workers.__main__ import set_up_logging

TASK = "benchmarks.look_at_one_frame"
QUEUE = "naive"
RETRY_S = 0.005


def naive_app(redis: RedisSettings) -> Celery:
    """Both ends of the queue."""
    app = Celery("naive", set_as_current=False)
    app.conf.update(
        message_settings(redis),
        broker_transport_options=transport_options(redis, redis.receive_timeout_s),
        broker_connection_retry_on_startup=True,
        task_acks_late=True,
        worker_disable_rate_limits=True,
        worker_hijack_root_logger=False,
    )
    return app


def send(app: Celery, ids: Sequence[UUID]) -> None:
    """One message for each frame."""
    with app.producer_pool.acquire(block=True) as producer:
        for one in ids:
            app.send_task(TASK, args=(str(one),), queue=QUEUE, producer=producer)


def look_at_one(frame_id: UUID, sessions: Sessions, store: FrameStore, settings: Settings, serving: Serving) -> None:
    """Everything about one frame in one transaction."""
    rules, lease = settings.verdict, Lease(uuid4(), settings.fleet.lease_s)
    with transaction(sessions) as session:
        claimed = claim_fresh(session, lease, limit=1, ids=[frame_id])
        while not claimed:  # a sweep that rings for it holds the row for a moment, and no other message will come
            time.sleep(RETRY_S)
            claimed = claim_fresh(session, lease, limit=1, ids=[frame_id])
        (frame,) = claimed
        (seen,) = serving.detector.detect([decode(store.get(frame.sha256), settings.frames)])
        ranked = [(one, severity(one.label, rules)) for one in seen]
        outcome = Outcome.inspected(frame.id, decide(seen, rules), ranked)
        finish(session, [outcome], token=lease.token, measure=serving.measure)


def main() -> None:
    """Serve until SIGTERM."""
    set_up_logging("warning")
    settings = load_settings()
    sessions, store = open_database(settings.database), open_store(settings)
    tools = MeasuringTools(sessions, settings, open_simulated if FRAME_MS in os.environ else open_model)
    serving = serve_model(wanted_model(sessions, settings), tools)
    app = naive_app(settings.redis)

    def look(frame_id: str) -> None:
        look_at_one(UUID(frame_id), sessions, store, settings, serving)

    app.task(look, name=TASK, shared=False)
    app.Worker(pool="solo", queues=[QUEUE], quiet=True, without_gossip=True, without_mingle=True).start()


if __name__ == "__main__":
    main()
