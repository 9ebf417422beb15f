"""What was put comes back, once, whole and from the disk; what cannot be kept is an error with a cure."""

from __future__ import annotations

import hashlib
import os
import shutil
import subprocess
import sys
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from gistline.errors import FrameDamaged, NotFound, SettingsError, StorageUnavailable
from gistline.frames.local import LocalFrames
from gistline.frames.segments import BLOCK, MAGIC
from gistline.frames.store import open_store
from gistline.settings import Settings
from gistline.settings_frames import FrameSettings

DATA = b"some bytes" * 1000
DIGEST = hashlib.sha256(DATA).hexdigest()


def named(count: int) -> dict[str, bytes]:
    found = [f"object {number}".encode() * 500 for number in range(count)]
    return {hashlib.sha256(one).hexdigest(): one for one in found}


def path_of(root: Path, digest: str) -> Path:
    return root / digest[:2] / digest


def older_path_of(root: Path, digest: str) -> Path:
    """Where versions before segments put it."""
    return root / digest[:2] / digest[2:4] / digest


def put_as_before(root: Path, digest: str, data: bytes) -> Path:
    path = older_path_of(root, digest)
    path.parent.mkdir(parents=True)
    path.write_bytes(data)
    return path


def test_what_was_put_comes_back(tmp_path: Path) -> None:
    store = LocalFrames(tmp_path)
    store.put(DIGEST, DATA)
    assert store.get(DIGEST) == DATA
    assert path_of(tmp_path, DIGEST).read_bytes() == DATA


def test_many_come_back(tmp_path: Path) -> None:
    store = LocalFrames(tmp_path)
    store.put_many(named(20))
    assert {digest: store.get(digest) for digest in named(20)} == named(20)


def test_nothing_but_the_object_is_left_in_the_folder(tmp_path: Path) -> None:
    store = LocalFrames(tmp_path)
    for _ in range(3):
        store.put(DIGEST, DATA)
    store.check()
    assert [found for found in tmp_path.rglob("*") if found.is_file()] == [path_of(tmp_path, DIGEST)]


def test_equal_bytes_are_not_written_again(tmp_path: Path) -> None:
    store = LocalFrames(tmp_path)
    store.put(DIGEST, DATA)
    before = path_of(tmp_path, DIGEST).stat().st_ino
    store.put(DIGEST, DATA)
    assert path_of(tmp_path, DIGEST).stat().st_ino == before


@pytest.mark.parametrize("where", [path_of, older_path_of])
def test_an_object_torn_by_a_power_cut_is_written_anew(tmp_path: Path, where: Callable[[Path, str], Path]) -> None:
    where(tmp_path, DIGEST).parent.mkdir(parents=True)
    where(tmp_path, DIGEST).write_bytes(DATA[:100])
    store = LocalFrames(tmp_path)
    store.put(DIGEST, DATA)
    assert store.get(DIGEST) == DATA


def test_many_writers_of_one_object_agree(tmp_path: Path) -> None:
    store = LocalFrames(tmp_path)
    with ThreadPoolExecutor(8) as pool:
        list(pool.map(lambda _: store.put(DIGEST, DATA), range(64)))
    assert store.get(DIGEST) == DATA


def test_writers_of_overlapping_requests_agree(tmp_path: Path) -> None:
    """Each in a store of its own, as processes have."""
    images = list(named(60).items())

    def put(start: int) -> None:
        LocalFrames(tmp_path, fsync=False).put_many(dict(images[start : start + 30]))

    with ThreadPoolExecutor(8) as pool:
        list(pool.map(put, [*range(31)] * 2))
    store = LocalFrames(tmp_path)
    assert {digest: store.get(digest) for digest, _ in images} == dict(images)
    assert list((tmp_path / "arrivals").iterdir()) == []


def test_images_of_a_request_share_a_file_that_goes_with_the_last(tmp_path: Path) -> None:
    store, images = LocalFrames(tmp_path), named(6)
    store.put_many(images)
    paths = [path_of(tmp_path, digest) for digest in images]
    assert len({path.stat().st_ino for path in paths}) == 1
    gone: dict[str, bytes] = {}
    for digest, data in images.items():
        store.delete(digest)
        gone[digest] = data
        with pytest.raises(NotFound):
            store.get(digest)
        left = images.keys() - gone.keys()
        assert {one: store.get(one) for one in left} == {one: images[one] for one in left}
    assert [found for found in tmp_path.rglob("*") if found.is_file()] == []


@pytest.mark.skipif(sys.platform != "linux", reason="holes are punched on Linux only")
def test_a_deleted_image_gives_its_space_back_while_others_stay(tmp_path: Path) -> None:
    store, images = LocalFrames(tmp_path), named(8)
    store.put_many(images)
    *most, last = images
    before = path_of(tmp_path, last).stat().st_blocks * 512
    for digest in most:
        store.delete(digest)
    freed = before - path_of(tmp_path, last).stat().st_blocks * 512
    assert freed >= sum(len(images[digest]) // BLOCK * BLOCK for digest in most)
    assert store.get(last) == images[last]


def test_an_image_sent_again_after_it_was_deleted_is_whole(tmp_path: Path) -> None:
    store, images = LocalFrames(tmp_path), named(4)
    store.put_many(images)
    first = next(iter(images))
    store.delete(first)
    store.put_many(images)
    assert {digest: store.get(digest) for digest in images} == images


def test_an_image_of_a_segment_torn_by_a_power_cut_is_written_anew(tmp_path: Path) -> None:
    store, images = LocalFrames(tmp_path), named(4)
    store.put_many(images)
    with path_of(tmp_path, next(iter(images))).open("r+b") as file:
        file.truncate(BLOCK + 100)
    store.put_many(images)
    assert {digest: store.get(digest) for digest in images} == images


def test_bytes_that_look_like_a_segment_come_back(tmp_path: Path) -> None:
    store = LocalFrames(tmp_path)
    for data in (MAGIC, MAGIC + b"\xff" * 20_000, MAGIC + bytes(100)):
        digest = hashlib.sha256(data).hexdigest()
        store.put(digest, data)
        assert store.get(digest) == data


def test_what_older_versions_stored_is_read_kept_and_deleted(tmp_path: Path) -> None:
    path = put_as_before(tmp_path, DIGEST, DATA)
    store, before = LocalFrames(tmp_path), path.stat().st_ino
    store.put(DIGEST, DATA)
    assert store.get(DIGEST) == DATA
    assert (path.stat().st_ino, path_of(tmp_path, DIGEST).exists()) == (before, False)
    assert list(store.older_than(datetime.now(UTC) + timedelta(minutes=1))) == [DIGEST]
    store.delete(DIGEST)
    assert not path.exists()


def test_a_store_that_was_emptied_takes_frames_again(tmp_path: Path) -> None:
    store = LocalFrames(tmp_path / "frames")
    store.put(DIGEST, DATA)
    shutil.rmtree(tmp_path / "frames")
    (tmp_path / "frames").mkdir()
    store.put_many(named(3))
    assert {digest: store.get(digest) for digest in named(3)} == named(3)


def test_what_a_killed_writer_left_is_removed_once_it_is_old(tmp_path: Path) -> None:
    store, now = LocalFrames(tmp_path), datetime.now(UTC)
    store.put(DIGEST, DATA)
    old, new = (tmp_path / "arrivals" / name for name in ("a" * 32, "b" * 32))
    for left in (old, new):
        left.write_bytes(b"half an im")
    os.utime(old, (0, 0))
    assert list(store.older_than(now - timedelta(days=1))) == []
    assert (old.exists(), new.exists()) == (False, True)


def test_missing_objects_are_not_found(tmp_path: Path) -> None:
    with pytest.raises(NotFound, match=DIGEST):
        LocalFrames(tmp_path).get(DIGEST)


@pytest.mark.parametrize("spoilt", [b"", DATA[:-1], DATA[:-1] + b"!"])
def test_changed_objects_are_damaged(tmp_path: Path, spoilt: bytes) -> None:
    store = LocalFrames(tmp_path)
    store.put(DIGEST, DATA)
    path_of(tmp_path, DIGEST).write_bytes(spoilt)
    with pytest.raises(FrameDamaged, match=f"The {len(spoilt)} bytes under {DIGEST}") as caught:
        store.get(DIGEST)
    assert not caught.value.retryable


def test_delete_removes_and_may_be_repeated(tmp_path: Path) -> None:
    store = LocalFrames(tmp_path)
    store.put(DIGEST, DATA)
    store.delete(DIGEST)
    store.delete(DIGEST)
    with pytest.raises(NotFound):
        store.get(DIGEST)


def test_older_than_lists_objects_by_age(tmp_path: Path) -> None:
    store = LocalFrames(tmp_path)
    for digest, data in named(3).items():
        store.put(digest, data)
    old = min(named(3))
    os.utime(path_of(tmp_path, old), (0, 0))
    now = datetime.now(UTC)
    assert list(store.older_than(now - timedelta(days=1))) == [old]
    assert sorted(store.older_than(now + timedelta(minutes=1))) == sorted(named(3))


@pytest.mark.parametrize("digest", ["", "../../etc/passwd", DIGEST.upper(), DIGEST[:-1], f"{DIGEST}/x"])
def test_only_digests_are_names(tmp_path: Path, digest: str) -> None:
    store = LocalFrames(tmp_path)
    with pytest.raises(ValueError, match="no SHA-256"):
        store.put(digest, DATA)
    with pytest.raises(ValueError, match="no SHA-256"):
        store.get(digest)


class Syncs:
    """Records which paths are synced, and syncs them."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.paths: list[Path] = []
        self._real = os.fsync
        monkeypatch.setattr(os, "fsync", self)

    def __call__(self, handle: int) -> None:
        self.paths.append(Path(f"/proc/self/fd/{handle}").readlink())
        self._real(handle)


@pytest.mark.skipif(sys.platform != "linux", reason="paths of open files are read from /proc")
def test_put_syncs_the_bytes_and_their_name(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    store, path = LocalFrames(tmp_path / "frames"), path_of(tmp_path / "frames", DIGEST)
    syncs = Syncs(monkeypatch)
    store.put(DIGEST, DATA)
    # The folders once for each process, then the bytes, then the folder of their name.
    assert syncs.paths[:2] == [tmp_path / "frames", tmp_path]
    assert [found.parent for found in syncs.paths[2:]] == [tmp_path / "frames" / "arrivals", tmp_path / "frames"]
    assert syncs.paths[3] == path.parent
    syncs.paths.clear()
    store.put(DIGEST, DATA)
    assert syncs.paths == [path, path.parent]


@pytest.mark.skipif(sys.platform != "linux", reason="paths of open files are read from /proc")
def test_a_request_syncs_one_file_and_each_folder_once(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    store, images = LocalFrames(tmp_path / "frames"), named(40)
    store.put(DIGEST, DATA)
    syncs = Syncs(monkeypatch)
    store.put_many(images)
    assert syncs.paths[0].parent == tmp_path / "frames" / "arrivals"
    assert sorted(syncs.paths[1:]) == sorted({path_of(tmp_path / "frames", digest).parent for digest in images})


def test_fsync_can_be_turned_off(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    syncs = Syncs(monkeypatch)
    LocalFrames(tmp_path, fsync=False).put(DIGEST, DATA)
    assert syncs.paths == []


def test_a_folder_that_is_a_file_is_unavailable(tmp_path: Path) -> None:
    root = tmp_path / "frames"
    store = LocalFrames(root)
    root.rmdir()
    root.write_text("in the way")
    for use in (store.check, lambda: store.put(DIGEST, DATA), lambda: LocalFrames(root)):
        with pytest.raises(StorageUnavailable, match="frame store") as caught:
            use()
        assert caught.value.cure
        assert str(tmp_path) not in caught.value.message


def test_a_write_that_the_system_refuses_is_unavailable(tmp_path: Path) -> None:
    """A file size limit stands in for a full disk: the write itself fails half-way."""
    code = (
        "import resource, sys; from pathlib import Path; from gistline.frames.local import LocalFrames\n"
        "from gistline.errors import StorageUnavailable\n"
        "resource.setrlimit(resource.RLIMIT_FSIZE, (4096, 4096))\n"
        "try: LocalFrames(Path(sys.argv[1])).put(sys.argv[2], bytes(10_000))\n"
        "except StorageUnavailable as error: print('refused', error.cure)\n"
    )
    digest = hashlib.sha256(bytes(10_000)).hexdigest()
    command = [sys.executable, "-c", code, str(tmp_path), digest]
    ran = subprocess.run(command, capture_output=True, text=True, check=True)
    assert ran.stdout.startswith("refused Check frames.store_url"), ran.stderr
    assert not path_of(tmp_path, digest).exists()


def test_the_default_is_a_folder_in_the_data_folder(clean_settings: Path) -> None:
    open_store(Settings(data_dir=Path("data"))).put(DIGEST, DATA)
    assert path_of(clean_settings / "data" / "frames", DIGEST).exists()


def test_a_file_url_names_the_folder(clean_settings: Path) -> None:
    folder = clean_settings / "with space"
    open_store(Settings(frames=FrameSettings(store_url=folder.as_uri()))).put(DIGEST, DATA)
    assert path_of(folder, DIGEST).exists()


@pytest.mark.parametrize("url", ["ftp://host/x", "s3://", "file://", "/plain/path", "file://host/x", "memory:///"])
def test_other_urls_are_refused(clean_settings: Path, url: str) -> None:
    with pytest.raises(SettingsError, match="names no store") as caught:
        open_store(Settings(frames=FrameSettings(store_url=url)))
    assert "s3://bucket/prefix" in caught.value.cure
