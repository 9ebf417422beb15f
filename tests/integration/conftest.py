"""The API behind real HTTP, one server and database a module, empty for every test; report workers against the twin."""

from __future__ import annotations

import os
import shutil
from collections.abc import Iterator
from pathlib import Path

import httpx2
import pytest
from pydantic import SecretStr
from sqlalchemy import create_engine, make_url, text
from sqlalchemy.pool import NullPool

from gistline.flows.report_tools import ReportTools, open_report_tools
from gistline.settings import DatabaseSettings, ReportSettings, Settings
from gistline.simulator.messages_api import MessagesServer
from gistline.storage.session import Sessions, close_database, open_database, transaction
from gistline.storage.tables import Base
from tests.support.api import RunningApi, serving, settings_for
from tests.support.billing import OpenTools


@pytest.fixture(scope="module")
def module_database_url(postgres_url: str, template_database: str, request: pytest.FixtureRequest) -> Iterator[str]:
    """SQLAlchemy URL of a migrated database that belongs to this module."""
    name = f"gistline_{request.module.__name__.rpartition('.')[2]}_{os.getpid()}"[:60]
    engine = create_engine(postgres_url, poolclass=NullPool, isolation_level="AUTOCOMMIT")
    with engine.connect() as connection:
        connection.execute(text(f'CREATE DATABASE "{name}" TEMPLATE "{template_database}"'))
    yield make_url(postgres_url).set(database=name).render_as_string(hide_password=False)
    with engine.connect() as connection:
        connection.execute(text(f'DROP DATABASE "{name}" WITH (FORCE)'))


@pytest.fixture(scope="module")
def module_api(module_database_url: str, tmp_path_factory: pytest.TempPathFactory) -> Iterator[RunningApi]:
    """A running API with default limits, whatever the environment says."""
    folder = tmp_path_factory.mktemp("api")
    with pytest.MonkeyPatch.context() as patch:
        for name in os.environ:
            if name.upper().startswith(("GISTLINE_", "ANTHROPIC_")):
                patch.delenv(name)
        patch.chdir(folder)
        settings = settings_for(module_database_url, folder)
    with serving(settings) as running:
        yield running


@pytest.fixture
def api(module_api: RunningApi) -> Iterator[RunningApi]:
    """The module's API; what a test leaves behind is removed after it."""
    yield module_api
    module_api.forget()
    with transaction(module_api.sessions) as session:
        session.execute(text("SET LOCAL gistline.retention = 'on'"))
        for table in reversed(Base.metadata.sorted_tables):
            session.execute(table.delete())
    shutil.rmtree(module_api.folder)
    module_api.folder.mkdir()


@pytest.fixture
def camera(api: RunningApi) -> Iterator[httpx2.Client]:
    """The first camera's connection to it."""
    with api.client() as client:
        yield client


@pytest.fixture
def same_database(api: RunningApi, clean_settings: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Commands find the API's database by the environment."""
    settings = api.services.settings
    monkeypatch.setenv("GISTLINE_DATABASE__URL", settings.database.url.get_secret_value())
    monkeypatch.setenv("GISTLINE_REDIS__URL", settings.redis.url.get_secret_value())
    monkeypatch.setenv("COLUMNS", "200")


@pytest.fixture
def sessions(database_url: str) -> Iterator[Sessions]:
    """An open database of this test alone."""
    made = open_database(DatabaseSettings(url=SecretStr(database_url)))
    yield made
    close_database(made)


@pytest.fixture
def server() -> Iterator[MessagesServer]:
    """The twin of the Messages API."""
    with MessagesServer() as running:
        yield running


@pytest.fixture
def open_tools(sessions: Sessions, server: MessagesServer, clean_settings: object) -> Iterator[OpenTools]:
    """What opens a report worker's tools."""
    opened: list[ReportTools] = []

    def make(*, key: str = "test-key", **reports: object) -> ReportTools:
        values = {"base_url": server.url, "timeout_s": 5.0, "retry_backoff_s": 0.0, "window_minutes": 1440, **reports}
        settings = Settings(anthropic_api_key=SecretStr(key), reports=ReportSettings.model_validate(values))
        opened.append(open_report_tools(settings, sessions))
        return opened[-1]

    yield make
    for tools in opened:
        tools.writer.close()
