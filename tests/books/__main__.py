"""``python -m tests.books``: worker processes that crash, every fault of the twin, and an account that must be equal.

Runs by seed, a line each; exit code 1 when an account was not. A crash is SIGKILL for all workers at once, after as
many attempts as the seed draws and a moment more, so that it falls anywhere in a call.
"""

from __future__ import annotations

import argparse
import random
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from pydantic import SecretStr
from sqlalchemy import create_engine, make_url, text

from gistline.embedded.postgres import postgres
from gistline.embedded.processes import termination_raises
from gistline.settings import DatabaseSettings, Settings
from gistline.settings_report import as_environment
from gistline.storage import migrate
from gistline.storage.session import Sessions, close_database, open_database
from tests.books.run import LOOK_S, Plan, any_open, attempts, let_time_fly, run
from tests.support.processes import ROOT

ATTEMPTS_BETWEEN_CRASHES = (8, 40)
MOMENT_S = 0.3
END_LEASES = "UPDATE report_windows SET lease_until = now() - interval '1 s' WHERE state = 'running' RETURNING id"
LOSE_SUBMISSIONS = "UPDATE llm_batches SET created_at = created_at - interval '5 minutes' WHERE state = 'submitting'"


def main() -> int:
    """Parse, run, print."""
    parser = argparse.ArgumentParser(prog="python -m tests.books", description=__doc__)
    parser.add_argument("--seeds", type=_seeds, default=range(1, 4), help="one number, or a range such as 1-20")
    parser.add_argument("--windows", type=int, default=100, help="windows in a run")
    parser.add_argument("--patient", type=float, default=0.5, help="share of the windows that go by batch")
    parser.add_argument("--workers", type=int, default=3, help="processes that write")
    given = parser.parse_args()
    failed = 0
    with termination_raises(), tempfile.TemporaryDirectory(prefix="gistline-books-") as temporary:
        folder = Path(temporary)
        folder.chmod(0o755)
        with postgres(folder / "data", folder / "log", options={"fsync": "off"}) as server:
            for seed in given.seeds:
                plan = Plan(
                    seed=seed,
                    windows=given.windows,
                    workers=given.workers,
                    patient=given.patient,
                    within_s=900,
                )
                failed += not _run(server, plan)
    return 1 if failed else 0


def _run(server: str, plan: Plan) -> bool:
    started, crashes = time.monotonic(), 0

    def write(sessions: Sessions, settings: Settings) -> None:
        nonlocal crashes
        crashes = _crash_along(sessions, settings, plan)

    with _database(server, f"books_{plan.seed}") as url:
        sessions = open_database(DatabaseSettings(url=SecretStr(url)))
        try:
            found = run(sessions, plan, write=write)
        finally:
            close_database(sessions)
    complaints = found.complaints()
    counts = (
        f"{len(found.account.pairs)} attempts, {found.by_batch} by batch, {found.unknown} unknown, {crashes} crashes"
    )
    verdict = "equal" if not complaints else "NOT EQUAL"
    took = f"{time.monotonic() - started:.0f} s"
    sys.stdout.write(
        f"seed {plan.seed}: {plan.windows} windows, {counts}, ${found.billed:f} billed: {verdict} ({took})\n"
    )
    for one in complaints:
        sys.stdout.write(f"  {one}\n")
    sys.stdout.flush()
    return not complaints


def _crash_along(sessions: Sessions, settings: Settings, plan: Plan) -> int:
    """Write with processes and kill them all now and then; leases of the dead end at once. Returns the crashes."""
    chance, crashes = random.Random(plan.seed), 0  # noqa: S311 - repeatable, no secret
    deadline = time.monotonic() + plan.within_s
    while any_open(sessions) and time.monotonic() < deadline:
        workers = [_start(settings) for _ in range(plan.workers)]
        enough = attempts(sessions) + chance.randint(*ATTEMPTS_BETWEEN_CRASHES)
        while any_open(sessions) and attempts(sessions) < enough and time.monotonic() < deadline:
            let_time_fly(sessions)
            time.sleep(LOOK_S)
        time.sleep(chance.uniform(0, MOMENT_S))
        for worker in workers:
            worker.kill()
        for worker in workers:
            worker.communicate()
        with sessions.begin() as session:
            lost = session.execute(text(END_LEASES)).all()
        with sessions.begin() as session:
            session.execute(text(LOSE_SUBMISSIONS))
        crashes += bool(lost)
    return crashes


def _start(settings: Settings) -> subprocess.Popen[bytes]:
    command = [sys.executable, "-m", "tests.books.worker"]
    return subprocess.Popen(command, cwd=ROOT, env=as_environment(settings), stdin=subprocess.PIPE)


@contextmanager
def _database(server: str, name: str) -> Iterator[str]:
    engine = create_engine(server, isolation_level="AUTOCOMMIT")
    with engine.connect() as connection:
        connection.execute(text(f'CREATE DATABASE "{name}" TEMPLATE template0'))
    url = make_url(server).set(database=name).render_as_string(hide_password=False)
    migrate.upgrade(url)
    yield url
    with engine.connect() as connection:
        connection.execute(text(f'DROP DATABASE "{name}" WITH (FORCE)'))
    engine.dispose()


def _seeds(given: str) -> range:
    first, _, last = given.partition("-")
    return range(int(first), int(last or first) + 1)


if __name__ == "__main__":
    sys.exit(main())
