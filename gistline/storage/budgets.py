"""The ceiling: what is held of a budget before a call and settled after it, so that no interleaving spends more.

A hold is one conditional UPDATE of each budget that applies, all in the transaction that writes the attempt's row, in
the order of the budgets' keys. Whoever changes a budget's money first takes the lock of :func:`enter`, shared; whoever
changes the budgets themselves takes it alone. So the order of locks is the same everywhere: that lock, the
window, the attempt, the budgets by key.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from decimal import ROUND_DOWN, Decimal

from sqlalchemy import ColumnElement, func, insert, or_, select, update
from sqlalchemy.dialects.postgresql import insert as upsert
from sqlalchemy.orm import Session

from gistline.domain_money import BudgetPeriod, BudgetScope
from gistline.errors import BudgetExhausted
from gistline.storage.tables import BudgetHold, BudgetPeriodRow, BudgetRow

UNIT = Decimal("0.000000000001")
"""The smallest amount that the database keeps."""

_LOCK = 7_161_234_007
NOTHING = Decimal(0)


@dataclass(frozen=True, slots=True)
class Purchase:
    """What an attempt may come to at most, for a line; ``cameras`` counts the findings of each camera it is about."""

    line: str
    cameras: Mapping[str, int]
    usd: Decimal


@dataclass(frozen=True, slots=True)
class Portion:
    """A share of an amount: ``part`` of ``whole``, after ``before`` that belong to others.

    Cut by running totals, so that the shares of all add up to the amount, to the last digit.
    """

    before: int = 0
    part: int = 1
    whole: int = 1

    def of(self, usd: Decimal) -> Decimal:
        """This share."""
        return self._up_to(usd, self.before + self.part) - self._up_to(usd, self.before)

    def at_most(self, usd: Decimal) -> Decimal:
        """A bound of this share of any amount up to ``usd``: where the cuts fall may move it by a unit each."""
        return usd if self.part == self.whole else self.of(usd) + 2 * UNIT

    def _up_to(self, usd: Decimal, count: int) -> Decimal:
        return (usd * count / self.whole).quantize(UNIT, ROUND_DOWN) if count < self.whole else usd


@dataclass(frozen=True, slots=True)
class Held:
    """A hold that was taken in this transaction."""

    budget_id: int
    period_start: datetime
    portion: Portion
    usd: Decimal


@dataclass(frozen=True, slots=True)
class BudgetState:
    """A budget in force and its current period. ``scope`` is a line or a camera, empty for the site."""

    budget_id: int
    scope_kind: BudgetScope
    scope: str
    period: BudgetPeriod
    period_start: datetime
    cap_usd: Decimal
    settled_usd: Decimal
    held_usd: Decimal
    overdrawn_usd: Decimal

    @property
    def left_usd(self) -> Decimal:
        """What may still be held; never negative."""
        return max(NOTHING, self.cap_usd - self.settled_usd - self.held_usd)

    @property
    def period_end(self) -> datetime:
        """Start of the next period."""
        return period_after(self.period, self.period_start)

    @property
    def name(self) -> str:
        """As people call it: ``site per day``, ``line line-1 per month``."""
        return budget_name(self.scope_kind, self.scope, self.period)


def budget_name(scope_kind: BudgetScope, scope: str, period: BudgetPeriod) -> str:
    """What people call a budget."""
    return " ".join(part for part in (scope_kind.value, scope, "per", period.value) if part)


def period_of(period: BudgetPeriod, moment: datetime) -> datetime:
    """Start of the day or month (UTC) that holds ``moment``."""
    midnight = moment.replace(hour=0, minute=0, second=0, microsecond=0)
    return midnight if period is BudgetPeriod.DAY else midnight.replace(day=1)


def period_after(period: BudgetPeriod, start: datetime) -> datetime:
    """Start of the period after the one that begins at ``start``."""
    return period_of(period, start + timedelta(days=1 if period is BudgetPeriod.DAY else 31))


def enter(session: Session) -> None:
    """Come in to change budgets' money; the budgets themselves stay as they are until this transaction ends."""
    session.execute(select(func.pg_advisory_xact_lock_shared(_LOCK)))


def enter_alone(session: Session) -> None:
    """Come in to change the budgets themselves: no money moves until this transaction ends."""
    session.execute(select(func.pg_advisory_xact_lock(_LOCK)))


def hold(session: Session, purchase: Purchase) -> list[Held]:
    """Hold the purchase of every budget that applies, or of none. Call :func:`enter` before.

    Raises:
        BudgetExhausted: a budget has not that much left; roll this transaction back.

    """
    now = session.execute(select(func.now())).scalar_one()
    found: list[Held] = []
    for budget, portion in _applicable(session, purchase):
        start = period_of(budget.period, now)
        usd = portion.at_most(purchase.usd)
        ensure_period(session, budget, start)
        if not _take(session, budget.id, start, usd):
            raise _exhausted(session, purchase, now)
        found.append(Held(budget.id, start, portion, usd))
    return found


def keep_holds(session: Session, attempt_id: int, found: Sequence[Held]) -> None:
    """Tie holds to the attempt that they are for."""
    if found:
        session.execute(insert(BudgetHold), [_hold_row(attempt_id, one) for one in found])


def settle_holds(session: Session, attempt_id: int, *, usd: Decimal | None) -> None:
    """End an attempt's holds: book what it cost, or with None give everything back. Call :func:`enter` before.

    Another amount may be booked later, where the truth comes out: budgets then change by the difference.
    """
    rows = session.execute(
        select(BudgetHold)
        .where(BudgetHold.attempt_id == attempt_id)
        .order_by(BudgetHold.budget_id)
        .execution_options(populate_existing=True)
    ).scalars()
    for row in rows:
        spent = NOTHING if usd is None else Portion(row.before, row.part, row.whole).of(usd)
        _move(session, row, spent)
        session.execute(
            update(BudgetHold)
            .where(BudgetHold.attempt_id == attempt_id, BudgetHold.budget_id == row.budget_id)
            .values(held_usd=NOTHING, settled_usd=spent)
            .execution_options(synchronize_session=False)
        )


def budget_states(session: Session) -> list[BudgetState]:
    """Every budget in force with its current period: site first, then lines, then cameras."""
    now = session.execute(select(func.now())).scalar_one()
    budgets = session.scalars(
        select(BudgetRow)
        .where(BudgetRow.removed_at.is_(None))
        .order_by(BudgetRow.scope_kind.desc(), BudgetRow.scope, BudgetRow.period)
    )
    states = [_state(session, budget, period_of(budget.period, now)) for budget in budgets]
    rank = list(BudgetScope)
    return sorted(states, key=lambda state: rank.index(state.scope_kind))


def ensure_period(session: Session, budget: BudgetRow, start: datetime) -> None:
    """Open a budget's period under the cap now in force, unless it is open."""
    session.execute(
        upsert(BudgetPeriodRow)
        .values(budget_id=budget.id, period_start=start, cap_usd=budget.cap_usd)
        .on_conflict_do_nothing()
    )


def portions(cameras: Mapping[str, int]) -> dict[str, Portion]:
    """The share of each camera in a report on all of them, by its findings; the order is that of their names."""
    whole = sum(cameras.values())
    found: dict[str, Portion] = {}
    before = 0
    for camera, count in sorted(cameras.items()):
        if count:
            found[camera] = Portion(before, count, whole)
        before += count
    return found


def in_scope(budget: BudgetRow, line: str, shares: Mapping[str, Portion]) -> Portion | None:
    """The share of a purchase that a budget bears, None when it bears nothing."""
    if budget.scope_kind is BudgetScope.CAMERA:
        return shares.get(budget.scope)
    return Portion() if budget.scope_kind is BudgetScope.SITE or budget.scope == line else None


def _applicable(session: Session, purchase: Purchase) -> list[tuple[BudgetRow, Portion]]:
    kind, scope, shares = BudgetRow.scope_kind, BudgetRow.scope, portions(purchase.cameras)
    budgets = session.scalars(
        select(BudgetRow)
        .where(
            BudgetRow.removed_at.is_(None),
            or_(
                kind == BudgetScope.SITE,
                (kind == BudgetScope.LINE) & (scope == purchase.line),
                (kind == BudgetScope.CAMERA) & scope.in_(list(shares)),
            ),
        )
        .order_by(BudgetRow.id)
    )
    found = ((budget, in_scope(budget, purchase.line, shares)) for budget in budgets)
    return [(budget, portion) for budget, portion in found if portion is not None]


def _take(session: Session, budget_id: int, start: datetime, usd: Decimal) -> bool:
    """The ceiling itself: one statement, whose condition Postgres looks at again once it has the row to itself."""
    row = BudgetPeriodRow
    taken = session.execute(
        update(row)
        .where(*_period(budget_id, start), row.settled_usd + row.held_usd + usd <= row.cap_usd)
        .values(held_usd=row.held_usd + usd)
        .returning(row.budget_id)
        .execution_options(synchronize_session=False)
    )
    return taken.one_or_none() is not None


def _move(session: Session, row: BudgetHold, spent: Decimal) -> None:
    """Let a period's money follow one hold's. More than was held may overdraw it: money that is gone is booked."""
    period = BudgetPeriodRow
    held = period.held_usd - row.held_usd
    settled = period.settled_usd + (spent - row.settled_usd)
    session.execute(
        update(period)
        .where(*_period(row.budget_id, row.period_start))
        .values(
            held_usd=held,
            settled_usd=settled,
            overdrawn_usd=func.greatest(0, settled + held - period.cap_usd),
        )
        .execution_options(synchronize_session=False)
    )


def _period(budget_id: int, start: datetime) -> tuple[ColumnElement[bool], ColumnElement[bool]]:
    return BudgetPeriodRow.budget_id == budget_id, BudgetPeriodRow.period_start == start


def _hold_row(attempt_id: int, one: Held) -> dict[str, object]:
    portion = one.portion
    return {
        "attempt_id": attempt_id,
        "budget_id": one.budget_id,
        "period_start": one.period_start,
        "before": portion.before,
        "part": portion.part,
        "whole": portion.whole,
        "held_usd": one.usd,
    }


def _state(session: Session, budget: BudgetRow, start: datetime) -> BudgetState:
    used = session.get(BudgetPeriodRow, (budget.id, start), populate_existing=True)
    return BudgetState(
        budget_id=budget.id,
        scope_kind=budget.scope_kind,
        scope=budget.scope,
        period=budget.period,
        period_start=start,
        cap_usd=budget.cap_usd,
        settled_usd=used.settled_usd if used else NOTHING,
        held_usd=used.held_usd if used else NOTHING,
        overdrawn_usd=used.overdrawn_usd if used else NOTHING,
    )


def _exhausted(session: Session, purchase: Purchase, now: datetime) -> BudgetExhausted:
    """Say which budgets refuse, what the whole purchase may cost at most, and when asking again may help.

    Budgets may have changed since they refused; then nothing is to be said but to ask again.
    """
    room: Decimal | None = None
    reasons: list[str] = []
    ends: list[datetime] = []
    for budget, portion in _applicable(session, purchase):
        state, asked = _state(session, budget, period_of(budget.period, now)), portion.at_most(purchase.usd)
        fits = max(NOTHING, state.left_usd - 2 * UNIT) * portion.whole / portion.part
        room = fits if room is None else min(room, fits)
        if asked <= state.left_usd:
            continue
        reasons.append(_reason(state, asked))
        if state.settled_usd + asked > state.cap_usd:  # not even when all that is held comes back
            ends.append(state.period_end)
    return BudgetExhausted(
        " ".join(reasons) or "A budget had too little left for this call.",
        cure=f"It runs {_when(max(ends, default=None))}, or when the cap is raised with 'gistline budgets set'.",
        room_usd=room or NOTHING,
        runs_at=max(ends, default=None),
    )


def _reason(state: BudgetState, asked: Decimal) -> str:
    return (
        f"The budget '{state.name}' has ${state.left_usd.normalize():f} of ${state.cap_usd.normalize():f} left "
        f"(${state.settled_usd.normalize():f} spent, ${state.held_usd.normalize():f} held); "
        f"this call may cost ${asked.normalize():f} of it."
    )


def _when(runs_at: datetime | None) -> str:
    return f"at {runs_at:%Y-%m-%d %H:%M} UTC" if runs_at else "as soon as what is held is settled"
