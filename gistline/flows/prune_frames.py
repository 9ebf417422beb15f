"""Delete frame bytes that were kept long enough, and bytes that belong to no frame."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from itertools import islice
from typing import Final

from gistline.flows.drop_bytes import delete_all
from gistline.frames.store import FrameStore
from gistline.settings_frames import FrameSettings
from gistline.storage.drains import forget_old_drains
from gistline.storage.frame_bytes import orphans, outlived_bytes, release_bytes
from gistline.storage.heartbeats import forget_silent
from gistline.storage.session import Sessions, transaction

CHUNK: Final = 200
"""Frames in one transaction: while it deletes, submissions of like digests wait."""
ORPHAN_AGE: Final = timedelta(days=1)
"""Younger bytes may belong to a request that is being accepted."""


def prune_frames(sessions: Sessions, store: FrameStore, settings: FrameSettings) -> int:
    """Let go of the bytes of frames that ended ``keep_days`` ago; returns how many. Rows and findings stay
    (``keep_partitions``).

    Notes about workers that nobody needs any more go as well.

    Raises:
        StorageUnavailable: the database or the store does not answer; what was pruned until then stays so.

    """
    with transaction(sessions) as session:
        forget_silent(session)
        forget_old_drains(session)
    pruned = 0
    while True:
        with transaction(sessions) as session:
            old = outlived_bytes(session, keep_days=settings.keep_days, limit=CHUNK)
            delete_all(session, release_bytes(session, old), store)
        pruned += len(old)
        if len(old) < CHUNK:
            return pruned


def prune_orphans(sessions: Sessions, store: FrameStore) -> int:
    """Delete bytes that no row claims: of requests that stopped between the bytes and the commit. Walks the store.

    Raises:
        StorageUnavailable: likewise.

    """
    found = store.older_than(datetime.now(UTC) - ORPHAN_AGE)
    return sum(_delete_orphans(sessions, store, chunk) for chunk in _chunks(found))


def _delete_orphans(sessions: Sessions, store: FrameStore, digests: set[str]) -> int:
    with transaction(sessions) as session:
        return delete_all(session, orphans(session, digests), store)


def _chunks(digests: Iterator[str]) -> Iterator[set[str]]:
    while chunk := set(islice(digests, CHUNK)):
        yield chunk
