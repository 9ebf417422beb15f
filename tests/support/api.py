"""The real application behind real HTTP on the loopback, and a camera to talk to it."""

from __future__ import annotations

import ssl
import threading
from collections.abc import Collection, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from functools import cache
from pathlib import Path
from uuid import UUID

import httpx2
import uvicorn
from pydantic import SecretStr
from sqlalchemy import func, select

from api.__main__ import config
from api.admission import Gauge
from api.app import create_app
from api.deps import Services
from api.people import SESSION_COOKIE
from gistline.dispatch import NullDispatcher
from gistline.domain import Person, Role
from gistline.flows.add_camera import add_camera
from gistline.flows.add_person import Rights
from gistline.flows.program_keys import create_program
from gistline.frames.store import FrameStore
from gistline.settings import ApiSettings, DatabaseSettings, RedisSettings, Settings
from gistline.settings_frames import FrameSettings
from gistline.storage.passwords import hash_password
from gistline.storage.people import insert_person
from gistline.storage.session import Sessions, transaction
from gistline.storage.tables import FrameRow
from gistline.storage.web_sessions import open_session

CAMERA, LINE = "cam-1", "line-a"
PASSWORD = "four random words make one"
NO_TLS = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
"""Only plain HTTP is spoken here; loading the certificates of the world for each client would take most of the time."""


@cache
def _hashed() -> str:
    return hash_password(PASSWORD)


@dataclass
class RunningApi:
    """A server that listens, what it holds, and the bells that it rang."""

    url: str
    services: Services
    bells: NullDispatcher
    folder: Path
    gauge: Gauge
    _key: str | None = None
    _lock: threading.Lock = field(default_factory=threading.Lock)

    @property
    def sessions(self) -> Sessions:
        return self.services.sessions

    @property
    def store(self) -> FrameStore:
        return self.services.store

    @property
    def key(self) -> str:
        """Key of the first camera, which is added when it is first asked for."""
        with self._lock:
            if self._key is None:
                self._key = self.add_camera(CAMERA, LINE)
            return self._key

    def forget(self) -> None:
        """Start afresh: no camera, no bell."""
        self._key = None
        self.bells.frames.clear()

    def add_camera(self, name: str, line: str) -> str:
        return add_camera(self.sessions, name, line)[1]

    def client(self, key: str | None = None) -> httpx2.Client:
        """A client with a camera's key (the first one's), or without any for ``""``."""
        key = self.key if key is None else key
        headers = {"Authorization": f"Bearer {key}"} if key else {}
        return httpx2.Client(base_url=self.url, headers=headers, timeout=20.0, verify=NO_TLS)

    def add_person(
        self, name: str = "anna", role: Role = Role.VIEWER, *, lines: Collection[str] | None = None
    ) -> Person:
        """Somebody who signs in with :data:`PASSWORD`, which is hashed once for all."""
        with transaction(self.sessions) as session:
            return insert_person(session, name, _hashed(), role, lines)

    def add_admin(self, name: str = "root") -> Person:
        return self.add_person(name, Role.ADMIN)

    def add_program(self, name: str = "erp", role: Role = Role.VIEWER, *, lines: Collection[str] | None = None) -> str:
        """Key of a new program."""
        return create_program(self.sessions, name, Rights(role, None if lines is None else frozenset(lines)))[1]

    def browser(self, person: Person | None = None) -> httpx2.Client:
        """A client that has the session of a person, or none yet; it follows no redirect."""
        client = self.client("")
        if person is not None:
            with transaction(self.sessions) as session:
                client.cookies.set(SESSION_COOKIE, open_session(session, person.id, max_h=12))
        return client

    def rows(self) -> list[FrameRow]:
        """All frames, oldest first."""
        with transaction(self.sessions) as session:
            return list(session.scalars(select(FrameRow).order_by(FrameRow.id)))

    def row(self, frame_id: str) -> FrameRow:
        with transaction(self.sessions) as session:
            return session.get_one(FrameRow, UUID(frame_id))

    def stored(self) -> list[str]:
        """Names of the files in the frame store."""
        return sorted(path.name for path in self.folder.rglob("*") if path.is_file())

    def held(self) -> tuple[int, list[str]]:
        """Everything that a refused request must leave as it was."""
        with transaction(self.sessions) as session:
            return session.scalar(select(func.count()).select_from(FrameRow)) or 0, self.stored()


def settings_for(
    database_url: str, folder: Path, *, api: ApiSettings | None = None, frames: FrameSettings | None = None
) -> Settings:
    """Settings with a store of its own and a Redis that nobody needs."""
    return Settings(
        data_dir=folder,
        database=DatabaseSettings(url=SecretStr(database_url)),
        redis=RedisSettings(url=SecretStr("redis://127.0.0.1:9/0"), connect_timeout_s=0.1),
        api=api or ApiSettings(port=0),
        frames=frames or FrameSettings(),
    )


@contextmanager
def serving(settings: Settings) -> Iterator[RunningApi]:
    """Run the application under uvicorn in a thread, with a dispatcher that only counts."""
    bells = NullDispatcher()
    app = create_app(settings, dispatcher=bells)
    server = uvicorn.Server(config(settings, app))
    thread = threading.Thread(target=server.run, name="api")
    thread.start()
    try:
        while not server.started and thread.is_alive():
            thread.join(0.01)
        port = server.servers[0].sockets[0].getsockname()[1]
        url = f"http://127.0.0.1:{port}"
        yield RunningApi(url, app.state.services, bells, settings.data_dir / "frames", app.state.gauge)
    finally:
        server.should_exit = True
        thread.join()
