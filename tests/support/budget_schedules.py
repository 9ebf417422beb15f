"""The ceiling under fire: workers that buy, die and come back late, and people who change budgets meanwhile.

What runs is the product's own code on a real PostgreSQL; only the provider is played, since its books are the truth
that the ledger is held against. The database checks the ceiling at every statement: in these schedules nobody lowers
a cap and nobody is billed more than was promised, so ``overdrawn_usd`` must stay 0, and a constraint says so.
"""

from __future__ import annotations

import random
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass, fields
from datetime import UTC, datetime
from decimal import Decimal
from itertools import pairwise
from uuid import UUID

from sqlalchemy import select, text
from sqlalchemy.orm import Session

from gistline.costs.pricing import price_usage
from gistline.dispatch import NullDispatcher
from gistline.domain import TokenUsage
from gistline.domain_money import BudgetPeriod, BudgetScope
from gistline.errors import BudgetExhausted, LeaseLost, NotFound, RequestRejected, WriterFailed
from gistline.flows import budgets as budget_flows
from gistline.flows.buy_answer import Call, buy_answer, most_input_tokens
from gistline.flows.close_windows import close_now
from gistline.flows.report_tools import ReportTools
from gistline.reports.answer import Attempt, Outcome
from gistline.reports.request import Request
from gistline.reports.tokens import TokenCounter
from gistline.settings import DatabaseSettings, ReportSettings
from gistline.storage import ledger, windows
from gistline.storage.budget_book import BudgetKey, Reconciliation, open_holds
from gistline.storage.budgets import Portion
from gistline.storage.session import Sessions, close_database, open_database
from gistline.storage.tables import (
    AttemptState,
    BudgetHold,
    BudgetPeriodRow,
    BudgetRow,
    LlmAttempt,
    WaitsFor,
)
from tests.support.gates import Actor, Schedule, gate, put_gates
from tests.support.reporting import add_frame

MODEL = "claude-haiku-5-5"
LINE = "line-1"
CAMERAS = {"cam-1": 3, "cam-2": 5, "cam-3": 1}
MAX_TOKENS = 200
BUYERS = 3
SCOPES = [(BudgetScope.SITE, ""), (BudgetScope.LINE, LINE), *((BudgetScope.CAMERA, camera) for camera in CAMERAS)]
NOTHING = Decimal(0)
EXPIRE = "UPDATE report_windows SET lease_until = now() - interval '1 s' WHERE state = 'running'"


@dataclass
class Provider:
    """Plays the Messages API for one buyer: bills or not, answers or not. ``books`` has each bill by its digest."""

    books: dict[str, Decimal]
    random: random.Random
    name: str = "anthropic"
    model: str = MODEL
    simulated: bool = False

    def write(self, request: Request, *, book: Callable[[Attempt], None]) -> str:
        """One HTTP attempt."""
        gate()  # dead after the commit, before the request
        fate = self.random.random()
        if fate < 0.15:
            book(Attempt(Outcome.REFUSED, http_status=429, error="scripted"))
            raise WriterFailed("refused")
        usage = self._usage(request)
        lost = fate < 0.45
        if not lost or fate < 0.35:
            self.books[request.sha256] = price_usage(usage, MODEL, at=datetime.now(UTC)).usd
        gate()  # dead after the bill, before the answer
        if lost:
            book(Attempt(Outcome.UNKNOWN, error="scripted"))
            raise WriterFailed("nobody knows")
        book(Attempt(Outcome.PAID, http_status=200, usage=usage, answer="{}"))
        return "{}"

    def count(self, request: Request, *, timeout_s: float) -> int | None:
        """Nobody asks."""

    def close(self) -> None:
        """Nothing to let go of."""

    def _usage(self, request: Request) -> TokenUsage:
        """Anything up to what the hold bounds, the bound itself now and then."""
        most = most_input_tokens(request)
        if self.random.random() < 0.2:
            return TokenUsage(most, MAX_TOKENS)
        return TokenUsage(self.random.randint(1, most), self.random.randint(1, MAX_TOKENS))


@dataclass(frozen=True)
class Tally:
    """What schedules came to, for the record."""

    schedules: int = 0
    gates: int = 0
    kills: int = 0
    attempts: int = 0
    paid: int = 0
    unknown: int = 0
    refused_by_budget: int = 0
    locked: int = 0

    def __add__(self, other: Tally) -> Tally:
        return Tally(*(getattr(self, name) + getattr(other, name) for name in (one.name for one in fields(self))))


class World:
    """A migrated database with a few windows, and a connection for each actor."""

    def __init__(self, url: str) -> None:
        settings = DatabaseSettings.model_validate({"url": url, "pool_size": 1})
        self.quiet = open_database(settings)
        self.actors = [open_database(settings) for _ in range(BUYERS + 2)]
        for sessions in self.actors:
            put_gates(sessions.kw["bind"])
        self.counter = TokenCounter()
        with self.quiet.begin() as session:
            session.execute(text("ALTER TABLE budget_periods ADD CONSTRAINT proof CHECK (overdrawn_usd = 0)"))
        self.windows = [self._window() for _ in range(3)]

    def close(self) -> None:
        """Close every connection."""
        for sessions in (self.quiet, *self.actors):
            close_database(sessions)

    def run(self, seed: int, *, death: float = 0.008) -> Tally:
        """One schedule and all that must hold after it; an error's notes name the seed."""
        with _Named(f"schedule {seed}"):
            self._reset(random.Random(-seed))  # noqa: S311
            play = _Play(self, seed)
            schedule = Schedule(seed, death=death)
            schedule.run(play.actors())
            return play.check(schedule)

    def tools(self, sessions: Sessions, provider: Provider) -> ReportTools:
        """What a worker of this world holds."""
        return ReportTools(sessions, provider, self.counter, ReportSettings(model=MODEL))

    def _window(self) -> UUID:
        moment = datetime.now(UTC)
        with self.quiet.begin() as session:
            for camera, count in CAMERAS.items():
                add_frame(session, finished_at=moment, camera=camera, labels=["open"] * count)
        return close_now(self.quiet, NullDispatcher(), ReportSettings(window_minutes=1440), LINE).closed[-1]

    def _reset(self, chance: random.Random) -> None:
        """Empty books, windows that wait, and other caps: from less than one call to many."""
        with self.quiet.begin() as session:
            for table in ("budget_holds", "budget_periods", "budgets", "llm_attempts"):
                session.execute(text(f"DELETE FROM {table}"))  # noqa: S608 (our own names)
            session.execute(
                text(
                    "UPDATE report_windows SET state = 'pending', lease_until = NULL, waits_for = NULL, attempts = 0, "
                    "available_at = now()"
                )
            )
            for kind, scope in SCOPES:
                if chance.random() < 0.7:
                    share = Decimal(CAMERAS.get(scope, 9)) / 9
                    cap = (share * chance.randint(50, 900)).quantize(Decimal(1)) / 1_000_000
                    period = chance.choice(list(BudgetPeriod))
                    session.add(BudgetRow(scope_kind=kind, scope=scope, period=period, cap_usd=cap))


@dataclass(frozen=True)
class _Named:
    """Notes on any error what it happened in."""

    name: str

    def __enter__(self) -> None:
        pass

    def __exit__(self, kind: object, error: BaseException | None, trace: object) -> None:
        if error is not None:
            error.add_note(self.name)


class _Play:
    """The actors of one schedule, and the books they share."""

    def __init__(self, world: World, seed: int) -> None:
        self._world, self._seed = world, seed
        self._books: dict[str, Decimal] = {}
        self._in_flight: set[str] = set()
        self._refused = 0

    def actors(self) -> list[Actor]:
        """Buyers, and somebody who changes budgets and clears up holds while they buy."""
        sessions = iter(self._world.actors)
        buyers = [Actor(f"buyer {place}", self._buyer(next(sessions), place)) for place in range(BUYERS)]
        return [*buyers, *(Actor(name, self._keeper(next(sessions), name)) for name in ("keeper", "sweeper"))]

    def _buyer(self, sessions: Sessions, place: int) -> Callable[[], None]:
        chance = random.Random(f"{self._seed} {place}")  # noqa: S311
        tools = self._world.tools(sessions, Provider(self._books, chance))

        def buy() -> None:
            for turn in range(2):
                with sessions.begin() as session:
                    window = windows.claim_window(
                        session, chance.choice(self._world.windows), lease_s=60, max_attempts=99
                    )
                    if window is not None:
                        ledger.abandon_attempts(session, window.window_id)
                if window is not None:
                    self._buy(tools, window, f"{self._seed} {place} {turn}", chance)

        return buy

    def _buy(self, tools: ReportTools, window: windows.ClaimedWindow, nonce: str, chance: random.Random) -> None:
        """Some calls of a claimed window; then it goes back, whatever came of them."""
        until = datetime(2000, 1, 1, tzinfo=UTC)
        for name in chance.sample(["part-1", "part-2"], chance.randint(1, 2)):
            request = Request("You are brief.", f"{nonce} {name}", MAX_TOKENS, offline=lambda: "")
            self._in_flight.add(request.sha256)
            try:
                buy_answer(Call(window, name, request), tools)
            except WriterFailed as error:
                with tools.sessions.begin() as session:
                    windows.put_window_back(session, window, str(error), delay_s=0)
                return
            except BudgetExhausted as error:
                self._refused += 1
                with tools.sessions.begin() as session:
                    windows.let_window_wait(session, window, WaitsFor.BUDGET, str(error), until=until)
                return
            except LeaseLost:
                return
            finally:
                self._in_flight.discard(request.sha256)
        with tools.sessions.begin() as session:
            windows.put_window_back(session, window, "next", delay_s=0)

    def _keeper(self, sessions: Sessions, name: str) -> Callable[[], None]:
        chance = random.Random(f"{self._seed} {name}")  # noqa: S311
        duties: list[Callable[[Sessions, random.Random], None]] = [self._clear_up]
        duties += (
            [self._expire, self._abandon] if name == "sweeper" else [self._raise_cap, self._new_budget, self._remove]
        )

        def keep() -> None:
            for _ in range(2):
                with suppress(RequestRejected, NotFound):
                    chance.choice(duties)(sessions, chance)

        return keep

    def _expire(self, sessions: Sessions, _chance: random.Random) -> None:
        """A worker is held up for longer than its lease, and goes on later as if nothing had been."""
        with sessions.begin() as session:
            session.execute(text(EXPIRE))

    def _abandon(self, sessions: Sessions, _chance: random.Random) -> None:
        with sessions.begin() as session:
            ledger.abandon_lost(session)

    def _raise_cap(self, sessions: Sessions, chance: random.Random) -> None:
        with sessions.begin() as session:
            budget = session.scalar(select(BudgetRow).where(BudgetRow.removed_at.is_(None)).limit(1))
        if budget is not None:
            key = BudgetKey(budget.scope_kind, budget.scope, budget.period)
            budget_flows.set_budget(sessions, key, budget.cap_usd + Decimal(chance.randint(0, 200)) / 1_000_000)

    def _new_budget(self, sessions: Sessions, chance: random.Random) -> None:
        """Wide enough for all that was spent before it: one that was not is overdrawn, and rightly."""
        kind, scope = chance.choice(SCOPES)
        with suppress(RequestRejected):
            for period in BudgetPeriod:
                key = BudgetKey(kind, scope, period)
                if self._in_force(sessions, key) is None:
                    budget_flows.set_budget(sessions, key, Decimal(1))
                    return

    def _remove(self, sessions: Sessions, chance: random.Random) -> None:
        budget_flows.remove_budget(sessions, BudgetKey(*chance.choice(SCOPES), chance.choice(list(BudgetPeriod))))

    def _in_force(self, sessions: Sessions, key: BudgetKey) -> int | None:
        with sessions.begin() as session:
            return session.scalar(
                select(BudgetRow.id).where(
                    BudgetRow.removed_at.is_(None),
                    BudgetRow.scope_kind == key.scope_kind,
                    BudgetRow.scope == key.scope,
                    BudgetRow.period == key.period,
                )
            )

    def _clear_up(self, sessions: Sessions, chance: random.Random) -> None:
        """Settle by the provider's books what surely is over; who is only held up may yet be billed."""
        with sessions.begin() as session:
            rows = session.execute(select(LlmAttempt.id, LlmAttempt.body_sha256).order_by(LlmAttempt.id)).all()
            unknown = [hold.attempt_id for hold in open_holds(session) if hold.state is AttemptState.UNKNOWN]
        over = [(key, sha) for key, sha in rows if key in unknown and sha not in self._in_flight]
        if over:
            key, sha = chance.choice(over)
            self._reconcile(sessions, key, sha)

    def _reconcile(self, sessions: Sessions, attempt_id: int, sha: str) -> None:
        found = Reconciliation(self._books.get(sha), by="proof", reason="the provider's books")
        budget_flows.reconcile(sessions, attempt_id, found)

    def check(self, schedule: Schedule) -> Tally:
        """What must hold after any schedule, first as it was left, then after everything was cleared up."""
        quiet = self._world.quiet
        with quiet.begin() as session:
            _books_agree(session)
            self._ceiling_holds(session)
            rows = list(session.scalars(select(LlmAttempt).order_by(LlmAttempt.id)))
            _never_paid_after_an_answer(rows)
        with quiet.begin() as session:
            session.execute(text(EXPIRE))
            ledger.abandon_lost(session)
            left = open_holds(session)
        assert all(hold.state is AttemptState.UNKNOWN for hold in left)
        digests = {row.id: row.body_sha256 for row in rows}
        for hold in left:
            self._reconcile(quiet, hold.attempt_id, digests[hold.attempt_id])
        with quiet.begin() as session:
            _books_agree(session)
            self._all_is_settled(session)
        return Tally(
            schedules=1,
            gates=schedule.gates,
            kills=schedule.kills,
            attempts=len(rows),
            paid=sum(row.state is AttemptState.PAID for row in rows),
            unknown=len(left),
            refused_by_budget=self._refused,
            locked=schedule.locked,
        )

    def _true_spending(self, session: Session, budget_id: int, period_start: datetime) -> Decimal:
        """The provider's bill for a period of a budget, by the shares that the budget bears."""
        rows = session.execute(
            select(BudgetHold, LlmAttempt.body_sha256)
            .join(LlmAttempt, LlmAttempt.id == BudgetHold.attempt_id)
            .where(BudgetHold.budget_id == budget_id, BudgetHold.period_start == period_start)
        )
        return sum(
            (Portion(hold.before, hold.part, hold.whole).of(self._books.get(sha, NOTHING)) for hold, sha in rows),
            NOTHING,
        )

    def _ceiling_holds(self, session: Session) -> None:
        """What was really billed is covered by what is settled and held, and that by the cap."""
        for period in session.scalars(select(BudgetPeriodRow)):
            used = period.settled_usd + period.held_usd
            spent = self._true_spending(session, period.budget_id, period.period_start)
            assert spent <= used <= period.cap_usd, (spent, used, period.cap_usd)

    def _all_is_settled(self, session: Session) -> None:
        """No hold leaked, and the ledger is the provider's books, to the last digit."""
        for period in session.scalars(select(BudgetPeriodRow)):
            assert period.held_usd == 0, period.held_usd
            assert period.settled_usd == self._true_spending(session, period.budget_id, period.period_start)
        ledger_usd = {row.body_sha256: row.usd for row in session.scalars(select(LlmAttempt)) if row.usd is not None}
        assert ledger_usd == self._books
        assert not open_holds(session)


def _books_agree(session: Session) -> None:
    """Each period is the sum of its attempts' holds, and only open attempts hold anything."""
    joined = select(BudgetHold, LlmAttempt).join(LlmAttempt, LlmAttempt.id == BudgetHold.attempt_id)
    holds = list(session.execute(joined))
    for period in session.scalars(select(BudgetPeriodRow)):
        key = (period.budget_id, period.period_start)
        mine = [hold for hold, _ in holds if (hold.budget_id, hold.period_start) == key]
        assert period.held_usd == sum((hold.held_usd for hold in mine), NOTHING)
        assert period.settled_usd == sum((hold.settled_usd for hold in mine), NOTHING)
    for hold, attempt in holds:
        still_open = attempt.state in {AttemptState.SENT, AttemptState.UNKNOWN}
        assert (hold.held_usd > 0) == still_open, (attempt.state, hold.held_usd)


def _never_paid_after_an_answer(rows: list[LlmAttempt]) -> None:
    """No attempt at a call was begun after an answer to it was there."""
    by_call: dict[tuple[UUID, str], list[LlmAttempt]] = {}
    for row in rows:
        by_call.setdefault((row.window_id, row.call), []).append(row)
    for attempts in by_call.values():
        assert [row.attempt for row in attempts] == list(range(1, len(attempts) + 1))
        for earlier, later in pairwise(attempts):
            if earlier.state is AttemptState.PAID and earlier.answer and earlier.settled_at:
                assert later.sent_at < earlier.settled_at
