"""Many values in one parameter, so that a statement's text and plan do not depend on how many there are."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Sequence
from typing import Any
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
