"""``gistline people``, and that every change leaves its row in an audit that cannot be altered."""

from __future__ import annotations

import io
import json
from collections.abc import Callable
from pathlib import Path
from uuid import UUID

import pytest
from sqlalchemy import select, text
from sqlalchemy.exc import IntegrityError

from gistline.cli.actor import actor
from gistline.cli.main import run
from gistline.domain import DeadLetterKind, FrameState, Role
from gistline.storage.dead_letters import NewLetter, write_letters
from gistline.storage.passwords import is_password
from gistline.storage.people import find_person
from gistline.storage.session import transaction
from gistline.storage.tables import AuditRow, FrameRow
from tests.support import images
from tests.support.api import CAMERA, PASSWORD, RunningApi

pytestmark = pytest.mark.usefixtures("same_database")
Typed = Callable[[str], None]


@pytest.fixture
def typed(monkeypatch: pytest.MonkeyPatch) -> Typed:
    """Puts text on the command's standard input."""
    return lambda text: monkeypatch.setattr("sys.stdin", io.StringIO(text))


def audit(api: RunningApi) -> list[tuple[str, str, str]]:
    with transaction(api.sessions) as session:
        rows = session.scalars(select(AuditRow).order_by(AuditRow.id)).all()
    return [(row.actor, row.action, row.subject) for row in rows]


def test_people_are_added_listed_changed_and_disabled(
    api: RunningApi, typed: Typed, capsys: pytest.CaptureFixture[str]
) -> None:
    assert run(["people", "add", "Root", "--role", "admin", "--generate"]) == 0
    said = capsys.readouterr()
    password = said.out.strip()
    assert "not shown again" in said.err
    with transaction(api.sessions) as session:
        assert is_password(password, find_person(session, "root").password_hash)

    typed(f"{PASSWORD}\n")
    assert run(["people", "add", "anna", "--line", "line-b", "--line", "line-a", "--password-stdin"]) == 0
    assert run(["people", "set", "anna", "--role", "operator", "--line", "line-c"]) == 0
    typed(f"{PASSWORD} again\n")
    assert run(["people", "passwd", "anna", "--password-stdin"]) == 0
    assert run(["people", "disable", "anna"]) == 0
    capsys.readouterr()
    assert run(["people", "list", "--json"]) == 0
    anna, root = json.loads(capsys.readouterr().out)
    assert (anna["name"], anna["role"], anna["lines"], root["lines"]) == ("anna", "operator", ["line-c"], None)
    assert anna["disabled_at"] is not None
    assert run(["people", "list"]) == 0
    assert "disabled" in capsys.readouterr().out
    who = actor()
    assert audit(api) == [
        (who, "person.add", "person root"),
        (who, "person.add", "person anna"),
        (who, "person.set", "person anna"),
        (who, "person.password", "person anna"),
        (who, "person.disable", "person anna"),
    ]


@pytest.mark.parametrize(
    ("arguments", "password", "why"),
    [
        (["add", "x", "--password-stdin"], "short", "has 5 characters"),
        (["add", "x", "--password-stdin"], "x" * 20, "easily guessed"),
        (["add", "somebody-new", "--password-stdin"], "Somebody-New", "easily guessed"),
        (["add", "x\ty", "--password-stdin"], PASSWORD, "is no name"),
        (["add", "ANNA", "--password-stdin"], PASSWORD, "There is a person 'anna' already"),
        (["add", "x", "--role", "admin", "--line", "a", "--password-stdin"], PASSWORD, "An admin sees all lines"),
        (["add", "x"], PASSWORD, "no terminal"),
        (["passwd", "nobody", "--password-stdin"], PASSWORD, "There is no person 'nobody'"),
        (["disable", "anna"], "", "is the last admin"),
        (["set", "anna", "--role", "viewer"], "", "is the last admin"),
    ],
)
def test_what_is_wrong_is_refused_with_its_cure(
    api: RunningApi, typed: Typed, capsys: pytest.CaptureFixture[str], arguments: list[str], password: str, why: str
) -> None:
    api.add_person("anna", Role.ADMIN)
    typed(f"{password}\n")
    assert run(["people", *arguments]) == 2
    said = capsys.readouterr().err
    assert why in said
    assert not password or f" {password}" not in said
    assert audit(api) == []


def test_what_is_done_to_cameras_frames_and_workers_is_noted(api: RunningApi, tmp_path: Path) -> None:
    image = tmp_path / "frame.jpg"
    image.write_bytes(images.frame(1))
    assert run(["submit", str(image), str(image), "--key", api.key, "--url", api.url]) == 0
    first, second = (str(row.id) for row in api.rows())
    with transaction(api.sessions) as session:
        frames = session.scalars(select(FrameRow)).all()
        for frame in frames:
            frame.state, frame.finished_at = FrameState.FAILED, frame.accepted_at
        write_letters(session, [NewLetter(frame.id, DeadLetterKind.FAILED, "made up") for frame in frames])
    for command in (
        ["cameras", "add", "cam-9", "--line", "line-a", "--priority", "3"],
        ["cameras", "set", CAMERA, "--priority", "1"],
        ["cameras", "rekey", CAMERA, "--overlap", "24"],
        ["cameras", "revoke", CAMERA],
        ["dead-letters", "retry", first],
        ["dead-letters", "discard", second],
        ["drain", "--all"],  # nobody is alive, so nothing is asked
    ):
        assert run(command) == 0
    who = actor()
    assert audit(api)[1:] == [
        (who, "camera.add", "camera cam-9"),
        (who, "camera.set", f"camera {CAMERA}"),
        (who, "camera.rekey", f"camera {CAMERA}"),
        (who, "camera.revoke", f"camera {CAMERA}"),
        (who, "frame.retry", f"frame {UUID(first)}"),
        (who, "frame.discard", f"frame {UUID(second)}"),
    ]


@pytest.mark.parametrize("change", ["UPDATE audit_log SET actor = 'x'", "DELETE FROM audit_log", "TRUNCATE audit_log"])
def test_the_audit_cannot_be_altered(api: RunningApi, change: str) -> None:
    assert api.add_camera("cam-9", "line-a")
    with (
        pytest.raises(IntegrityError, match="the audit cannot be altered"),
        transaction(api.sessions) as session,
    ):
        session.execute(text(change))
    assert len(audit(api)) == 1
