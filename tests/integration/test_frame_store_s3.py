"""The bucket store against a real S3 protocol server."""

from __future__ import annotations

import hashlib
import logging
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from pydantic import SecretStr

from gistline.errors import FrameDamaged, NotFound, StorageUnavailable
from gistline.frames.store import FrameStore, open_store
from gistline.settings import Settings
from gistline.settings_frames import FrameSettings

boto3 = pytest.importorskip("boto3")
moto_server = pytest.importorskip("moto.server")

IMAGES = {hashlib.sha256(data).hexdigest(): data for data in (bytes([number]) * 30_000 for number in range(16))}
DIGEST = min(IMAGES)
BUCKET, PREFIX = "line-7", "plant/frames"


@pytest.fixture(scope="module")
def endpoint() -> Iterator[str]:
    logging.getLogger("werkzeug").setLevel(logging.ERROR)
    server = moto_server.ThreadedMotoServer(ip_address="127.0.0.1", port=0, verbose=False)
    server.start()
    host, port = server.get_host_and_port()
    yield f"http://{host}:{port}"
    server.stop()


@pytest.fixture
def bucket(endpoint: str) -> Iterator[object]:
    keys = {"aws_access_key_id": "id", "aws_secret_access_key": "secret", "region_name": "us-east-1"}
    client = boto3.client("s3", endpoint_url=endpoint, **keys)
    client.create_bucket(Bucket=BUCKET)
    yield client
    client.close()


def opened(endpoint: str, bucket: str = BUCKET) -> FrameStore:
    frames = FrameSettings(
        store_url=f"s3://{bucket}/{PREFIX}",
        s3_endpoint=endpoint,
        s3_access_key_id=SecretStr("id"),
        s3_secret_access_key=SecretStr("secret"),
    )
    return open_store(Settings(frames=frames))


@pytest.mark.usefixtures("bucket", "clean_settings")
def test_objects_live_and_die_in_the_bucket(endpoint: str) -> None:
    store = opened(endpoint)
    store.check()
    store.put_many(IMAGES)
    store.put(DIGEST, IMAGES[DIGEST])
    assert {digest: store.get(digest) for digest in IMAGES} == IMAGES
    assert sorted(store.older_than(datetime.now(UTC) + timedelta(minutes=1))) == sorted(IMAGES)
    assert list(store.older_than(datetime.now(UTC) - timedelta(days=1))) == []
    for _ in range(2):
        store.delete(DIGEST)
    with pytest.raises(NotFound, match=DIGEST):
        store.get(DIGEST)


@pytest.mark.usefixtures("clean_settings")
def test_a_changed_object_is_damaged(endpoint: str, bucket: object) -> None:
    store = opened(endpoint)
    store.put(DIGEST, IMAGES[DIGEST])
    key = f"{PREFIX}/{DIGEST[:2]}/{DIGEST[2:4]}/{DIGEST}"
    bucket.put_object(Bucket=BUCKET, Key=key, Body=b"other")  # type: ignore[attr-defined]
    with pytest.raises(FrameDamaged, match="5 bytes"):
        store.get(DIGEST)


@pytest.mark.usefixtures("clean_settings")
def test_a_missing_bucket_or_server_is_unavailable(endpoint: str, tmp_path: Path) -> None:
    for store in (opened(endpoint, "no-such-bucket"), opened("http://127.0.0.1:9")):
        with pytest.raises(StorageUnavailable) as caught:
            store.put_many(IMAGES)
        assert caught.value.retryable
