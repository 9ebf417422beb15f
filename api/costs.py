"""What reports cost, beside what sending their images would have."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Annotated

from fastapi import APIRouter, Query

from api.callers import CallerOf
from api.cursors import COSTS, seen_lines, shown
from api.deps import ServicesOf
from api.lists import CostDay, CostList, CostsQuery
from api.schemas import CostsAnswer
from gistline.storage.lists import list_costs
from gistline.storage.session import transaction

router = APIRouter(prefix="/v1/costs", tags=["costs"])


@router.get("", name="list_costs")
def list_days(caller: CallerOf, services: ServicesOf, query: Annotated[CostsQuery, Query()]) -> CostList:
    """Costs by day (UTC), line and model."""
    lines, cut = seen_lines(caller, query.line), query.cut(COSTS)
    today = datetime.now(UTC).replace(hour=0, minute=0, second=0, microsecond=0)
    since = today - timedelta(days=query.days - 1)
    with transaction(services.sessions) as session:
        page, total = list_costs(session, lines, cut, since=since)
    return CostList(
        items=shown(CostDay, page.items),
        next=query.behind(page),
        since=since.date(),
        total=CostsAnswer.model_validate(total),
    )
