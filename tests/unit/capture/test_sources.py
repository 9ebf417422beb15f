"""When a file counts, which pictures are the same, which moments a video's frames have, and what a trigger asks for."""

from __future__ import annotations

import io
import os
import time
from datetime import UTC, datetime
from pathlib import Path
from threading import Event

import cv2
import numpy as np
import pytest

from gistline.capture.sameness import Sameness
from gistline.capture.sources import FolderSource
from gistline.capture.triggers import LineTrigger, TouchTrigger
from gistline.capture.video import LiveStream, VideoFile, _Pace, is_live, shown
from gistline.errors import ImageRejected
from tests.support.capture import streamed, write_video
from tests.support.processes import wait_until


def png(level: int, *, spot: int = 0) -> bytes:
    """A grey picture of 256 pixels a side, with a brighter spot of so many pixels a side."""
    picture = np.full((256, 256), level, np.uint8)
    picture[100 : 100 + spot, 100 : 100 + spot] = level + 100
    return cv2.imencode(".png", picture)[1].tobytes()


def test_a_file_counts_once_it_rests(tmp_path: Path) -> None:
    source, path = FolderSource(tmp_path, settle_s=0.15), tmp_path / "a.jpg"
    path.write_bytes(b"first half")
    until = time.monotonic() + 0.4
    while time.monotonic() < until:
        with path.open("ab") as file:
            file.write(b".")
        assert source._look()[0] == []
        time.sleep(0.03)
    wait_until(lambda: source._look()[0] == [path], "the file is taken")


def test_renamed_files_count_at_once_oldest_first_others_never(tmp_path: Path) -> None:
    for name, seconds in (("b.jpg", 5), ("a.png", 9), ("c.JPEG", 5), (".d.jpg", 1), ("e.jpg.part", 1), ("f.txt", 1)):
        (tmp_path / name).write_bytes(name.encode())
        os.utime(tmp_path / name, (1_000_000 + seconds,) * 2)
    shots = list(FolderSource(tmp_path, settle_s=0, once=True).frames(Event()))
    assert [shot.data for shot in shots] == [b"b.jpg", b"c.JPEG", b"a.png"]
    assert shots[0].captured_at == datetime.fromtimestamp(1_000_005, UTC)
    assert sorted(path.name for path in (tmp_path / "taken").iterdir()) == ["a.png", "b.jpg", "c.JPEG"]
    assert sorted(path.name for path in tmp_path.iterdir()) == [".d.jpg", "e.jpg.part", "f.txt", "taken"]


def test_a_file_that_nobody_kept_stays_and_has_the_same_key_again(tmp_path: Path) -> None:
    (tmp_path / "a.jpg").write_bytes(b"a")
    source = FolderSource(tmp_path, settle_s=0, delete=True)
    first = next(frames := source.frames(Event()))
    del frames
    stop = Event()
    again = source.frames(stop)
    assert next(again) == first
    stop.set()
    assert list(again) == []
    assert list(tmp_path.iterdir()) == []


def test_a_file_that_somebody_tidies_up_meanwhile_ends_nothing(tmp_path: Path) -> None:
    for name in ("a.jpg", "b.jpg"):
        (tmp_path / name).write_bytes(name.encode())
    taken = []
    for shot in FolderSource(tmp_path, settle_s=0, once=True).frames(Event()):
        taken.append(shot.data.decode())
        (tmp_path / taken[-1]).unlink()
    assert sorted(taken) == ["a.jpg", "b.jpg"]


def test_a_small_spot_makes_another_picture_and_noise_does_not() -> None:
    sameness = Sameness(4)
    assert not sameness.is_same(png(100))
    sameness.taken()
    assert sameness.is_same(png(103))
    assert sameness.is_same(png(100, spot=0))
    assert not sameness.is_same(png(100, spot=2)), "4 of a cell's 16 pixels, 100 levels each"
    assert not sameness.is_same(b"no image at all")
    assert sameness.is_same(png(104))
    assert not sameness.is_same(png(105)), "compared with the one taken, so that drift adds up"


def test_nothing_is_skipped_unless_it_is_wanted() -> None:
    sameness = Sameness(0)
    for _ in range(2):
        assert not sameness.is_same(png(100))
        sameness.taken()


def test_a_video_gives_its_frames_at_the_rate_with_their_moments(tmp_path: Path) -> None:
    path = write_video(tmp_path / "a.mp4", range(0, 200, 10), fps=10)
    ended = datetime(2026, 11, 20, tzinfo=UTC)
    os.utime(path, (ended.timestamp(),) * 2)
    everything = list(VideoFile(path).frames(Event()))
    assert len(everything) == 20
    some = list(VideoFile(path, fps=2.0).frames(Event()))
    assert [shot.frame_key for shot in some] == [shot.frame_key for shot in everything[::5]]
    assert len(list(VideoFile(path, fps=10.0).frames(Event()))) == 20, "its own rate takes all"
    assert some == list(VideoFile(path, fps=2.0).frames(Event())), "read again it gives the same"
    moments = [round((ended - shot.captured_at).total_seconds(), 2) for shot in everything if shot.captured_at]
    assert moments == [round(2.0 - 0.1 * place, 2) for place in range(20)]
    levels = [np.mean(np.asarray(cv2.imdecode(np.frombuffer(shot.data, np.uint8), 0))) for shot in everything]
    assert levels == pytest.approx(list(range(0, 200, 10)), abs=3)


def test_a_camera_that_jitters_keeps_its_rate_and_a_gap_is_not_made_up_for() -> None:
    random = np.random.default_rng(4)
    pace = _Pace(10)
    assert all(pace.wants(100 + place / 10 + random.uniform(-0.004, 0.004)) for place in range(200))
    pace = _Pace(5)
    assert sum(pace.wants(place / 30) for place in range(300)) == 50
    assert pace.wants(60.0)
    assert not pace.wants(60.1)


def test_what_is_no_video_is_told(tmp_path: Path) -> None:
    path = tmp_path / "a.mp4"
    path.write_bytes(b"no video" * 100)
    with pytest.raises(ImageRejected, match=r"a\.mp4 cannot be read"):
        list(VideoFile(path).frames(Event()))


def test_a_stream_that_hangs_up_is_opened_again(tmp_path: Path) -> None:
    body = write_video(tmp_path / "a.ts", range(0, 200, 40)).read_bytes()
    said: list[str] = []
    stop = Event()
    with streamed(body) as (url, asked):
        frames = LiveStream(f"{url}/live?token=secret", 0, None, said.append).frames(stop)
        shots = [next(frames) for _ in range(8)]
        stop.set()
        assert list(frames) == []
    assert len(asked) >= 2
    assert len({shot.frame_key for shot in shots}) == 8
    assert "; opened again in" in said[0]
    assert "secret" not in said[0]


def test_a_trigger_asks_for_one_picture_a_time(tmp_path: Path) -> None:
    lines = LineTrigger(io.StringIO("go\n\n"))
    pulls = 0

    def two_pulls() -> bool:
        nonlocal pulls
        pulls += lines.pulled()
        return pulls == 2

    wait_until(two_pulls, "two lines, two pictures")
    assert not lines.pulled()
    touched = TouchTrigger(tmp_path / "now")
    assert not touched.pulled()
    touched.path.touch()
    assert touched.pulled()
    assert not touched.pulled()
    os.utime(touched.path, (5, 5))
    assert touched.pulled()


def test_addresses_are_shown_without_their_secrets() -> None:
    assert is_live("rtsp://anna:geheim@10.0.0.7:554/stream1")
    assert shown("rtsp://anna:geheim@10.0.0.7:554/stream1?auth=geheim") == "rtsp://10.0.0.7:554/stream1"
    assert not is_live("/videos/a.mp4")
