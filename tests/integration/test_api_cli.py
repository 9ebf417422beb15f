"""``gistline cameras`` and ``gistline submit`` against a real database and a running API."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from gistline.cli.main import run
from gistline.storage.session import transaction
from tests.support import images
from tests.support.api import CAMERA, LINE, RunningApi

pytestmark = pytest.mark.usefixtures("same_database")


@pytest.fixture
def files(tmp_path: Path) -> list[str]:
    """Twenty image files."""
    paths = [tmp_path / f"board-{number:02}.jpg" for number in range(20)]
    for number, path in enumerate(paths):
        path.write_bytes(images.frame(number))
    return [str(path) for path in paths]


def test_a_key_is_printed_once_and_works(api: RunningApi, files: list[str], capsys: pytest.CaptureFixture[str]) -> None:
    assert run(["cameras", "add", "gate 7", "--line", "line-z"]) == 0
    said = capsys.readouterr()
    key = said.out.strip()
    assert "not shown again" in said.err
    assert run(["submit", *files[:2], "--key", key, "--url", api.url]) == 0
    assert [row.line for row in api.rows()] == ["line-z", "line-z"]
    assert run(["cameras", "list"]) == 0
    listed = capsys.readouterr().out
    assert "gate 7" in listed
    assert key not in listed


def test_cameras_are_listed_rekeyed_and_revoked(api: RunningApi, capsys: pytest.CaptureFixture[str]) -> None:
    old = api.key
    assert run(["cameras", "rekey", CAMERA]) == 0
    new = capsys.readouterr().out.strip()
    assert new.startswith("gl_")
    assert new != old
    assert run(["cameras", "revoke", CAMERA]) == 0
    assert "1 keys of cam-1 revoked" in capsys.readouterr().out
    assert run(["cameras", "list", "--json"]) == 0
    (listed,) = json.loads(capsys.readouterr().out)
    assert (listed["name"], listed["line"], listed["keys"]) == (CAMERA, LINE, 0)


@pytest.mark.parametrize(
    ("arguments", "why"),
    [
        (["cameras", "add", CAMERA, "--line", "x"], "There is a camera 'cam-1' already"),
        (["cameras", "add", " ", "--line", "x"], "name = ' ' is no name"),
        (["cameras", "add", "x", "--line", "a\nb"], "is no name"),
        (["cameras", "rekey", "nobody"], "There is no camera 'nobody'"),
        (["cameras", "revoke", "nobody"], "There is no camera 'nobody'"),
    ],
)
def test_wrong_names_are_refused(
    api: RunningApi, capsys: pytest.CaptureFixture[str], arguments: list[str], why: str
) -> None:
    assert api.key
    assert run(arguments) == 2
    assert why in capsys.readouterr().err


def test_many_files_go_in_several_requests(
    api: RunningApi, files: list[str], capsys: pytest.CaptureFixture[str]
) -> None:
    assert run(["submit", *files, "--key", api.key, "--url", api.url, "--part-number", "PN-1", "--json"]) == 0
    shown = json.loads(capsys.readouterr().out)
    assert [frame["file"] for frame in shown] == files
    assert [frame["id"] for frame in shown] == [str(row.id) for row in api.rows()]
    assert {row.part_number for row in api.rows()} == {"PN-1"}


def test_waiting_shows_what_became_of_the_frames(
    api: RunningApi, files: list[str], capsys: pytest.CaptureFixture[str]
) -> None:
    arguments = ["submit", files[0], "--key", api.key, "--url", api.url, "--wait", "0.3"]
    assert run(arguments) == 0
    assert "pending" in capsys.readouterr().out


def test_refusals_are_told_with_their_cure(
    api: RunningApi, files: list[str], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    bad = tmp_path / "notes.jpg"
    bad.write_text("no image")
    assert run(["submit", files[0], str(bad), "--key", api.key, "--url", api.url]) == 2
    said = capsys.readouterr().err
    assert "Image 1: The bytes are no accepted image" in said
    assert "the content decides" in said
    assert run(["submit", files[0], "--key", "gl_wrong", "--url", api.url]) == 2
    assert "unknown or revoked" in capsys.readouterr().err
    assert api.rows() == []


def test_an_api_that_is_away_is_told(
    api: RunningApi, files: list[str], capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("gistline.cli.submit.ATTEMPTS", 1)
    assert run(["submit", files[0], "--key", api.key, "--url", "http://127.0.0.1:9"]) == 1
    assert "does not answer" in capsys.readouterr().err
    with transaction(api.sessions):
        assert api.rows() == []
