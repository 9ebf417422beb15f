"""Delete the bytes of frames that need not be kept; equal images share theirs until the last one lets go."""

from __future__ import annotations

import logging
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import Final
from uuid import UUID

from gistline.errors import StorageUnavailable
from gistline.frames.store import FrameStore
from gistline.storage.frame_bytes import release_bytes
from gistline.storage.session import Sessions, transaction

log = logging.getLogger(__name__)

DELETERS: Final = 8
"""Deletions at once: on S3 each waits for the network while submissions of like digests wait for the lock."""


def drop_bytes(frames: Sequence[tuple[UUID, str]], sessions: Sessions, store: FrameStore) -> None:
    """Let go of the bytes of these frames (id, digest).

    A store or database that does not answer is logged, not raised: the bytes then stay until they are pruned.
    """
    try:
        with transaction(sessions) as session:
            delete_all(release_bytes(session, frames), store)
    except StorageUnavailable as error:
        log.warning("the bytes of %d frames stay until they are pruned: %s", len(frames), error)


def delete_all(digests: set[str], store: FrameStore) -> None:
    """Remove objects, several at once.

    Raises:
        StorageUnavailable: the store does not answer; some may be gone.

    """
    with ThreadPoolExecutor(DELETERS, "delete") as pool:
        for done in [pool.submit(store.delete, digest) for digest in sorted(digests)]:
            done.result()
