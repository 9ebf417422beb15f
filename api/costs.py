"""What the line's reports cost, beside what sending its images would have."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Annotated

from fastapi import APIRouter, Query

from api.deps import CameraOf, ServicesOf
from api.schemas import CostDay, CostsAnswer, CostTable
from gistline.storage.dashboards import cost_rows, total_costs
from gistline.storage.session import transaction

router = APIRouter(prefix="/v1/costs", tags=["costs"])


@router.get("")
def read(camera: CameraOf, services: ServicesOf, days: Annotated[int, Query(ge=1, le=366)] = 30) -> CostTable:
    """Costs by day (UTC) and model, today included."""
    today = datetime.now(UTC).replace(hour=0, minute=0, second=0, microsecond=0)
    since = today - timedelta(days=days - 1)
    with transaction(services.sessions) as session:
        rows = [row for row in cost_rows(session, since=since) if row.line == camera.line]
    return CostTable(
        line=camera.line,
        since=since.date(),
        days=[CostDay.model_validate(row) for row in rows],
        total=CostsAnswer.model_validate(total_costs(rows)),
    )
