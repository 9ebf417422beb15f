"""Budgets in dollars, what each period of theirs has used, and what each attempt holds of them."""

from __future__ import annotations

from datetime import datetime
from decimal import Decimal

from sqlalchemy import CheckConstraint, ForeignKey, ForeignKeyConstraint, Identity, Index, func, text
from sqlalchemy.orm import Mapped, mapped_column

from gistline.domain_money import BudgetPeriod, BudgetScope
from gistline.storage.tables.base import Base


class BudgetRow(Base):
    """A cap on what a scope may spend in each day or month (UTC). One that was removed stays, with its history."""

    __tablename__ = "budgets"
    __table_args__ = (
        Index(
            "uq_budgets_in_force",
            "scope_kind",
            "scope",
            "period",
            unique=True,
            postgresql_where=text("removed_at IS NULL"),
        ),
        CheckConstraint("(scope_kind = 'site') = (scope = '')", name="site_has_no_name"),
        CheckConstraint("cap_usd >= 0", name="cap_not_negative"),
    )

    id: Mapped[int] = mapped_column(Identity(), primary_key=True)
    scope_kind: Mapped[BudgetScope]
    scope: Mapped[str]
    period: Mapped[BudgetPeriod]
    cap_usd: Mapped[Decimal]
    created_at: Mapped[datetime] = mapped_column(server_default=func.now())
    removed_at: Mapped[datetime | None]


class BudgetPeriodRow(Base):
    """What one day or month of a budget has spent (settled) and may yet turn out to have spent (held).

    The ceiling is a constraint: no statement can bring settled and held over the cap, except by saying so in
    ``overdrawn_usd``. That is written where the truth demands it (a cap lowered below what is spent, an attempt billed
    higher than was held) and never by a hold.
    """

    __tablename__ = "budget_periods"
    __table_args__ = (
        CheckConstraint("settled_usd + held_usd <= cap_usd + overdrawn_usd", name="ceiling"),
        CheckConstraint("settled_usd >= 0 AND held_usd >= 0 AND overdrawn_usd >= 0", name="not_negative"),
    )

    budget_id: Mapped[int] = mapped_column(ForeignKey("budgets.id"), primary_key=True)
    period_start: Mapped[datetime] = mapped_column(primary_key=True)
    cap_usd: Mapped[Decimal]
    settled_usd: Mapped[Decimal] = mapped_column(server_default="0")
    held_usd: Mapped[Decimal] = mapped_column(server_default="0")
    overdrawn_usd: Mapped[Decimal] = mapped_column(server_default="0")


class BudgetHold(Base):
    """What one attempt holds of one budget's period, or has settled there; a hold lives as long as its attempt is open.

    A camera's budget bears its share: ``part`` of ``whole`` findings, those of the cameras before it being ``before``.
    """

    __tablename__ = "budget_holds"
    __table_args__ = (
        ForeignKeyConstraint(
            ["budget_id", "period_start"], ["budget_periods.budget_id", "budget_periods.period_start"]
        ),
        Index(None, "budget_id", "period_start"),
        CheckConstraint("held_usd >= 0 AND settled_usd >= 0", name="not_negative"),
    )

    attempt_id: Mapped[int] = mapped_column(ForeignKey("llm_attempts.id"), primary_key=True)
    budget_id: Mapped[int] = mapped_column(primary_key=True)
    period_start: Mapped[datetime]
    before: Mapped[int]
    part: Mapped[int]
    whole: Mapped[int]
    held_usd: Mapped[Decimal]
    settled_usd: Mapped[Decimal] = mapped_column(server_default="0")


class BuyingStop(Base):
    """The provider says that a limit of spending is reached there; nothing is bought before ``until``."""

    __tablename__ = "buying_stops"
    __table_args__ = (CheckConstraint("(ended_at IS NULL) = (ended_by IS NULL)", name="ended_by_somebody"),)

    id: Mapped[int] = mapped_column(Identity(), primary_key=True)
    code: Mapped[str]
    said: Mapped[str]
    began_at: Mapped[datetime] = mapped_column(server_default=func.now())
    until: Mapped[datetime] = mapped_column(index=True)
    ended_at: Mapped[datetime | None]
    ended_by: Mapped[str | None]
