"""Many values in one parameter, so that a statement's text and plan do not depend on how many there are.

Building a statement costs more than running one of the few milliseconds on a frame's way. Those are built once:
:func:`unnest_given` and :func:`among_given` stand for values that come with each execution, by :func:`given` and
:func:`given_ids`.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Sequence
from typing import Any, Final
from uuid import UUID

from sqlalchemy import ARRAY, ColumnElement, Uuid, and_, any_, bindparam, column, false, func
from sqlalchemy.orm import InstrumentedAttribute
from sqlalchemy.sql.elements import BindParameter
from sqlalchemy.sql.selectable import TableValuedAlias
from sqlalchemy.types import TypeEngine


def uuids(ids: Iterable[UUID]) -> BindParameter[Sequence[UUID]]:
    """One array of ids."""
    return bindparam(None, list(ids), type_=ARRAY(Uuid()))


def unnested(**columns: tuple[TypeEngine[Any], Sequence[Any]]) -> TableValuedAlias:
    """Rows out of one array a column, each given as its type and its values."""
    arrays = [bindparam(None, list(values), type_=ARRAY(kind)) for kind, values in columns.values()]
    named = [column(name, kind) for name, (kind, _) in columns.items()]
    return func.unnest(*arrays).table_valued(*named, name="new").render_derived()


def among(column: ColumnElement[UUID] | InstrumentedAttribute[UUID], ids: Iterable[UUID]) -> ColumnElement[bool]:
    """Whether the column holds one of the ids."""
    wanted = list(ids)
    return and_(column == any_(uuids(wanted)), within(column, wanted))


def within(column: ColumnElement[UUID] | InstrumentedAttribute[UUID], ids: Collection[UUID]) -> ColumnElement[bool]:
    """Whether the column lies between the lowest and the highest of the ids; false when there are none.

    Beside a comparison with each it says nothing new; but by it PostgreSQL leaves out the partitions of other times,
    also where a statement was planned once for any ids.
    """
    return column.between(min(ids), max(ids)) if ids else false()


IDS: Final = bindparam("given_ids", type_=ARRAY(Uuid()))


def unnest_given(**columns: TypeEngine[Any]) -> TableValuedAlias:
    """Like :func:`unnested`, with values that are given by :func:`given` when the statement runs."""
    arrays = [bindparam(f"given_{name}", type_=ARRAY(kind)) for name, kind in columns.items()]
    named = [column(name, kind) for name, kind in columns.items()]
    return func.unnest(*arrays).table_valued(*named, name="new").render_derived()


def given(**columns: Sequence[Any]) -> dict[str, Sequence[Any]]:
    """Parameters for :func:`unnest_given`."""
    return {f"given_{name}": list(values) for name, values in columns.items()}


def among_given(column: ColumnElement[UUID] | InstrumentedAttribute[UUID]) -> ColumnElement[bool]:
    """Like :func:`among`, with ids that are given by :func:`given_ids` when the statement runs."""
    lowest, highest = (bindparam(name, type_=Uuid()) for name in ("lowest_id", "highest_id"))
    return and_(column == any_(IDS), column.between(lowest, highest))


def given_ids(ids: Collection[UUID]) -> dict[str, Any]:
    """Parameters for :func:`among_given` and :data:`IDS`; without ids nothing is among them."""
    return {"given_ids": list(ids), "lowest_id": min(ids, default=None), "highest_id": max(ids, default=None)}
