"""The web page on a million findings: ``python -m benchmarks.dashboard [--findings N] [--days D] [--plans FILE]``.

Seeds a database, then asks a real API process for each page over HTTP, signed in, one request at a time, and prints the
median and the 95th percentile beside a page without a query (the sign-in form). ``--plans`` writes what PostgreSQL
did for each query of each page: EXPLAIN (ANALYZE, BUFFERS).
"""

from __future__ import annotations

import argparse
import json
import os
import platform
import ssl
import statistics
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import httpx2
from sqlalchemy import Connection, Engine, event, select
from sqlalchemy.orm import Session

from api.dashboard.costs import read_costs
from api.dashboard.overview import read_standing
from api.people import SESSION_COOKIE
from benchmarks.dashboard_seed import seed
from benchmarks.rig import Rig, crew, rig
from gistline.domain import Feedback, Role
from gistline.flows.add_person import Rights, add_person
from gistline.storage.feedback import feedback_counts, feedback_of_frame
from gistline.storage.finding_lists import FindingCursor, FindingFilter, known_labels, list_findings
from gistline.storage.frame_reads import see_frame
from gistline.storage.health import serving_workers
from gistline.storage.models import list_models
from gistline.storage.passports import measured_passports
from gistline.storage.report_lists import list_windows_seen
from gistline.storage.reports import read_report
from gistline.storage.serving import history
from gistline.storage.session import Sessions, transaction
from gistline.storage.tables import FindingRow, ReportRow
from gistline.storage.web_sessions import open_session

PATHS = {
    "sign-in form (no query)": "/login",
    "overview, 24 h": "/",
    "overview, 168 h": "/?hours=168",
    "overview, wall": "/?wall=1",
    "findings, last day": "/findings",
    "findings, all": "/findings?span=",
    "findings, filtered": "/findings?span=&line=line-2&label=open&severity=3",
    "findings, feedback": "/findings?span=&feedback=incorrect",
    "reports": "/reports",
    "costs, 30 d": "/costs",
    "accuracy": "/accuracy",
    "engines": "/engines",
}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--findings", type=int, default=1_000_000)
    parser.add_argument("--days", type=int, default=30, help="over which they are spread")
    parser.add_argument("--requests", type=int, default=40, help="of each page")
    parser.add_argument("--plans", type=Path, help="file for the query plans")
    parser.add_argument("--json", type=Path, help="file for the figures")
    given = parser.parse_args()
    with tempfile.TemporaryDirectory(prefix="gistline-dashboard-") as name, rig(Path(name), cameras=0) as made:
        started = time.perf_counter()
        seed(made.sessions, made.settings, findings=given.findings, days=given.days, now=datetime.now(UTC))
        print(
            f"{given.findings} findings of {given.days} days seeded in {time.perf_counter() - started:.0f} s",
            flush=True,
        )
        figures = measure(made, given.requests)
        facts = {"findings": given.findings, "days": given.days, "cpu": platform.processor() or platform.machine()}
        print(f"load average {os.getloadavg()[0]:.1f} on {os.cpu_count()} cores")
        if given.json:
            given.json.write_text(json.dumps(facts | {"ms": figures}, indent=1) + "\n")
        if given.plans:
            given.plans.write_text("".join(plans(made.sessions, given.findings, given.days)))


def measure(made: Rig, requests: int) -> dict[str, dict[str, float]]:
    """Milliseconds of each page, over HTTP."""
    person = add_person(
        made.sessions, "bench", "a password for nobody", Rights(Role.OPERATOR), settings=made.settings.access
    )
    with transaction(made.sessions) as session:
        token = open_session(session, person.id, max_h=1)
    found = {}
    with crew(made, None, detect=0, kinds=("api",)):
        url = f"http://127.0.0.1:{made.settings.api.port}"
        tls = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
        with httpx2.Client(base_url=url, cookies={SESSION_COOKIE: token}, verify=tls) as client:
            for page, path in PATHS.items():
                took = [_ask(client, path) for _ in range(requests + 3)][3:]
                p95 = statistics.quantiles(took, n=20)[-1]
                found[page] = {"median": round(statistics.median(took), 1), "p95": round(p95, 1)}
                print(f"{page:<26} median {found[page]['median']:7.1f} ms   p95 {p95:7.1f} ms", flush=True)
    return found


def _ask(client: httpx2.Client, path: str) -> float:
    started = time.perf_counter()
    answer = client.get(path)
    took = 1000 * (time.perf_counter() - started)
    assert answer.status_code == 200, answer.text[:500]
    return took


def plans(sessions: Sessions, findings: int, days: int) -> Iterator[str]:
    """Every query of every page with its plan."""
    yield f"Plans of the pages' queries on {findings} findings of {days} days: EXPLAIN (ANALYZE, BUFFERS)\n"
    yield "Made by: python -m benchmarks.dashboard --plans FILE\n"
    for page, read in _pages(sessions).items():
        with transaction(sessions) as session:
            with _noted(session) as queries:
                read(session)
            yield f"\n\n== {page}\n"
            for statement, parameters in queries:
                explained = session.connection().exec_driver_sql(f"EXPLAIN (ANALYZE, BUFFERS) {statement}", parameters)
                lines = "\n".join(row[0] for row in explained)
                yield f"\n-- {' '.join(statement.split())}\n{lines}\n"


def _pages(sessions: Sessions) -> dict[str, Callable[[Session], object]]:
    with transaction(sessions) as session:
        key = select(FindingRow.frame_id, FindingRow.id).order_by(FindingRow.frame_id.desc()).limit(1)
        newest = session.execute(key).one()
        report = session.scalars(select(ReportRow.id).order_by(ReportRow.created_at.desc()).limit(1)).one()
    middle = FindingCursor(*newest)
    day = datetime.now(UTC) - timedelta(days=1)
    filtered = FindingFilter(line="line-2", labels=("open",), severity=3)
    return {
        "overview": lambda session: read_standing(session, 24, None),
        "findings: the last day": lambda session: list_findings(session, FindingFilter(since=day), limit=51),
        "findings: next page of all": lambda session: list_findings(session, FindingFilter(), limit=51, after=middle),
        "findings: of one line, class and severity": lambda session: list_findings(session, filtered, limit=51),
        "findings: called incorrect": lambda session: list_findings(
            session, FindingFilter(feedback=Feedback.INCORRECT), limit=51
        ),
        "findings: of one report": lambda session: list_findings(session, FindingFilter(report=report), limit=51),
        "findings: the filter's choices": known_labels,
        "frame": lambda session: (see_frame(session, newest[0], lines=None), feedback_of_frame(session, newest[0])),
        "reports": lambda session: list_windows_seen(session, limit=51, lines=None),
        "report": lambda session: read_report(session, report),
        "costs": lambda session: read_costs(session, 30, None),
        "accuracy": lambda session: (
            measured_passports(session, limit=21),
            feedback_counts(session, since=day - timedelta(days=29), lines=None),
        ),
        "engines": lambda session: (list_models(session), serving_workers(session), history(session)),
    }


@contextmanager
def _noted(session: Session) -> Iterator[list[tuple[str, Any]]]:
    """Statements that this connection sends meanwhile, with their parameters."""
    noted: list[tuple[str, Any]] = []

    def note(_connection: Connection, _cursor: Any, statement: str, parameters: Any, *_rest: Any) -> None:
        noted.append((statement, parameters))

    engine = session.get_bind()
    assert isinstance(engine, Engine)
    event.listen(engine, "before_cursor_execute", note)
    try:
        yield noted
    finally:
        event.remove(engine, "before_cursor_execute", note)


if __name__ == "__main__":
    main()
