"""One run: a fresh system, its load, its faults, its recovery, and what was found afterwards."""

from __future__ import annotations

import shutil
import time
from collections import Counter
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from dataclasses import asdict, dataclass, field
from pathlib import Path
from threading import Lock
from typing import Any, Final

import psycopg

from tests.chaos.cameras import Cameras, Journal
from tests.chaos.checks import Found, check_all
from tests.chaos.faults import CannotStrikeError, close_lines, strike
from tests.chaos.plan import CAMERAS, Fault, Plan, Request
from tests.chaos.system import System, running
from tests.support.twin_detector import Order

CLOSED_WITHIN_S: Final = 20.0
"""More than any step of the database's clock."""
QUIET_WITHIN_S: Final = 120.0
"""A frame that kills its worker five times takes five leases and five starts."""
REPORTS_WITHIN_S: Final = 75.0
"""A killed report worker's window waits for its lease: the call's time-out and half a minute."""
PROBE: Final = 90_000
"""First number of the frames that show at the end that everything still works."""


@dataclass(slots=True)
class Result:
    """A line of the table."""

    seed: int
    faults: list[str]
    skipped: list[str] = field(default_factory=list)
    accepted: int = 0
    inspected: int = 0
    failed: int = 0
    expired: int = 0
    collateral: int = 0
    lost: int = 0
    doubled: int = 0
    recover_s: float = 0.0
    report_recover_s: float = 0.0
    reports: int = 0
    calls: int = 0
    paid: int = 0
    unknown: int = 0
    restarts: int = 0
    exits: dict[str, int] = field(default_factory=dict)
    """Programs that ended by themselves, with the exit code, and how often."""
    took_s: float = 0.0
    answers: dict[str, int] = field(default_factory=dict)
    complaints: list[str] = field(default_factory=list)

    @property
    def passed(self) -> bool:
        """Whether everything held."""
        return not self.complaints

    def line(self) -> str:
        """For people."""
        ends = f"accepted {self.accepted}, inspected {self.inspected}, failed {self.failed}, expired {self.expired}"
        bad = f"lost {self.lost}, doubled {self.doubled}"
        verdict = "ok" if self.passed else "FAILED"
        faults = " ".join(self.faults)
        return f"seed {self.seed}: {ends}, {bad}, recovered in {self.recover_s:.1f} s: {verdict}  [{faults}]"

    def as_json(self) -> dict[str, Any]:
        """For machines."""
        return asdict(self)


def run(plan: Plan, folder: Path, template: Path, library: Path | None, *, slot: int) -> Result:
    """Do what the plan says; ``folder`` is made and removed, but for the logs of a run that failed."""
    began = time.monotonic()
    result = Result(plan.seed, [str(kind) for kind in plan.kinds])
    folder.mkdir(parents=True)
    folder.chmod(0o755)
    with running(plan, folder, template, library, slot=slot) as system:
        system.start()
        system.wait_until_ready()
        journal = Journal()
        cameras = Cameras(system.url, system.add_cameras(), journal)
        try:
            _assault(system, cameras, result, journal)
        finally:
            cameras.close()
        system.supervisor.stop()
        result.restarts = sum(system.supervisor.restarts().values())
        with system.postgres.connect() as connection:
            found = check_all(
                connection,
                journal,
                system.messages.requests,
                max_attempts=plan.max_attempts,
                deadline=plan.deadline_s > 0,
            )
        _take_down(result, found, system, journal)
    result.took_s = round(time.monotonic() - began, 2)
    if result.passed:
        shutil.rmtree(folder)
    return result


def _assault(system: System, cameras: Cameras, result: Result, journal: Journal) -> None:
    plan, began = system.plan, time.monotonic()
    cameras.play(plan.requests, began)
    ended = _carry_out(system, began, result)
    if not cameras.wait(QUIET_WITHIN_S):
        result.complaints.append(f"cameras got no definite answer in {QUIET_WITHIN_S:.0f} s: {dict(journal.answers)}")
        return
    if not _until(lambda: _open(system, "frames") == 0, QUIET_WITHIN_S):
        result.complaints.append(f"not every frame is final {QUIET_WITHIN_S:.0f} s after the load: {_waiting(system)}")
    result.recover_s = round(max(0.0, time.monotonic() - ended), 2)
    for place, camera in enumerate(CAMERAS):
        cameras.send(Request(camera, 0.0, ((Order.DEFECT, PROBE + place),), None))
    if not _until(lambda: _open(system, "frames") == 0, QUIET_WITHIN_S):
        result.complaints.append("frames sent after everything are not inspected")
    reported = time.monotonic()
    _until(lambda: _closed(system), CLOSED_WITHIN_S)
    _until(lambda: _open(system, "report_windows") == 0, REPORTS_WITHIN_S)
    result.report_recover_s = round(time.monotonic() - reported, 2)


def _carry_out(system: System, began: float, result: Result) -> float:
    """Every fault at its time, and the windows closed at theirs; returns when the last fault was over."""
    ends, lock = [began], Lock()

    def at(at_s: float, act: Callable[[], None]) -> None:
        time.sleep(max(0.0, began + at_s - time.monotonic()))
        act()

    def blow(fault: Fault) -> None:
        try:
            strike(system, fault)
        except CannotStrikeError as reason:
            result.skipped.append(f"{fault.kind}: {reason}")
        with lock:
            ends.append(time.monotonic())

    with ThreadPoolExecutor(16, thread_name_prefix="fault") as pool:
        acts = [pool.submit(at, fault.at_s, lambda one=fault: blow(one)) for fault in system.plan.faults]  # type: ignore[misc]
        acts += [pool.submit(at, close_s, lambda: close_lines(system)) for close_s in system.plan.closes_s]
        for act in acts:
            act.result()
    return max(ends)


def _closed(system: System) -> bool:
    """Close the windows; whether every frame that ended is in one.

    A clock that was ahead for a while leaves windows that end in the future: the next one begins after them.
    """
    close_lines(system)
    with suppress(psycopg.Error), system.postgres.connect() as connection:
        left = "SELECT 1 FROM frames WHERE report_window_id IS NULL AND finished_at IS NOT NULL LIMIT 1"
        return connection.execute(left).fetchone() is None
    return False


def _open(system: System, table: str) -> int:
    """Rows that are not final; -1 while the database does not say."""
    with suppress(psycopg.Error), system.postgres.connect() as connection:
        counted = f"SELECT count(*) FROM {table} WHERE state::text IN ('pending', 'running')"  # noqa: S608 - two names
        return int((connection.execute(counted).fetchone() or (-1,))[0])
    return -1


def _waiting(system: System) -> list[tuple[Any, ...]]:
    """What is known of frames that are not final."""
    columns = "id, state::text, attempts, error, available_at - now(), lease_until - now()"
    with system.postgres.connect() as connection:
        return connection.execute(f"SELECT {columns} FROM frames WHERE finished_at IS NULL LIMIT 5").fetchall()  # noqa: S608


def _until(holds: Callable[[], bool], within_s: float) -> bool:
    deadline = time.monotonic() + within_s
    while not holds():
        if time.monotonic() > deadline:
            return False
        time.sleep(0.1)
    return True


def _take_down(result: Result, found: Found, system: System, journal: Journal) -> None:
    result.accepted = len(journal.acknowledged)
    result.inspected, result.failed = found.count("inspected"), found.count("failed")
    result.expired, result.collateral = found.count("expired"), found.collateral
    result.lost, result.doubled = found.lost, found.doubled
    result.reports, result.paid, result.unknown = found.reports, found.paid, found.unknown
    result.calls = len(system.messages.requests)
    result.answers = dict(journal.answers)
    ended = [event.split("; ")[0].split(" ", 1)[1] for event in system.events if "exit code" in event]
    result.exits = dict(Counter(ended))
    result.complaints += found.complaints
    if result.complaints:
        schedule = [*map(str, system.plan.faults), "", *system.events, "", *result.complaints, ""]
        (system.folder / "logs" / "run.txt").write_text("\n".join(schedule))
