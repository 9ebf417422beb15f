"""A report worker's tools against the twin of the Messages API, and answers for it to give."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta
from typing import Any
from uuid import UUID

from pydantic import SecretStr
from sqlalchemy import select

from gistline.dispatch import NullDispatcher
from gistline.flows.close_windows import close_now
from gistline.flows.report_tools import ReportTools, open_report_tools
from gistline.settings import ReportSettings, Settings
from gistline.simulator.messages_api import MessagesServer
from gistline.storage.session import Sessions
from gistline.storage.tables import FrameRow
from tests.support.reporting import add_frame


@contextmanager
def tools_at(sessions: Sessions, server: MessagesServer, *, key: str = "key", **reports: Any) -> Iterator[ReportTools]:
    """Tools that ask the twin, or with an empty key nobody."""
    values = {"base_url": server.url, "timeout_s": 5.0, "retry_backoff_s": 0.0, "window_minutes": 1440, **reports}
    settings = Settings(anthropic_api_key=SecretStr(key), reports=ReportSettings.model_validate(values))
    tools = open_report_tools(settings, sessions)
    try:
        yield tools
    finally:
        tools.writer.close()


def window_of(
    sessions: Sessions, frames: Mapping[str, tuple[str, ...]], *, line: str = "line-1", each: int = 1
) -> UUID:
    """Close a window over ``each`` frames of every camera that show these classes; its key."""
    moment = datetime.now(UTC) - timedelta(seconds=1)
    with sessions.begin() as session:
        for camera, labels in frames.items():
            for _ in range(each):
                add_frame(session, finished_at=moment, camera=camera, line=line, labels=labels)
    closed = close_now(sessions, NullDispatcher(), ReportSettings(window_minutes=1440), line).closed
    with sessions() as session:  # near midnight there may be two; the frames are in one
        (window_id,) = set(session.scalars(select(FrameRow.report_window_id).where(FrameRow.finished_at == moment)))
    assert window_id in closed
    return UUID(str(window_id))


def shown(request: Any) -> str:
    """The user prompt of a request that came in."""
    return str(request.body["messages"][0]["content"])


def calls_of(server: MessagesServer) -> list[str]:
    """Which kind of call each request was, by what its prompt begins with."""
    kinds = {"A draft": "repair", "这份报告": "repair", "The window was": "join", "The window is": "part"}
    return [
        next((kind for start, kind in kinds.items() if shown(one).startswith(start)), "report")
        for one in server.requests
    ]
