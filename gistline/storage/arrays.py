"""Many values in one parameter, so that a statement's text and plan do not depend on how many there are."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any
from uuid import UUID

from sqlalchemy import ARRAY, Uuid, bindparam, column, func
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
