"""Delete the bytes of frames that need not be kept; equal images share theirs until the last one lets go."""

from __future__ import annotations

import logging
import time
from collections.abc import Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from typing import Final
from uuid import UUID

from sqlalchemy.orm import Session

from gistline.errors import StorageUnavailable
from gistline.frames.store import FrameStore
from gistline.storage.frame_bytes import release_bytes, still_alone
from gistline.storage.session import Sessions, transaction

log = logging.getLogger(__name__)

DELETERS: Final = 8
"""Deletions at once: on S3 each waits for the network while submissions of like digests wait for the lock."""
SURE_S: Final = 10.0
"""How long after the database's last word a deletion may begin. With the longest that one takes it stays under
``submissions.SILENT_S``, after which the lock may be somebody else's."""


def drop_bytes(frames: Sequence[tuple[UUID, str]], sessions: Sessions, store: FrameStore) -> None:
    """Let go of the bytes of these frames (id, digest).

    A store or database that does not answer is logged, not raised: the bytes then stay until they are pruned.
    """
    try:
        with transaction(sessions) as session:
            delete_all(session, release_bytes(session, frames), store)
    except StorageUnavailable as error:
        log.warning("the bytes of %d frames stay until they are pruned: %s", len(frames), error)


def delete_all(session: Session, digests: set[str], store: FrameStore) -> int:
    """Remove objects that no row claims, a few at once; this transaction has their lock. Returns how many are gone.

    A process that stood still meanwhile may have lost the lock, and the bytes may be those of a new frame: so the
    database is asked before each few. Where the store fails half-way the transaction may commit all the same: what is
    left belongs to no frame and is found as such.

    Raises:
        StorageUnavailable: the lock is lost, or the store does not answer and nothing was removed.

    """
    left, gone = sorted(digests), 0
    with ThreadPoolExecutor(DELETERS, "delete") as pool:
        while left:
            few, left = left[:DELETERS], left[DELETERS:]
            sure_until = time.monotonic() + SURE_S  # before it is asked: what stops in between is noticed
            still_alone(session)
            ends = [pool.submit(_delete, store, digest, sure_until) for digest in few]
            problems = [problem for end in ends if (problem := _problem(end)) is not None]
            gone += len(few) - len(problems)
            if problems and not gone:
                raise problems[0]
            if problems:
                log.warning("%d objects are left for the search for orphans: %s", len(problems + left), problems[0])
                break
    return gone


def _delete(store: FrameStore, digest: str, sure_until: float) -> None:
    if time.monotonic() > sure_until:
        raise StorageUnavailable("This process stood still while it deleted bytes.", cure="Give it more CPU time.")
    store.delete(digest)


def _problem(end: Future[None]) -> StorageUnavailable | None:
    try:
        end.result()
    except StorageUnavailable as error:
        return error
    return None
