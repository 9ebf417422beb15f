"""Lists cut into pages by key, not by counting: the last row of a page is where the next one begins.

The hundredth page costs what the first does, and rows that are inserted meanwhile neither shift nor repeat any.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, Generic, TypeVar

from sqlalchemy import ColumnElement, Row, Select, SQLColumnExpression, tuple_
from sqlalchemy.orm import Session

T = TypeVar("T")
Key = tuple[Any, ...]
AnySelect = Select[*tuple[Any, ...]]
AnyRow = Row[*tuple[Any, ...]]


@dataclass(frozen=True, slots=True)
class Cut:
    """Which page: so many rows behind the row with this key (None: from the beginning)."""

    limit: int
    after: Key | None = None


@dataclass(frozen=True, slots=True)
class Page(Generic[T]):
    """Rows, and the key behind which the next page begins; None where nothing follows."""

    items: Sequence[T]
    end: Key | None


def read_page(
    session: Session,
    statement: AnySelect,
    keys: Sequence[SQLColumnExpression[Any]],
    cut: Cut,
    make: Callable[[AnyRow], T],
    *,
    newest: bool = True,
) -> Page[T]:
    """One page of a statement in the order of ``keys``, descending (``newest``) or ascending.

    The keys are appended to the selected columns; ``make`` gets rows that have them at the end.
    """
    if cut.after is not None:
        statement = statement.where(_behind(tuple_(*keys), cut.after, newest=newest))
    order = [key.desc() if newest else key.asc() for key in keys]
    rows = session.execute(statement.add_columns(*keys).order_by(*order).limit(cut.limit + 1)).all()
    shown = rows[: cut.limit]
    return Page([make(row) for row in shown], tuple(shown[-1][-len(keys) :]) if len(rows) > cut.limit else None)


def _behind(row: Any, given: Key, *, newest: bool) -> ColumnElement[bool]:
    behind: ColumnElement[bool] = row < given if newest else row > given
    return behind
