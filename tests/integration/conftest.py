"""The API behind real HTTP. One server and database a module; every test finds both empty."""

from __future__ import annotations

import os
import shutil
from collections.abc import Iterator
from pathlib import Path

import httpx2
import pytest
from sqlalchemy import create_engine, make_url, text
from sqlalchemy.pool import NullPool

from gistline.storage.session import transaction
from gistline.storage.tables import Base
from tests.support.api import RunningApi, serving, settings_for


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
