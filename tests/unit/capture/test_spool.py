"""What is put into a spool is there until it is sent or set aside, whatever breaks off in between."""

from __future__ import annotations

import json
import subprocess
import sys
from datetime import UTC, datetime
from pathlib import Path

import pytest

from gistline.capture.spool import Bounds, Spool, SpoolFull
from gistline.client import Shot
from gistline.errors import Conflict, FrameDamaged
from tests.support.processes import ROOT

ENOUGH = Bounds(frames=10, bytes=1_000)
WHEN = datetime(2026, 11, 26, 9, 30, tzinfo=UTC)

KILLED = """
import itertools, os, sys, threading
from gistline.capture.spool import Bounds, Spool
from gistline.client import Shot
from pathlib import Path

spool = Spool(Path(sys.argv[1]), Bounds())
for number in itertools.count():
    spool.put(Shot(bytes([number % 256]) * 5_000, f"key-{number:06}"))
    print(number, flush=True)
"""


def keys(spool: Spool) -> list[str]:
    return [one.frame_key for one in spool.oldest(1_000_000)]


def test_frames_come_back_as_they_were_in_order(tmp_path: Path) -> None:
    shots = [Shot(bytes([number]) * 9, f"key {number}", WHEN, "PN-7") for number in range(5)]
    with Spool(tmp_path, ENOUGH) as spool:
        for shot in shots:
            spool.put(shot)
        spool.put(shots[2])
        assert len(spool) == 5
    with Spool(tmp_path, ENOUGH) as spool:
        assert [spool.load(one) for one in spool.oldest(10)] == shots
        for one in spool.oldest(3):
            spool.sent(one)
        spool.put(Shot(b"later", "later"))
    with Spool(tmp_path, ENOUGH) as spool:
        assert keys(spool) == ["key 3", "key 4", "later"]


@pytest.mark.parametrize(("bounds", "why"), [(Bounds(3, 1_000), "3 may be"), (Bounds(99, 30), "30 may be")])
def test_a_full_spool_refuses_and_drops_nothing(tmp_path: Path, bounds: Bounds, why: str) -> None:
    with Spool(tmp_path, bounds) as spool:
        for number in range(3):
            spool.put(Shot(b"x" * 10, str(number)))
        before = sorted(path.name for path in tmp_path.iterdir())
        with pytest.raises(SpoolFull, match=why):
            spool.put(Shot(b"x" * 10, "one more"))
        assert sorted(path.name for path in tmp_path.iterdir()) == before
        spool.sent(spool.oldest(1)[0])
        spool.put(Shot(b"x" * 10, "one more"))
        assert keys(spool) == ["1", "2", "one more"]


def test_what_a_crash_tore_off_is_removed_and_the_rest_stays(tmp_path: Path) -> None:
    with Spool(tmp_path, ENOUGH) as spool:
        spool.put(Shot(b"whole", "whole"))
    (tmp_path / "000000000002.image").write_bytes(b"its sidecar was not written")
    (tmp_path / "000000000003.image.tmp").write_bytes(b"ha")
    with Spool(tmp_path, ENOUGH) as spool:
        assert keys(spool) == ["whole"]
    assert sorted(path.name for path in tmp_path.glob("0*")) == ["000000000001.image", "000000000001.json"]


def test_what_is_set_aside_keeps_its_bytes_and_reason_and_counts(tmp_path: Path) -> None:
    with Spool(tmp_path, Bounds(2, 1_000)) as spool:
        spool.put(Shot(b"bad", "bad"))
        spool.put(Shot(b"good", "good"))
        aside = spool.set_aside(spool.oldest(1)[0], "no image")
        assert aside.read_bytes() == b"bad"
        assert json.loads(aside.with_suffix(".json").read_text()) == {"frame_key": "bad", "reason": "no image"}
        assert keys(spool) == ["good"]
    with Spool(tmp_path, Bounds(2, 1_000)) as spool, pytest.raises(SpoolFull, match="holds 2 frames"):
        spool.put(Shot(b"x", "x"))


def test_notes_beside_what_was_refused_are_left_alone(tmp_path: Path) -> None:
    (tmp_path / "refused").mkdir()
    (tmp_path / "refused" / "notes.json").write_text("{}")
    with Spool(tmp_path, ENOUGH) as spool:
        spool.put(Shot(b"one", "one"))
        assert keys(spool) == ["one"]


def test_other_bytes_than_were_written_are_noticed(tmp_path: Path) -> None:
    with Spool(tmp_path, ENOUGH) as spool:
        spool.put(Shot(b"right", "key"))
        (tmp_path / "000000000001.image").write_bytes(b"wrong")
        with pytest.raises(FrameDamaged, match="other bytes"):
            spool.load(spool.oldest(1)[0])


def test_a_folder_serves_one_agent(tmp_path: Path) -> None:
    with Spool(tmp_path, ENOUGH), pytest.raises(Conflict, match="Another camera agent"):
        Spool(tmp_path, ENOUGH)


def test_sigkill_in_mid_spool_takes_no_frame_that_was_put(tmp_path: Path) -> None:
    command = [sys.executable, "-c", KILLED, str(tmp_path)]
    with subprocess.Popen(command, cwd=ROOT, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        for _ in range(40):
            process.stdout.readline()
        process.kill()
        put = 40 + len(process.stdout.read().splitlines())
    with Spool(tmp_path, Bounds()) as spool:
        found = keys(spool)
        assert found == [f"key-{number:06}" for number in range(len(found))]
        assert put <= len(found) <= put + 1
        assert {len(spool.load(one).data) for one in spool.oldest(len(found))} == {5_000}
