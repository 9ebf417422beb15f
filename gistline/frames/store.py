"""Where frame bytes live: a folder or an S3 bucket, addressed by the SHA-256 of the content.

What :meth:`FrameStore.put` has taken is complete and stays: an object appears whole or not at all, and on a folder its
bytes and its name are on the disk before the call returns. On S3 an answered request is durable by the service's own
promise.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from datetime import datetime, timedelta
from pathlib import Path
from typing import TYPE_CHECKING, Protocol
from urllib.parse import unquote, urlsplit

import obstore
from obstore.store import S3Store

from gistline.errors import SettingsError
from gistline.frames.local import LocalFrames
from gistline.frames.objects import Objects, explained, key_of
from gistline.settings import Settings
from gistline.settings_frames import FrameSettings

if TYPE_CHECKING:
    from obstore.store import S3Config

_S3_UPLOADS = 8
_S3_TIMEOUT = timedelta(seconds=20)


class FrameStore(Protocol):
    """Bytes by the hex SHA-256 of their content (64 lower-case digits).

    Every method may raise :class:`StorageUnavailable` (disk full, no permission, no answer; see its cure).
    """

    def put(self, sha256: str, data: bytes) -> None:
        """Keep ``data``, durably; harmless when it is there already."""
        ...

    def put_many(self, images: Mapping[str, bytes]) -> None:
        """Keep all of them; cheaper than one after the other."""
        ...

    def get(self, sha256: str) -> bytes:
        """Bytes of an object.

        Raises:
            NotFound: there is none.
            FrameDamaged: what is there does not have this digest.

        """
        ...

    def delete(self, sha256: str) -> None:
        """Remove an object; harmless when there is none."""
        ...

    def older_than(self, moment: datetime) -> Iterator[str]:
        """Digests of the objects last written before ``moment`` (timezone-aware); walks the whole store."""
        ...

    def check(self) -> None:
        """Write and remove a probe."""
        ...

    def free_bytes(self) -> int | None:
        """Space that is left; None where there is no end to it."""
        ...


def open_store(settings: Settings) -> FrameStore:
    """Open the store that ``frames.store_url`` names; a local folder is made.

    Raises:
        SettingsError: the URL is neither ``file:///folder`` nor ``s3://bucket/prefix``.
        StorageUnavailable: the folder cannot be made.

    """
    url = urlsplit(settings.frames.store_url)
    if url.scheme == "s3" and url.netloc:
        return S3Frames(_bucket(settings.frames, url.netloc, url.path.strip("/")))
    if url.scheme == "file" and url.netloc in {"", "localhost"} and url.path.strip("/"):
        return LocalFrames(Path(unquote(url.path)), fsync=settings.frames.fsync)
    if not settings.frames.store_url:
        return LocalFrames(settings.data_dir.absolute() / "frames", fsync=settings.frames.fsync)
    raise SettingsError(
        f"frames.store_url = {settings.frames.store_url!r} names no store.",
        cure="Write file:///folder or s3://bucket/prefix, or leave it empty for a folder in data_dir.",
    )


class S3Frames(Objects):
    """A bucket of Amazon S3 or of a server that speaks its protocol."""

    def free_bytes(self) -> None:
        """A bucket has no end."""

    def put(self, sha256: str, data: bytes) -> None:
        """Upload."""
        with explained():
            obstore.put(self._objects, key_of(sha256), data)

    def put_many(self, images: Mapping[str, bytes]) -> None:
        """Several uploads at once: each waits for the network."""
        with ThreadPoolExecutor(_S3_UPLOADS) as pool:
            for done in [pool.submit(self.put, sha256, data) for sha256, data in images.items()]:
                done.result()


def _bucket(frames: FrameSettings, bucket: str, prefix: str) -> S3Store:
    config: S3Config = {"region": frames.s3_region}
    if frames.s3_endpoint:
        config["endpoint"] = frames.s3_endpoint
    if frames.s3_access_key_id.get_secret_value():
        config["access_key_id"] = frames.s3_access_key_id.get_secret_value()
        config["secret_access_key"] = frames.s3_secret_access_key.get_secret_value()
    return S3Store(
        bucket,
        prefix=prefix or None,
        config=config,
        client_options={"timeout": _S3_TIMEOUT, "allow_http": frames.s3_endpoint.startswith("http://")},
        retry_config={"max_retries": 3, "retry_timeout": _S3_TIMEOUT},
    )
