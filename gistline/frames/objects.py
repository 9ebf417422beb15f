"""What a folder and a bucket have in common: names, proofs, and errors that say what to do."""

from __future__ import annotations

import hashlib
import re
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from datetime import datetime
from uuid import uuid4

import obstore
from obstore.exceptions import BaseError
from obstore.store import LocalStore, S3Store

from gistline.errors import FrameDamaged, NotFound, StorageUnavailable

_DIGEST = re.compile(r"[0-9a-f]{64}")
_PROBES = "probes"


class Objects:
    """Objects by the hex SHA-256 of their content."""

    def __init__(self, objects: LocalStore | S3Store) -> None:
        self._objects = objects

    def get(self, sha256: str) -> bytes:
        """Read and compare the digest."""
        with explained():
            try:
                data = bytes(obstore.get(self._objects, key_of(sha256)).bytes())
            except FileNotFoundError as error:
                raise absent(sha256) from error
        return proven(data, sha256)

    def delete(self, sha256: str) -> None:
        """Remove."""
        with explained(), suppress(FileNotFoundError):
            obstore.delete(self._objects, key_of(sha256))

    def older_than(self, moment: datetime) -> Iterator[str]:
        """List page by page."""
        with explained():
            for page in obstore.list(self._objects):
                for found in page:
                    name = found["path"].rpartition("/")[2]
                    if found["last_modified"] < moment and _DIGEST.fullmatch(name):
                        yield name

    def check(self) -> None:
        """Write and remove an object under a name of its own."""
        probe = f"{_PROBES}/{uuid4().hex}"
        with explained():
            obstore.put(self._objects, probe, b"probe")
            obstore.delete(self._objects, probe)


def key_of(sha256: str) -> str:
    """Name of an object in a bucket.

    Raises:
        ValueError: that is no digest.

    """
    if not _DIGEST.fullmatch(sha256):
        raise ValueError(f"{sha256!r} is no SHA-256 in lower-case hex digits")
    return f"{sha256[:2]}/{sha256[2:4]}/{sha256}"


def proven(data: bytes, sha256: str) -> bytes:
    """The data, once they are seen to be those that the digest stands for.

    Raises:
        FrameDamaged: they are not.

    """
    if hashlib.sha256(data).hexdigest() != sha256:
        raise FrameDamaged(
            f"The {len(data)} bytes under {sha256} in the frame store are not those that were accepted.",
            cure="Check the disk or the bucket, then send the frame again under a new key.",
        )
    return data


def absent(sha256: str) -> NotFound:
    """What a store says of an object that it does not hold."""
    return NotFound(f"The frame store holds no bytes {sha256}.", cure="They were pruned, or the store was emptied.")


@contextmanager
def explained() -> Iterator[None]:
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
