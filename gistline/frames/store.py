"""Where frame bytes live: a folder or an S3 bucket, addressed by the SHA-256 of the content.

What :meth:`FrameStore.put` has taken is complete and stays: an object appears whole or not at all, and on a folder its
bytes and its name are on the disk before the call returns. obstore writes beside and links, but never syncs; so that a
power cut takes no accepted frame, the files and their folders are synced here (``frames.fsync``). On S3 an answered
request is durable by the service's own promise.
"""

from __future__ import annotations

import hashlib
import os
import re
import shutil
from collections.abc import Callable, Collection, Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager, suppress
from datetime import datetime, timedelta
from pathlib import Path
from typing import TYPE_CHECKING, Protocol
from urllib.parse import unquote, urlsplit
from uuid import uuid4

import obstore
from obstore.exceptions import AlreadyExistsError, BaseError
from obstore.store import LocalStore, S3Store

from gistline.errors import FrameDamaged, NotFound, SettingsError, StorageUnavailable
from gistline.settings import Settings
from gistline.settings_frames import FrameSettings

if TYPE_CHECKING:
    from obstore.store import S3Config

_DIGEST = re.compile(r"[0-9a-f]{64}")
_PROBES = "probes"
_S3_UPLOADS = 8
_SYNCERS = 8
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


class _Objects:
    """What a folder and a bucket have in common."""

    def __init__(self, objects: LocalStore | S3Store) -> None:
        self._objects = objects

    def get(self, sha256: str) -> bytes:
        """Read and compare the digest."""
        with _explained():
            try:
                data = bytes(obstore.get(self._objects, _key(sha256)).bytes())
            except FileNotFoundError as error:
                raise NotFound(
                    f"The frame store holds no bytes {sha256}.", cure="They were pruned, or the store was emptied."
                ) from error
        if hashlib.sha256(data).hexdigest() != sha256:
            raise FrameDamaged(
                f"The {len(data)} bytes under {sha256} in the frame store are not those that were accepted.",
                cure="Check the disk or the bucket, then send the frame again under a new key.",
            )
        return data

    def delete(self, sha256: str) -> None:
        """Remove."""
        with _explained(), suppress(FileNotFoundError):
            obstore.delete(self._objects, _key(sha256))

    def older_than(self, moment: datetime) -> Iterator[str]:
        """List page by page."""
        with _explained():
            for page in obstore.list(self._objects):
                for found in page:
                    name = found["path"].rpartition("/")[2]
                    if found["last_modified"] < moment and _DIGEST.fullmatch(name):
                        yield name

    def check(self) -> None:
        """Write and remove an object under a name of its own."""
        probe = f"{_PROBES}/{uuid4().hex}"
        with _explained():
            obstore.put(self._objects, probe, b"probe")
            obstore.delete(self._objects, probe)


class LocalFrames(_Objects):
    """A folder, two levels of sub-folders deep (``ab/cd/abcd...``)."""

    def __init__(self, root: Path, *, fsync: bool = True) -> None:
        with _explained():
            root.mkdir(parents=True, exist_ok=True)
            super().__init__(LocalStore(prefix=root))
        self._root = root
        self._fsync = fsync
        self._synced: set[Path] = set()
        self._syncers = ThreadPoolExecutor(_SYNCERS, "sync")

    def put(self, sha256: str, data: bytes) -> None:
        """Write and sync."""
        self.put_many({sha256: data})

    def free_bytes(self) -> int:
        """Space for whoever runs this process, on the disk that holds the folder."""
        with _explained():
            return shutil.disk_usage(self._root).free

    def put_many(self, images: Mapping[str, bytes]) -> None:
        """All are written before the first is synced: the file system then commits them together."""
        with _explained():
            for sha256, data in images.items():
                self._write(_key(sha256), data)
            if self._fsync:
                self._sync([self._root / _key(sha256) for sha256 in images])

    def _write(self, key: str, data: bytes) -> None:
        try:
            obstore.put(self._objects, key, data, mode="create")
        except AlreadyExistsError:
            # Equal bytes are left alone: a fresh file in their place would be less durable until it is synced.
            # Others were torn by a power cut before they were accepted.
            if bytes(obstore.get(self._objects, key).bytes()) != data:
                obstore.put(self._objects, key, data)

    def _sync(self, files: list[Path]) -> None:
        """The files first, then the folders of their names. Several at once: the disk then flushes once for many."""
        self._each(_fsync, files)
        folders = {file.parent for file in files}
        new = folders - self._synced
        self._each(_fsync, folders | {folder.parent for folder in new})
        if new:  # a new folder's own name must last too; once is enough, since folders are never removed
            self._each(_fsync, [self._root, self._root.parent])
            self._synced |= new

    def _each(self, act: Callable[[Path], None], paths: Collection[Path]) -> None:
        if len(paths) == 1:
            act(*paths)
            return
        for done in [self._syncers.submit(act, path) for path in paths]:
            done.result()


class S3Frames(_Objects):
    """A bucket of Amazon S3 or of a server that speaks its protocol."""

    def free_bytes(self) -> None:
        """A bucket has no end."""

    def put(self, sha256: str, data: bytes) -> None:
        """Upload."""
        with _explained():
            obstore.put(self._objects, _key(sha256), data)

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


def _key(sha256: str) -> str:
    if not _DIGEST.fullmatch(sha256):
        raise ValueError(f"{sha256!r} is no SHA-256 in lower-case hex digits")
    return f"{sha256[:2]}/{sha256[2:4]}/{sha256}"


def _fsync(path: Path) -> None:
    handle = os.open(path, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)


@contextmanager
def _explained() -> Iterator[None]:
    """Turn the store's errors into ours. The cause goes to the log, not to the client: it may name paths."""
    try:
        yield
    except (BaseError, OSError) as error:
        raise StorageUnavailable(f"The frame store does not answer: {_reason(error)}.", cure=_cure(error)) from error


def _reason(error: Exception) -> str:
    text = str(error)
    known = {"No space left": "its disk is full", "ermission denied": "no permission", "Read-only": "it is read-only"}
    return next((reason for sign, reason in known.items() if sign in text), type(error).__name__)


def _cure(error: Exception) -> str:
    if "No space left" in str(error):
        return "Free space where frames.store_url points, or lower frames.keep_days."
    return "Check frames.store_url and who may write there; the log of the API names the cause."
