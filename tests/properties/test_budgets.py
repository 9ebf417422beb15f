"""``settled + held <= cap``: in any order of steps against a model, and in any interleaving of workers that die."""

from __future__ import annotations

import os
from collections.abc import Iterator
from dataclasses import dataclass, field
from datetime import UTC, datetime
from decimal import Decimal
from fractions import Fraction
from math import floor
from uuid import UUID, uuid4

import pytest
from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import Bundle, RuleBasedStateMachine, consumes, invariant, rule, run_state_machine_as_test
from pydantic import SecretStr
from sqlalchemy import insert, text

from gistline.costs.pricing import price_vector
from gistline.domain import TokenUsage, WindowId
from gistline.domain_money import BudgetPeriod, BudgetScope
from gistline.errors import BudgetExhausted, NotFound
from gistline.flows import budgets as flows
from gistline.settings import DatabaseSettings
from gistline.storage import budgets, ledger, llm_batches
from gistline.storage.budget_book import BudgetKey, Reconciliation, open_holds
from gistline.storage.budgets import Portion, Purchase, budget_states
from gistline.storage.session import Sessions, close_database, open_database
from gistline.storage.tables import AttemptState, BatchState, Camera, LlmBatch, ReportWindow
from tests.support.budget_mutants import MUTANTS, Mutant, mutant
from tests.support.budget_schedules import Tally, World

UNITS = 10**12
OPEN = {AttemptState.SENT, AttemptState.UNKNOWN}
LINES = ("line-1", "line-2")
CAMERAS = ("cam-1", "cam-2", "cam-3")
KEYS = [
    BudgetKey(kind, scope, period)
    for kind, scopes in ((BudgetScope.SITE, ("",)), (BudgetScope.LINE, LINES), (BudgetScope.CAMERA, CAMERAS))
    for scope in scopes
    for period in BudgetPeriod
]
PRICE = price_vector("claude-haiku-5-5", at=datetime(2026, 11, 26, tzinfo=UTC))
EXAMPLES = int(os.environ.get("BUDGET_EXAMPLES", "8"))
"""Of the state machine; the long form is ``BUDGET_EXAMPLES=500``."""
amounts = st.integers(0, 3_000).map(lambda micros: Decimal(micros) / 1_000_000)
shares = st.dictionaries(st.sampled_from(CAMERAS), st.integers(0, 7), max_size=3)


@pytest.fixture
def sessions(database_url: str) -> Iterator[Sessions]:
    made = open_database(DatabaseSettings(url=SecretStr(database_url)))
    yield made
    close_database(made)


@dataclass(frozen=True)
class Bought:
    """What the model knows of an attempt: its line, its cameras, and in units what it may cost, holds or has cost."""

    line: str
    cameras: tuple[tuple[str, int], ...]
    promised: int
    state: AttemptState = AttemptState.SENT
    spent: int = 0

    def of(self, key: BudgetKey, units: int) -> int | None:
        """The part of an amount that a budget bears, by cutting running totals."""
        if key.scope_kind is BudgetScope.SITE or key.scope == self.line:
            return units
        whole = sum(count for _, count in self.cameras)
        before = sum(count for name, count in self.cameras if name < key.scope)
        mine = dict(self.cameras).get(key.scope, 0)
        if not mine:
            return None
        return floor(Fraction(units * (before + mine), whole)) - floor(Fraction(units * before, whole))

    def bound(self, key: BudgetKey) -> int | None:
        """The most that a budget may bear of it."""
        part = self.of(key, self.promised)
        return part if part is None or part == self.promised else part + 2


@dataclass
class Model:
    """Caps in force and attempts of the current day, in units of the database's last digit."""

    caps: dict[BudgetKey, int] = field(default_factory=dict)
    attempts: dict[int, Bought] = field(default_factory=dict)

    def used(self, key: BudgetKey) -> tuple[int, int]:
        settled = held = 0
        for one in self.attempts.values():
            settled += one.of(key, one.spent) or 0
            held += (one.bound(key) or 0) if one.state in OPEN else 0
        return settled, held

    def lets(self, new: Bought) -> bool:
        return all(
            sum(self.used(key)) + (new.bound(key) or 0) <= cap
            for key, cap in self.caps.items()
            if new.of(key, 1) is not None
        )


class Ceiling(RuleBasedStateMachine):
    """Attempts opened, ended, lost, cleared up; caps set and removed; every state compared with the model."""

    attempts: Bundle[int] = Bundle("attempts")

    def __init__(self, sessions: Sessions) -> None:
        super().__init__()
        self.sessions, self.model = sessions, Model()
        self.windows: dict[str, UUID] = {}
        with sessions.begin() as session:
            for table in ("budget_holds", "budget_periods", "budgets", "llm_attempts", "report_windows", "cameras"):
                session.execute(text(f"DELETE FROM {table}"))  # noqa: S608 (our own names)
            for place, name in enumerate(CAMERAS):
                session.execute(insert(Camera).values(name=name, line=LINES[place % 2]))
            for line in LINES:
                self.windows[line] = uuid4()
                times = {"starts_at": datetime(2026, 1, 1, tzinfo=UTC), "ends_at": datetime(2026, 1, 2, tzinfo=UTC)}
                session.execute(insert(ReportWindow).values(id=self.windows[line], line=line, **times))

    @rule(target=attempts, line=st.sampled_from(LINES), cameras=shares, usd=amounts)
    def buy(self, line: str, cameras: dict[str, int], usd: Decimal) -> int:
        new = Bought(line, tuple(sorted(cameras.items())), int(usd * UNITS))
        lets = self.model.lets(new)
        try:
            attempt_id = self._open(line, cameras, usd)
        except BudgetExhausted as refused:
            assert not lets
            return self._afford(new, refused.room_usd)
        assert lets
        self.model.attempts[attempt_id] = new
        return attempt_id

    def _afford(self, new: Bought, room: Decimal) -> int:
        """What a refusal offers is true: that much is let through, a cent of a cent more is not."""
        usd = Decimal(int(room * UNITS)) / UNITS
        attempt_id = self._open(new.line, dict(new.cameras), usd) if usd > 0 else -1
        if attempt_id > 0:
            self.model.attempts[attempt_id] = Bought(new.line, new.cameras, int(usd * UNITS))
        return attempt_id

    @rule(attempt=consumes(attempts), share=st.fractions(0, 1))
    def pay(self, attempt: int, share: Fraction) -> None:
        """The answer comes, even to an attempt that was given up."""
        old = self.model.attempts.get(attempt)
        if old is not None:
            spent = floor(old.promised * share)
            self._end(attempt, AttemptState.PAID, spent)

    @rule(attempt=consumes(attempts))
    def refuse(self, attempt: int) -> None:
        self._end(attempt, AttemptState.REFUSED, 0)

    @rule(attempt=attempts)
    def lose(self, attempt: int) -> None:
        self._end(attempt, AttemptState.UNKNOWN, 0)

    @rule(attempt=attempts, cost=st.none() | st.fractions(0, 1))
    def clear_up(self, attempt: int, cost: Fraction | None) -> None:
        old = self.model.attempts.get(attempt)
        if old is None or old.state is not AttemptState.UNKNOWN:
            return
        spent = 0 if cost is None else floor(old.promised * cost)
        usd = None if cost is None else Decimal(spent) / UNITS
        flows.reconcile(self.sessions, attempt, Reconciliation(usd, "model", "its books"))
        state = AttemptState.REFUSED if cost is None else AttemptState.PAID
        self.model.attempts[attempt] = Bought(old.line, old.cameras, old.promised, state, spent)

    @rule(key=st.sampled_from(KEYS), cap=st.integers(0, 9_000).map(lambda micros: Decimal(micros) / 1_000_000))
    def cap(self, key: BudgetKey, cap: Decimal) -> None:
        flows.set_budget(self.sessions, key, cap)
        self.model.caps[key] = int(cap * UNITS)

    @rule(key=st.sampled_from(KEYS))
    def uncap(self, key: BudgetKey) -> None:
        if self.model.caps.pop(key, None) is not None:
            flows.remove_budget(self.sessions, key)
            return
        with pytest.raises(NotFound):
            flows.remove_budget(self.sessions, key)

    @invariant()
    def the_books_are_the_model(self) -> None:
        with self.sessions() as session:
            found = {BudgetKey(one.scope_kind, one.scope, one.period): one for one in budget_states(session)}
            left = open_holds(session)
        assert {key: int(one.cap_usd * UNITS) for key, one in found.items()} == self.model.caps
        for key, one in found.items():
            settled, held = self.model.used(key)
            assert (one.settled_usd * UNITS, one.held_usd * UNITS) == (Decimal(settled), Decimal(held))
            assert one.overdrawn_usd * UNITS == max(0, settled + held - self.model.caps[key])
        still = {key for key, one in self.model.attempts.items() if one.state in OPEN}
        assert {hold.attempt_id for hold in left} == still

    def _open(self, line: str, cameras: dict[str, int], usd: Decimal) -> int:
        new = ledger.NewAttempt(
            window_id=WindowId(self.windows[line]),
            call="report",
            writer="anthropic",
            model=PRICE.model,
            simulated=False,
            body_sha256="0",
            price=PRICE,
            purchase=Purchase(line, cameras, usd),
        )
        with self.sessions.begin() as session:
            budgets.enter(session)
            return ledger.open_attempt(session, new)

    def _end(self, attempt: int, state: AttemptState, spent: int) -> None:
        old = self.model.attempts.get(attempt)
        if old is None:
            return
        usd = Decimal(spent) / UNITS if state is AttemptState.PAID else None
        usage = TokenUsage(1, 1) if state is AttemptState.PAID else None
        with self.sessions.begin() as session:
            ledger.settle_attempt(session, attempt, ledger.Settlement(state, usage=usage, usd=usd))
        if old.state in OPEN or state is not AttemptState.UNKNOWN:
            self.model.attempts[attempt] = Bought(old.line, old.cameras, old.promised, state, spent)


def test_the_books_follow_a_model_whatever_happens(sessions: Sessions) -> None:
    class OnThisDatabase(Ceiling):
        def __init__(self) -> None:
            super().__init__(sessions)

    run_state_machine_as_test(
        OnThisDatabase,
        settings=settings(
            max_examples=EXAMPLES, stateful_step_count=20, deadline=None, suppress_health_check=[HealthCheck.too_slow]
        ),
    )


@pytest.fixture
def world(database_url: str) -> Iterator[World]:
    made = World(database_url)
    yield made
    made.close()


def test_no_schedule_breaks_the_ceiling_or_leaks_a_hold(world: World) -> None:
    """The short form of ``python -m benchmarks.budgets``."""
    total = sum((world.run(seed) for seed in range(10)), Tally())
    assert total.schedules == 10
    assert min(total.kills, total.paid, total.unknown, total.refused_by_budget, total.batches) > 0


@pytest.mark.parametrize("planted", [one for one in MUTANTS if one.soon], ids=lambda one: one.name)
def test_a_schedule_finds_a_planted_fault(planted: Mutant, world: World) -> None:
    """Of the faults that ``python -m benchmarks.budgets --mutants`` plants, those that a few schedules find."""
    assert planted.hunt(world, range(planted.soon)) is not None


def late_words_change_nothing(sessions: Sessions) -> None:
    """A worker comes back from its submission when the batch has been found and collected."""
    with sessions.begin() as session:
        batch = LlmBatch(state=BatchState.SUBMITTING, requests=1, deadline_at=datetime(2026, 11, 27, tzinfo=UTC))
        session.add(batch)
        session.flush()
        assert llm_batches.taken_in(session, batch.id, "batch-1", datetime(2026, 11, 27, tzinfo=UTC))
        llm_batches.lost(session, batch.id, "time-out")
        llm_batches.turned_down(session, batch.id, "not listed", again_in_s=0)
        session.refresh(batch)
        assert batch.state is BatchState.RUNNING
        llm_batches.collected(session, batch.id)
        assert not llm_batches.taken_in(session, batch.id, "batch-1", datetime(2026, 11, 27, tzinfo=UTC))
        session.refresh(batch)
        assert (batch.state, batch.api_id, batch.error) == (BatchState.COLLECTED, "batch-1", None)


def test_a_late_word_about_a_batch_changes_nothing(sessions: Sessions) -> None:
    late_words_change_nothing(sessions)


def test_a_late_word_that_is_believed_is_what_that_test_is_about(sessions: Sessions) -> None:
    with mutant("a late word about a batch is believed").planted(), pytest.raises(AssertionError):
        late_words_change_nothing(sessions)


@pytest.mark.parametrize("usd", ["0", "0.000000000001", "0.00015", "1.234567890123"])
def test_shares_add_up_and_their_bound_bounds_them(usd: str) -> None:
    whole = Decimal(usd)
    found = budgets.portions({"c": 3, "a": 1, "none": 0, "b": 7})
    assert list(found) == ["a", "b", "c"]
    assert sum(portion.of(whole) for portion in found.values()) == whole
    for portion in found.values():
        for cost in (whole / 3, whole / 7, whole):
            assert portion.of(cost.quantize(budgets.UNIT)) <= portion.at_most(whole)
    assert Portion().at_most(whole) == whole


@pytest.mark.parametrize(
    ("period", "moment", "start", "after"),
    [
        (BudgetPeriod.DAY, "2026-12-31T23:59:59", "2026-12-31", "2027-01-01"),
        (BudgetPeriod.MONTH, "2026-12-31T23:59:59", "2026-12-01", "2027-01-01"),
        (BudgetPeriod.MONTH, "2028-02-29T12:00:00", "2028-02-01", "2028-03-01"),
        (BudgetPeriod.DAY, "2028-02-28T00:00:00", "2028-02-28", "2028-02-29"),
    ],
)
def test_periods_follow_the_calendar(period: BudgetPeriod, moment: str, start: str, after: str) -> None:
    found = budgets.period_of(period, datetime.fromisoformat(moment).replace(tzinfo=UTC))
    assert found == datetime.fromisoformat(start).replace(tzinfo=UTC)
    assert budgets.period_after(period, found) == datetime.fromisoformat(after).replace(tzinfo=UTC)
