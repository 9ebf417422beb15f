"""The ceiling under fire: workers that buy, die and come back late, batches, and people who change budgets meanwhile.

What runs is the product's own code on a real PostgreSQL; only the provider is played (``proof_provider``), since its
books are the truth that the ledger is held against (``proof_checks``). The database checks the ceiling at every
statement: in these schedules nobody lowers a cap and nobody is billed more than was promised, so ``overdrawn_usd`` must
stay 0, and a constraint says so.

Time is moved by hand: leases, pauses, deadlines and the age of a lost batch. One thing is left to be true of it: a
batch is given up as never taken in only once its submission is over (``LISTED_AFTER`` is many times a call's time-out).
"""

from __future__ import annotations

import logging
import random
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass, fields
from datetime import UTC, datetime
from decimal import Decimal
from uuid import UUID

from sqlalchemy import make_url, select, text
from sqlalchemy.orm import Session

from gistline.dispatch import NullDispatcher
from gistline.domain_money import BudgetPeriod, BudgetScope
from gistline.errors import AnswerPending, BudgetExhausted, LeaseLost, NotFound, RequestRejected, WriterFailed
from gistline.flows import budgets as budget_flows
from gistline.flows.buy_answer import Call, buy_answer
from gistline.flows.close_windows import close_now
from gistline.flows.report_tools import ReportTools
from gistline.flows.tend_batches import tend_batches
from gistline.reports.request import Request
from gistline.reports.tokens import TokenCounter
from gistline.settings import DatabaseSettings, ReportSettings
from gistline.storage import ledger, llm_batches, windows
from gistline.storage.budget_book import BudgetKey, Reconciliation, open_holds
from gistline.storage.session import Sessions, close_database, open_database
from gistline.storage.tables import AttemptState, BatchState, BudgetRow, LlmAttempt, LlmBatch, Processing, WaitsFor
from tests.support import proof_checks
from tests.support.gates import Actor, Schedule, Watch, put_gates
from tests.support.proof_provider import MAX_TOKENS, MODEL, Batches, Books, Calls
from tests.support.reporting import add_frame

LINE = "line-1"
CAMERAS = {"cam-1": 3, "cam-2": 5, "cam-3": 1}
CAST = ("buyer 0", "buyer 1", "buyer 2", "clock", "keeper", "sweeper", "tender 0", "tender 1")
SCOPES = [(BudgetScope.SITE, ""), (BudgetScope.LINE, LINE), *((BudgetScope.CAMERA, camera) for camera in CAMERAS)]
SETTINGS = ReportSettings(model=MODEL, batch_gather_s=0, batch_poll_s=60)
TABLES = ("budget_holds", "budget_periods", "budgets", "llm_attempts", "llm_batches")
MOST_ROUNDS = 12
"""More rounds than it takes to find, end and collect whatever a schedule left of batches."""

EXPIRE = "UPDATE report_windows SET lease_until = now() - interval '1 s' WHERE state = 'running'"
LOOK_AGAIN = "UPDATE llm_batches SET looked_at = NULL, retry_at = NULL"
DEADLINE = "UPDATE report_windows SET deadline_at = now() - interval '1 s' WHERE deadline_at IS NOT NULL AND id = :id"
NEAR = "UPDATE llm_batches SET deadline_at = now() + interval '1 minute'"
SLOW = "UPDATE llm_batches SET created_at = least(created_at, now() - interval '5 minutes') WHERE state = 'submitting'"
OVER = "UPDATE llm_batches SET created_at = now() - interval '20 minutes' WHERE id = ANY(:ids)"
AT_DEADLINE = (
    "UPDATE report_windows SET available_at = now(), deadline_at = deadline_at - interval '1 day' "
    "WHERE state = 'pending' AND id = :id"
)
DUE = "UPDATE report_windows SET available_at = now() WHERE state = 'pending' AND id = :id"


@dataclass(frozen=True)
class Tally:
    """What schedules came to, for the record. ``locked``: how often an actor waited for another's lock."""

    schedules: int = 0
    gates: int = 0
    kills: int = 0
    locked: int = 0
    attempts: int = 0
    paid: int = 0
    unknown: int = 0
    refused_by_budget: int = 0
    batches: int = 0
    by_batch: int = 0
    paid_by_batch: int = 0
    fallbacks: int = 0

    def __add__(self, other: Tally) -> Tally:
        return Tally(*(getattr(self, name) + getattr(other, name) for name in (one.name for one in fields(self))))


class World:
    """A migrated database with a few windows, and a connection for each actor."""

    def __init__(self, url: str) -> None:
        settings = DatabaseSettings.model_validate({"url": url, "pool_size": 1})
        self.quiet = open_database(settings)
        self.actors = {name: open_database(settings) for name in CAST}
        self.watch = Watch(make_url(url).set(drivername="postgresql").render_as_string(hide_password=False))
        self.waits = {name: self.watch.of(sessions.kw["bind"]) for name, sessions in self.actors.items()}
        for sessions in self.actors.values():
            put_gates(sessions.kw["bind"])
        self.counter = TokenCounter()
        logging.getLogger("gistline.flows.tend_batches").setLevel(logging.ERROR)  # what goes wrong here is meant to
        with self.quiet.begin() as session:
            session.execute(text("ALTER TABLE budget_periods ADD CONSTRAINT proof CHECK (overdrawn_usd = 0)"))
        self.windows = [self._window() for _ in range(2)]

    def close(self) -> None:
        """Close every connection."""
        self.watch.close()
        for sessions in (self.quiet, *self.actors.values()):
            close_database(sessions)

    def run(self, seed: int, *, death: float = 0.008) -> Tally:
        """One schedule and all that must hold after it; an error's notes name the seed."""
        with _Named(f"schedule {seed}"):
            self._reset(random.Random(-seed))  # noqa: S311
            play = _Play(self, seed)
            schedule = Schedule(seed, death=death)
            schedule.run(play.actors())
            return play.check(schedule)

    def tools(self, sessions: Sessions, books: Books, chance: random.Random) -> ReportTools:
        """What a worker of this world holds."""
        return ReportTools(sessions, Calls(books, chance), self.counter, SETTINGS, Batches(books, chance))

    def empty(self, session: Session) -> None:
        """Forget every budget and attempt."""
        for table in TABLES:
            session.execute(text(f"DELETE FROM {table}"))  # noqa: S608 (our own names)

    def _window(self) -> UUID:
        moment = datetime.now(UTC)
        with self.quiet.begin() as session:
            for camera, count in CAMERAS.items():
                add_frame(session, finished_at=moment, camera=camera, labels=["open"] * count)
        return close_now(self.quiet, NullDispatcher(), ReportSettings(window_minutes=1440), LINE).closed[-1]

    def _reset(self, chance: random.Random) -> None:
        """Empty books, windows that wait, urgent or not, and other caps: from less than one call to many."""
        with self.quiet.begin() as session:
            self.empty(session)
            session.execute(
                text(
                    "UPDATE report_windows SET state = 'pending', lease_until = NULL, waits_for = NULL, attempts = 0, "
                    "deadline_at = NULL, available_at = now()"
                )
            )
            patient = [key for key in self.windows if chance.random() < 0.6]
            later = text("UPDATE report_windows SET deadline_at = now() + interval '4 hours' WHERE id = ANY(:ids)")
            session.execute(later, {"ids": patient})
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
        self._books = Books()
        self._refused = 0

    def actors(self) -> list[Actor]:
        """Buyers, those who look after batches, and those who change budgets, clear up and move time meanwhile."""
        return [Actor(name, self._part(name), self._world.waits[name]) for name in CAST]

    def _part(self, name: str) -> Callable[[], None]:
        sessions = self._world.actors[name]
        chance = random.Random(f"{self._seed} {name}")  # noqa: S311
        if name.startswith("buyer"):
            return self._buyer(self._world.tools(sessions, self._books, chance), name, chance)
        if name.startswith("tender"):
            return self._tender(self._world.tools(sessions, self._books, chance))
        return self._keeper(sessions, name, chance)

    def _buyer(self, tools: ReportTools, name: str, chance: random.Random) -> Callable[[], None]:
        def buy() -> None:
            for turn in range(3):
                window_id = chance.choice(self._world.windows)
                with tools.sessions.begin() as session:
                    if chance.random() < 0.5:  # what it waited for has come, or its deadline
                        session.execute(text(chance.choice([DUE, AT_DEADLINE, AT_DEADLINE])), {"id": window_id})
                    window = windows.claim_window(session, window_id, lease_s=60, max_attempts=99)
                    if window is not None:
                        ledger.abandon_attempts(session, window.window_id)
                if window is not None:
                    self._books.claims[window_id] = window.token
                    self._buy(tools, window, f"{self._seed} {name} {turn}", chance)

        return buy

    def _buy(self, tools: ReportTools, window: windows.ClaimedWindow, nonce: str, chance: random.Random) -> None:
        """Some calls of a claimed window; then it goes back, whatever came of them, or is given up."""
        until = datetime(2000, 1, 1, tzinfo=UTC)
        for name in chance.sample(["part-1", "part-2"], chance.randint(1, 2)):
            request = Request("You are brief.", f"{nonce} {name}", MAX_TOKENS, offline=lambda: "")
            self._books.ask(request, window)
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
            except AnswerPending as error:
                with tools.sessions.begin() as session:
                    windows.let_window_wait(session, window, WaitsFor.BATCH, str(error), until=error.until)
                return
            except LeaseLost:
                return
            finally:
                self._books.in_flight.discard(request.sha256)
        with tools.sessions.begin() as session:
            if chance.random() < 0.1:
                windows.fail_window(session, window, "given up")
            else:
                windows.put_window_back(session, window, "next", delay_s=0)

    def _tender(self, tools: ReportTools) -> Callable[[], None]:
        def tend() -> None:
            for _ in range(2):
                tend_batches(tools)

        return tend

    def _keeper(self, sessions: Sessions, name: str, chance: random.Random) -> Callable[[], None]:
        duties: dict[str, list[Callable[[Sessions, random.Random], None]]] = {
            "sweeper": [self._clear_up, self._expire, self._abandon],
            "keeper": [self._clear_up, self._raise_cap, self._new_budget, self._remove],
            "clock": [self._look_again, self._deadline, self._near, self._slow, self._over],
        }

        def keep() -> None:
            for _ in range(2 if name != "clock" else 4):
                with suppress(RequestRejected, NotFound):
                    chance.choice(duties[name])(sessions, chance)

        return keep

    def _expire(self, sessions: Sessions, _chance: random.Random) -> None:
        """A worker is held up for longer than its lease, and goes on later as if nothing had been."""
        with sessions.begin() as session:
            session.execute(text(EXPIRE))

    def _abandon(self, sessions: Sessions, _chance: random.Random) -> None:
        with sessions.begin() as session:
            ledger.abandon_lost(session)

    def _look_again(self, sessions: Sessions, _chance: random.Random) -> None:
        """A minute goes by, although somebody may still be at his last look."""
        with sessions.begin() as session:
            session.execute(text(LOOK_AGAIN))

    def _deadline(self, sessions: Sessions, chance: random.Random) -> None:
        with sessions.begin() as session:
            session.execute(text(DEADLINE), {"id": chance.choice(self._world.windows)})

    def _near(self, sessions: Sessions, _chance: random.Random) -> None:
        """So near the deadline that batches are cancelled."""
        with sessions.begin() as session:
            session.execute(text(NEAR))

    def _slow(self, sessions: Sessions, _chance: random.Random) -> None:
        """A submission takes longer than it may."""
        with sessions.begin() as session:
            session.execute(text(SLOW))

    def _over(self, sessions: Sessions, _chance: random.Random) -> None:
        """A quarter of an hour after a submission that is over, whether its worker has heard of the end or not."""
        with sessions.begin() as session:
            query = select(LlmBatch.id).where(LlmBatch.state.in_((BatchState.SUBMITTING, BatchState.LOST)))
            mine = {key: set(llm_batches.attempts_in(session, key)) for key in session.scalars(query.order_by("id"))}
            over = [key for key, names in mine.items() if not names & self._books.in_flight]
            if over:
                session.execute(text(OVER), {"ids": over})

    def _raise_cap(self, sessions: Sessions, chance: random.Random) -> None:
        with sessions.begin() as session:
            budget = session.scalar(select(BudgetRow).where(BudgetRow.removed_at.is_(None)).order_by("id").limit(1))
        if budget is not None:
            key = BudgetKey(budget.scope_kind, budget.scope, budget.period)
            budget_flows.set_budget(sessions, key, budget.cap_usd + Decimal(chance.randint(0, 200)) / 1_000_000)

    def _new_budget(self, sessions: Sessions, chance: random.Random) -> None:
        """Wide enough for all that was spent before it: one that was not is overdrawn, and rightly."""
        kind, scope = chance.choice(SCOPES)
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
        over = [(key, sha) for key, sha in rows if key in unknown and sha not in self._books.in_flight]
        if over:
            key, sha = chance.choice(over)
            self._reconcile(sessions, key, sha)

    def _reconcile(self, sessions: Sessions, attempt_id: int, sha: str) -> None:
        found = Reconciliation(self._books.bills.get(sha), by="proof", reason="the provider's books")
        budget_flows.reconcile(sessions, attempt_id, found)

    def check(self, schedule: Schedule) -> Tally:
        """What must hold after any schedule, first as it was left, then after everything was cleared up."""
        quiet = self._world.quiet
        batches = Batches(self._books, random.Random(self._seed))  # noqa: S311
        batches.finish()
        with quiet.begin() as session:
            proof_checks.books_agree(session)
            proof_checks.ceiling_holds(session, self._books.bills)
            proof_checks.every_budget_bears_every_bill(session, self._books.bills)
            rows = list(session.scalars(select(LlmAttempt).order_by(LlmAttempt.id)))
            proof_checks.never_paid_after_an_answer(rows)
        self._end_batches(self._world.tools(quiet, self._books, batches.random))
        with quiet.begin() as session:
            session.execute(text(EXPIRE))
            ledger.abandon_lost(session)
            left = open_holds(session)
        assert all(hold.state is AttemptState.UNKNOWN for hold in left), "an attempt is on its way for ever"
        digests = {row.id: row.body_sha256 for row in rows}
        for hold in left:
            self._reconcile(quiet, hold.attempt_id, digests[hold.attempt_id])
        with quiet.begin() as session:
            proof_checks.books_agree(session)
            proof_checks.all_is_settled(session, self._books.bills)
            ended = list(session.scalars(select(LlmAttempt).execution_options(populate_existing=True)))
        return self._tally(schedule, ended, unknown=len(left))

    def _end_batches(self, tools: ReportTools) -> None:
        """Time goes on for batches, with a provider that answers, until nothing of them is open."""
        for _ in range(MOST_ROUNDS):
            with self._world.quiet.begin() as session:
                queued = session.scalar(select(LlmAttempt.id).where(LlmAttempt.state == AttemptState.QUEUED).limit(1))
                if queued is None and not proof_checks.open_batches(session):
                    return
                session.execute(text(LOOK_AGAIN))
            self._over(self._world.quiet, random.Random())  # noqa: S311 (nothing is drawn)
            tend_batches(tools)
        raise AssertionError("a batch is never done with")

    def _tally(self, schedule: Schedule, rows: list[LlmAttempt], *, unknown: int) -> Tally:
        by_batch = [row for row in rows if row.processing is Processing.BATCH]
        calls = {(row.window_id, row.call) for row in by_batch}
        return Tally(
            schedules=1,
            gates=schedule.gates,
            kills=schedule.kills,
            locked=schedule.locked,
            attempts=len(rows),
            paid=sum(row.state is AttemptState.PAID for row in rows),
            unknown=unknown,
            refused_by_budget=self._refused,
            batches=len(self._books.batches),
            by_batch=len(by_batch),
            paid_by_batch=sum(row.state is AttemptState.PAID for row in by_batch),
            fallbacks=sum((row.window_id, row.call) in calls for row in rows) - len(by_batch),
        )
