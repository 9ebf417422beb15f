"""The SQL views for the customer's BI tools: documented column by column, right, and all that their role can read."""

from __future__ import annotations

import os
import re
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from pathlib import Path

import httpx2
import pytest
from sqlalchemy import Engine, create_engine, make_url, select, text
from sqlalchemy.exc import DBAPIError, ProgrammingError
from sqlalchemy.pool import NullPool

from gistline.domain_accuracy import ReviewKind
from gistline.findings.accuracy import unknown
from gistline.storage.accuracy_reviews import save_reviews
from gistline.storage.dashboards import cost_rows
from gistline.storage.session import transaction
from gistline.storage.tables import AttemptState, LlmAttempt, PriceUsed, ReportWindow
from tests.support.api import CAMERA, LINE, RunningApi
from tests.support.passports import add_engine
from tests.support.rows import give_up, inspect, report, submit

PAGE = (Path(__file__).parents[2] / "docs" / "views.md").read_text()
DOCUMENTED = {
    view: re.findall(r"`(\w+)`", columns) for view, columns in re.findall(r"\| `(v_\w+)` \|[^|]*\| ([^|]*) \|", PAGE)
}
RECIPE, NARROWED, EXAMPLES = re.findall(r"```sql\n(.*?)```", PAGE, re.DOTALL)
ROLE = f"gistline_bi_{os.getpid()}"


@pytest.fixture
def filled(api: RunningApi, camera: httpx2.Client) -> RunningApi:
    """Two frames inspected, one given up, a report on each of two lines."""
    report(api, LINE)
    report(api, "line-b")
    for number in range(2):
        inspect(api, submit(camera, frame_key=f"frame-{number}", part_number="PN-7"))
    give_up(api, submit(camera, frame_key="bad"))
    pay(api)
    add_review(api)
    return api


def add_review(api: RunningApi) -> None:
    """Somebody asked how an engine is; nothing was known."""
    found = unknown(ReviewKind.FEEDBACK, "Too few.", measure="precision")
    with transaction(api.sessions) as session:
        engine_id, passport_id = add_engine(session)
        save_reviews(session, [found], engine_id=engine_id, passport_id=passport_id, machine="here")


def pay(api: RunningApi) -> None:
    """Each window's report was paid, one really and one simulated, after an attempt whose end nobody knows."""
    paid = {"input_tokens": 900, "output_tokens": 80, "cache_read_tokens": 7}
    paid |= {"cache_write_5m_tokens": 0, "cache_write_1h_tokens": 0}
    with transaction(api.sessions) as session:
        price = PriceUsed(model="m", source="test", source_version="1", vector={}, vector_sha256="0" * 64)
        session.add(price)
        session.flush()
        for number, window in enumerate(session.scalars(select(ReportWindow).order_by(ReportWindow.line))):
            same = {"window_id": window.id, "writer": "w", "model": "claude-haiku-5-5", "body_sha256": "0" * 64}
            same |= {"simulated": number == 1, "price_id": price.id}
            session.add(LlmAttempt(**same, attempt=1, state=AttemptState.UNKNOWN))
            usd = Decimal("0.001400000001") * (number + 1)
            session.add(LlmAttempt(**same, attempt=2, state=AttemptState.PAID, usd=usd, **paid))


@pytest.fixture
def reader(filled: RunningApi) -> Iterator[Engine]:
    """A connection with the role of the page's recipe."""
    with transaction(filled.sessions) as session:
        for statement in (RECIPE + NARROWED).replace("gistline_bi", ROLE).split(";\n"):
            if statement.strip():
                session.execute(text(statement))
        session.execute(text(f"ALTER ROLE {ROLE} PASSWORD 'only for this test'"))
    url = make_url(filled.services.settings.database.url.get_secret_value())
    engine = create_engine(url.set(username=ROLE, password="only for this test"), poolclass=NullPool)
    yield engine
    engine.dispose()
    with transaction(filled.sessions) as session:
        session.execute(text(f"DROP OWNED BY {ROLE}; DROP VIEW line_a_findings; DROP ROLE {ROLE}"))


def test_every_view_is_documented_and_has_rows(filled: RunningApi) -> None:
    with transaction(filled.sessions) as session:
        names = text("SELECT viewname FROM pg_views WHERE schemaname = 'public' ORDER BY 1")
        views = [name for name in session.scalars(names) if name.startswith("v_")]
        assert views == sorted(DOCUMENTED)
        for view in views:
            found = session.execute(text(f"SELECT * FROM {view}"))  # noqa: S608 - names of our own views
            assert list(found.keys()) == DOCUMENTED[view], view
            assert found.all(), view


def test_what_the_views_say(filled: RunningApi) -> None:
    with transaction(filled.sessions) as session:
        hourly = session.execute(
            text("SELECT line, camera, frames, ok, ng, reinspect, ng_share::text FROM v_verdicts_hourly")
        )
        assert hourly.all() == [(LINE, CAMERA, 3, 0, 2, 1, "0.666667")]
        daily = session.execute(text("SELECT label, severity, findings, frames FROM v_findings_daily ORDER BY label"))
        assert daily.all() == [("short", 3, 2, 2), ("spur", 2, 2, 2)]
        told = session.execute(text("SELECT inspected, ng, failed, findings, saving_usd::text FROM v_reports LIMIT 1"))
        assert told.one() == (5, 1, 1, 2, "0.006599999999")
        states = session.execute(text("SELECT state, verdict, count(*) FROM v_frames GROUP BY 1, 2 ORDER BY 1"))
        assert states.all() == [("failed", "reinspect", 1), ("inspected", "ng", 2)]


def test_the_costs_are_those_of_the_program(filled: RunningApi) -> None:
    since = datetime.now(UTC) - timedelta(days=2)
    with transaction(filled.sessions) as session:
        ours = cost_rows(session, since=since)
        rows = session.execute(text("SELECT * FROM v_costs_daily ORDER BY day DESC, model, line")).mappings().all()
    assert [(row["day"], row["model"], row["line"]) for row in rows] == [(one.day, one.model, one.line) for one in ours]
    assert [(row["billed_usd"], row["simulated_usd"], row["unknown_attempts"]) for row in rows] == [
        (Decimal("0.001400000001"), 0, 1),
        (0, Decimal("0.002800000002"), 1),
    ]
    for row, one in zip(rows, ours, strict=True):
        for name in (
            "reports",
            "frames",
            "findings",
            "billed_usd",
            "simulated_usd",
            "image_usd",
            "saving_usd",
            "input_tokens",
        ):
            assert row[name] == getattr(one.costs, name), name


def test_the_role_of_the_recipe_reads_the_views_and_nothing_else(reader: Engine) -> None:
    def ask(statement: str) -> None:
        with reader.connect() as connection:
            connection.execute(text(statement))

    for view in (*DOCUMENTED, "line_a_findings"):
        ask(f"SELECT * FROM {view}")  # noqa: S608 - names of our own views
    for example in EXAMPLES.split(";\n"):
        if example.strip():
            ask(example)
    for table in ("people", "api_keys", "sessions", "audit_log", "frames", "llm_attempts"):
        with pytest.raises(ProgrammingError, match="permission denied"):
            ask(f"SELECT * FROM {table}")  # noqa: S608 - names of our own tables
    with pytest.raises(DBAPIError, match=r"permission denied|read-only transaction"):
        ask("DELETE FROM v_cameras")
