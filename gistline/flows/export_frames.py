"""Write frames of today into a folder, as they came: to look at, to label, to calibrate on."""

from __future__ import annotations

from contextlib import suppress
from datetime import UTC, datetime, timedelta
from pathlib import Path

from gistline.errors import FrameDamaged, NotFound, RequestRejected
from gistline.frames.store import FrameStore
from gistline.storage.recent_frames import any_kept_since
from gistline.storage.session import Sessions, transaction


def export_frames(sessions: Sessions, store: FrameStore, folder: Path, *, count: int, hours: float) -> list[Path]:
    """Write up to ``count`` kept frames of the last ``hours``, spread over cameras; returns the new files.

    Files are named by camera, time and digest, so a second run adds only what is new.

    Raises:
        RequestRejected: the folder cannot be written.
        StorageUnavailable: the database or the store does not answer.

    """
    since = datetime.now(UTC) - timedelta(hours=hours)
    with transaction(sessions) as session:
        frames = any_kept_since(session, since, most=100 * count, of_camera=count)[:count]
    written = []
    try:
        folder.mkdir(parents=True, exist_ok=True)
        for frame in frames:
            safe = "".join(letter if letter.isalnum() or letter in "-_." else "_" for letter in frame.camera)
            path = folder / f"{safe}-{frame.sha256[:16]}.{frame.media_type.rpartition('/')[2]}"
            if path.exists():
                continue
            with suppress(FrameDamaged, NotFound):  # pruned meanwhile, or damaged
                unfinished = path.with_suffix(".part")
                unfinished.write_bytes(store.get(frame.sha256))
                unfinished.replace(path)
                written.append(path)
    except OSError as error:
        raise RequestRejected(
            f"{folder} cannot be written: {error.strerror or error}.", cure="Name another folder (--out)."
        ) from error
    return written
