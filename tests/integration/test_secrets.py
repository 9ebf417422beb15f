"""No secret in logs, errors, URLs, command output or the database: the system is run, and all of it is searched."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

import httpx2
import pytest
from pydantic import SecretStr
from sqlalchemy import text

from api.people import SESSION_COOKIE, csrf_of
from gistline.cli.main import run
from gistline.settings import RedisSettings, Settings
from gistline.settings_frames import FrameSettings
from gistline.settings_observability import LogSettings
from gistline.storage.session import Sessions, close_database, open_database, transaction
from tests.integration.test_api_process import process
from tests.integration.test_sign_in import form_of
from tests.support.api import NO_TLS, settings_for
from tests.support.rows import DATA

LLM_KEY = "sk-ant-" + "k" * 40
S3_SECRET = "the secret of the bucket"
TYPED = "a password typed wrongly"


@dataclass
class Searched:
    """Everything that came out, by where, and what must be in none of it."""

    secrets: dict[str, str] = field(default_factory=dict)
    places: dict[str, str] = field(default_factory=dict)

    def leaks(self) -> list[str]:
        found = []
        for place, said in self.places.items():
            found += [f"{name} in {place}" for name, secret in self.secrets.items() if secret in said]
        return found


@pytest.fixture
def settings(database_url: str, redis_url: str, clean_settings: Path, monkeypatch: pytest.MonkeyPatch) -> Settings:
    """An API that logs all it can, and commands that find its database."""
    made = settings_for(
        database_url, clean_settings, frames=FrameSettings(s3_secret_access_key=SecretStr(S3_SECRET))
    ).model_copy(
        update={
            "redis": RedisSettings(url=SecretStr(redis_url)),
            "log": LogSettings(level="debug", access=True),
            "anthropic_api_key": SecretStr(LLM_KEY),
        }
    )
    monkeypatch.setenv("GISTLINE_DATABASE__URL", database_url)
    monkeypatch.setenv("GISTLINE_ANTHROPIC_API_KEY", LLM_KEY)
    monkeypatch.setenv("GISTLINE_FRAMES__S3_SECRET_ACCESS_KEY", S3_SECRET)
    monkeypatch.setenv("COLUMNS", "300")
    return made


@pytest.fixture
def sessions(settings: Settings) -> Iterator[Sessions]:
    opened = open_database(settings.database)
    yield opened
    close_database(opened)


@pytest.mark.long
def test_nothing_that_was_said_or_kept_holds_a_secret(
    settings: Settings, sessions: Sessions, capsys: pytest.CaptureFixture[str]
) -> None:
    searched = Searched({"LLM key": LLM_KEY, "bucket's secret": S3_SECRET, "typed password": TYPED})
    for name, command in {
        "camera key": ["cameras", "add", "cam-1", "--line", "line-a"],
        "program key": ["keys", "create", "erp"],
        "password": ["people", "add", "anna", "--role", "admin", "--generate"],
    }.items():
        assert run(command) == 0
        said = capsys.readouterr()
        searched.secrets[name] = said.out.strip()  # the one place where it is meant to be
        searched.places[f"advice of {command[0]}"] = said.err
    with process(settings) as running:
        assert running.stdout is not None
        url = running.stdout.readline().rpartition(" ")[2].strip()
        use(url, searched)
        break_it(url, sessions, searched)
        running.terminate()
        searched.places["log"] = "".join(running.communicate(timeout=20))
    command_outputs(searched, capsys)
    searched.places["database"] = dump(sessions)
    assert "GET /v1/frames" in searched.places["log"], "the log says what was asked"
    assert 'audit_log" does not exist' in searched.places["log"], "and why it failed"
    assert "argon2id" in searched.places["database"], "the hash is there, the password is not"
    assert searched.leaks() == []


def use(url: str, searched: Searched) -> None:
    """Everything once, right and wrong; with secrets where they do not belong too."""
    secrets = searched.secrets
    camera, program = secrets["camera key"], secrets["program key"]
    with httpx2.Client(base_url=url, timeout=20.0, verify=NO_TLS) as client:

        def ask(method: str, path: str, key: str = "", **more: object) -> None:
            headers = {"Authorization": f"Bearer {key}"} if key else {}
            answer = client.request(method, path, headers=headers, **more)  # type: ignore[arg-type]
            told = {name: value for name, value in answer.headers.items() if name != "set-cookie"}
            searched.places[f"{method} {path[:40]} {len(searched.places)}"] = f"{told} {answer.text}"

        ask("POST", "/v1/frames", camera, content=DATA)
        ask("POST", "/v1/frames", camera[:-1] + "x", content=DATA)
        ask("POST", "/v1/frames", program, content=DATA)
        for path in ("frames", "findings", "cameras", "costs", "audit", "me"):
            ask("GET", f"/v1/{path}", program)
            ask("GET", f"/v1/{path}", camera)
        for misplaced in (camera, program):
            ask("GET", f"/v1/frames?camera={misplaced}", program)
            ask("GET", f"/v1/frames?line={misplaced}&limit=x&{misplaced}=1", program)
            ask("GET", f"/v1/frames/{misplaced}", program)
            ask("GET", f"/{misplaced}")
            ask("POST", f"/v1/frames?line={misplaced}", camera, content=DATA)
            ask("GET", f"/login?next=/%3Fkey={misplaced[:20]}")
        fields = form_of(client)
        ask("POST", "/login", data=fields | {"name": "anna", "password": TYPED})
        ask("POST", "/login", data=fields | {"name": TYPED, "password": "anna"})
        ask("POST", "/login", data=fields | {"name": "anna", "password": secrets["password"]})
        secrets["session token"] = client.cookies[SESSION_COOKIE]
        ask("GET", f"/v1/frames?camera={secrets['session token']}")
        ask("GET", "/docs")
        ask("POST", "/logout", data={"csrf": csrf_of(secrets["session token"])})


def break_it(url: str, sessions: Sessions, searched: Searched) -> None:
    """A failure inside, with the database's own words in the log."""
    with transaction(sessions) as session:
        session.execute(text("ALTER TABLE audit_log RENAME TO insides_failed"))
    try:
        with httpx2.Client(base_url=url, timeout=20.0, verify=NO_TLS) as client:
            answer = client.post(
                "/login", data=form_of(client) | {"name": "anna", "password": searched.secrets["password"]}
            )
            assert answer.status_code == 500
            searched.places["failure"] = answer.text
    finally:
        with transaction(sessions) as session:
            session.execute(text("ALTER TABLE insides_failed RENAME TO audit_log"))


def command_outputs(searched: Searched, capsys: pytest.CaptureFixture[str]) -> None:
    for command in (
        ["cameras", "list"],
        ["cameras", "list", "--json"],
        ["keys", "list"],
        ["keys", "list", "--json"],
        ["people", "list", "--json"],
        ["settings"],
        ["settings", "--json"],
        ["doctor"],
        ["cameras", "add", "cam-1", "--line", "x"],
        ["submit", __file__, "--key", searched.secrets["camera key"], "--url", "http://127.0.0.1:9"],
        ["--debug", "--set", "database.url=postgresql://spy:topsecret@127.0.0.1:9/x", "cameras", "list"],
        ["--set", "database.url=mysql://spy:topsecret@127.0.0.1/x", "cameras", "list"],
    ):
        run(command)
        said = capsys.readouterr()
        searched.places[" ".join(command[:4])] = said.out + said.err
    searched.secrets["database password"] = "topsecret"


def dump(sessions: Sessions) -> str:
    """Every row of every table, as text; binary columns in hex."""
    with transaction(sessions) as session:
        tables = session.scalars(text("SELECT tablename FROM pg_tables WHERE schemaname = 'public'")).all()
        rows = [session.scalars(text(f'SELECT row_to_json(t)::text FROM "{name}" t')).all() for name in tables]  # noqa: S608
    return "\n".join(row for found in rows for row in found)
