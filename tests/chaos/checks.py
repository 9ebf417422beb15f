"""What must hold after a run, by sets of ids: nothing accepted is lost, nothing is doubled, nothing is made up."""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any
from uuid import UUID

import psycopg

from gistline.simulator.messages_api import Recorded
from gistline.storage.frame_ledger import LEDGER_SQL, FrameLedger
from tests.chaos.cameras import Journal, Sent
from tests.chaos.detector import answer
from tests.support.reporting import sent_request
from tests.support.twin_detector import Order

Connection = psycopg.Connection[tuple[Any, ...]]
FINAL = ("inspected", "failed", "expired")
OPEN = ("pending", "running")
BAD = (Order.RAISE, Order.KILL, Order.HOG)
SHOWN = 5
"""Ids named in a complaint."""


@dataclass(frozen=True, slots=True)
class FrameFacts:
    """One row of ``frames``."""

    id: UUID
    key: str
    state: str
    attempts: int
    error: str


@dataclass(slots=True)
class Found:
    """What the database holds after a run, and everything that is wrong with it."""

    frames: dict[UUID, FrameFacts] = field(default_factory=dict)
    complaints: list[str] = field(default_factory=list)
    lost: int = 0
    doubled: int = 0
    collateral: int = 0
    """Good frames that failed because their workers died too often."""
    reports: int = 0
    paid: int = 0
    unknown: int = 0
    """LLM calls of which nobody can say whether they were billed."""

    def count(self, state: str) -> int:
        """Frames in a state."""
        return sum(frame.state == state for frame in self.frames.values())

    def complain(self, about: str, of: Sequence[object]) -> None:
        """Note what is wrong, with a few examples, unless there is nothing."""
        if of:
            shown = ", ".join(map(str, of[:SHOWN])) + (", ..." if len(of) > SHOWN else "")
            self.complaints.append(f"{len(of)} {about}: {shown}")


def check_all(
    connection: Connection, journal: Journal, requests: Sequence[Recorded], *, max_attempts: int, deadline: bool
) -> Found:
    """Everything; the system must have stopped."""
    found = Found()
    rows = connection.execute("SELECT id, idempotency_key, state::text, attempts, coalesce(error, '') FROM frames")
    facts = [FrameFacts(*row) for row in rows]
    found.frames = {one.id: one for one in facts}
    found.complaints += journal.oddities
    _check_acceptance(found, facts, journal)
    _check_ends(connection, found, journal, max_attempts=max_attempts, deadline=deadline)
    _check_findings(connection, found, journal)
    _check_reports(connection, found)
    _check_payments(connection, found, requests)
    _check_ledger(connection, found)
    return found


def _check_ledger(connection: Connection, found: Found) -> None:
    row = connection.execute(LEDGER_SQL.encode()).fetchone() or ()
    faults = FrameLedger(*row).faults
    found.complain("the ledger of frames is off", [f"{name}: {count}" for name, count in faults.items()])


def _check_acceptance(found: Found, facts: Sequence[FrameFacts], journal: Journal) -> None:
    acknowledged = set(journal.acknowledged.values())
    lost = sorted(acknowledged - found.frames.keys())
    found.lost += len(lost)
    found.complain("acknowledged frames are not in the database", lost)
    found.complain("frames are in the database that nobody was told of", sorted(found.frames.keys() - acknowledged))
    keys = Counter(one.key for one in facts)
    doubled = [key for key, times in keys.items() if times > 1]
    found.doubled += len(doubled)
    found.complain("keys have several frames", doubled)
    wrong = [one for one in facts if journal.acknowledged.get(one.key) not in (one.id, None)]
    found.complain("frames were acknowledged under another id", [one.id for one in wrong])


def _check_ends(connection: Connection, found: Found, journal: Journal, *, max_attempts: int, deadline: bool) -> None:
    open_still = [one for one in found.frames.values() if one.state not in FINAL]
    found.lost += len(open_still)
    found.complain("frames are not final", [f"{one.id} {one.state} ({one.attempts} attempts)" for one in open_still])
    verdicts = list(connection.execute("SELECT frame_id, kind::text FROM verdicts"))
    times = Counter(frame_id for frame_id, _ in verdicts)
    twice = [one for one, count in times.items() if count > 1]
    found.doubled += len(twice)
    found.complain("frames have several verdicts", twice)
    ended = {one.id for one in found.frames.values() if one.state in FINAL}
    found.complain("final frames have no verdict", sorted(ended - times.keys()))
    found.complain("verdicts are on frames that have no end", sorted(times.keys() - ended))
    kinds: dict[Any, Any] = dict(verdicts)
    for one in found.frames.values():
        sent = journal.sent.get(one.key)
        if one.id in kinds and sent is not None:
            if wrong := _wrong_end(one, sent, kinds[one.id], deadline=deadline):
                found.complaints.append(wrong)
            innocent = one.state == "failed" and sent.order not in BAD
            found.collateral += innocent
            if innocent and one.attempts < max_attempts:
                found.complaints.append(f"{one.id} failed after {one.attempts} attempts: {one.error}")


def _wrong_end(one: FrameFacts, sent: Sent, verdict: str, *, deadline: bool) -> str:
    """What is wrong with how a frame ended, or nothing."""
    if one.state == "inspected":
        expected = "ng" if sent.order is Order.DEFECT else "ok"
        if sent.order in BAD:
            return f"{one.id} was inspected, but was told to {sent.order.name}"
    else:
        expected = "reinspect"
    if one.state == "expired" and not deadline:
        return f"{one.id} expired, and no frame had a deadline"
    return "" if verdict == expected else f"{one.id} {one.state}: verdict {verdict}, expected {expected}"


def _check_findings(connection: Connection, found: Found, journal: Journal) -> None:
    seen: dict[UUID, Counter[tuple[Any, ...]]] = defaultdict(Counter)
    for frame_id, *finding in connection.execute("SELECT frame_id, label, confidence, x, y, w, h FROM findings"):
        seen[frame_id][tuple(finding)] += 1
    for one in found.frames.values():
        sent = journal.sent.get(one.key)
        if sent is None:
            continue
        expected = Counter(_expected(sent) if one.state == "inspected" else ())
        missing, surplus = expected - seen[one.id], seen[one.id] - expected
        found.doubled += sum(surplus.values())
        if missing or surplus:
            found.complaints.append(f"{one.id} ({one.state}) lacks findings {missing} and has too many: {surplus}")
    found.complain("findings belong to no frame", sorted(seen.keys() - found.frames.keys()))


def _expected(sent: Sent) -> Iterator[tuple[Any, ...]]:
    for one in answer(sent.order, sent.number):
        box = one.box
        yield one.label, one.confidence, box.x, box.y, box.w, box.h


def _check_reports(connection: Connection, found: Found) -> None:
    windows: dict[Any, Any] = dict(connection.execute("SELECT id, state::text FROM report_windows"))
    reported = Counter(row[0] for row in connection.execute("SELECT window_id FROM reports"))
    found.reports = reported.total()
    twice = [window for window, times in reported.items() if times > 1]
    found.doubled += len(twice)
    found.complain("windows have several reports", twice)
    found.complain("windows are not done", [f"{one} {state}" for one, state in windows.items() if state in OPEN])
    found.complain("windows were given up", [one for one, state in windows.items() if state == "failed"])
    written = {window for window, state in windows.items() if state == "written"}
    found.complain("written windows have no report", sorted(written - reported.keys()))
    placed = connection.execute(
        "SELECT f.id, count(rf.finding_id), max(w.state::text),"
        " count(*) FILTER (WHERE r.window_id <> fr.report_window_id)"
        " FROM findings f JOIN frames fr ON fr.id = f.frame_id"
        " LEFT JOIN report_windows w ON w.id = fr.report_window_id"
        " LEFT JOIN report_findings rf ON rf.finding_id = f.id AND rf.frame_id = f.frame_id"
        " LEFT JOIN reports r ON r.id = rf.report_id GROUP BY f.id"
    ).fetchall()
    several = [finding for finding, times, _, _ in placed if times > 1]
    found.doubled += len(several)
    found.complain("findings are in several reports", several)
    found.complain(
        "findings of written windows are in no report", [r[0] for r in placed if r[2] == "written" and not r[1]]
    )
    found.complain("findings are in the report of another window", [r[0] for r in placed if r[3]])
    found.complain("findings are in no window", [r[0] for r in placed if r[2] is None])


def _check_payments(connection: Connection, found: Found, requests: Sequence[Recorded]) -> None:
    """Every request that arrived has its row, and no window paid for two answers that it could have used."""
    rows = connection.execute(
        "SELECT window_id, state::text, body_sha256, answer IS NOT NULL, call FROM llm_attempts"
    ).fetchall()
    found.paid = sum(state == "paid" for _, state, *_ in rows)
    found.unknown = sum(state == "unknown" for _, state, *_ in rows)
    found.complain("calls were never settled", [window for window, state, *_ in rows if state == "sent"])
    usable = Counter((window, call) for window, state, _, answered, call in rows if state == "paid" and answered)
    twice = [window for window, times in usable.items() if times > 1]
    found.doubled += len(twice)
    found.complain("windows paid for several answers", twice)
    booked = Counter(sha256 for _, _, sha256, *_ in rows)
    arrived = Counter(_digest(request.body) for request in requests)
    found.complain("requests arrived that no ledger row names", list((arrived - booked).elements()))


def _digest(body: Mapping[str, Any]) -> str:
    return sent_request(body).sha256
