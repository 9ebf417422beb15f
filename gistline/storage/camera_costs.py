"""What reports cost, shared out among the cameras that they speak of."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from datetime import datetime
from decimal import Decimal
from typing import Final

from sqlalchemy import bindparam, text
from sqlalchemy.dialects.postgresql import ARRAY, TEXT
from sqlalchemy.orm import Session

_BY_CAMERA: Final = text("""
WITH paid AS (
    SELECT a.window_id,
           coalesce(sum(a.usd) FILTER (WHERE NOT a.simulated), 0) AS billed,
           coalesce(sum(a.usd) FILTER (WHERE a.simulated), 0) AS simulated
      FROM llm_attempts a JOIN report_windows w ON w.id = a.window_id
     WHERE a.state = 'paid' AND w.line = ANY(:lines) AND w.starts_at >= :since
     GROUP BY a.window_id
), told AS (
    SELECT w.id, w.line, r.image_usd, coalesce(r.totals -> 'by_camera', '{}') AS by_camera,
           coalesce((r.totals ->> 'findings')::numeric, 0) AS findings
      FROM report_windows w LEFT JOIN reports r ON r.window_id = w.id
     WHERE w.line = ANY(:lines) AND w.starts_at >= :since
)
SELECT told.line, part.camera, sum(part.findings)::bigint,
       sum(coalesce(paid.billed, 0) * part.share), sum(coalesce(paid.simulated, 0) * part.share),
       sum(coalesce(told.image_usd, 0) * part.share)
  FROM told LEFT JOIN paid ON paid.window_id = told.id
  CROSS JOIN LATERAL (
      SELECT key AS camera, value::bigint AS findings, value::numeric / told.findings AS share
        FROM jsonb_each_text(told.by_camera) WHERE told.findings > 0
      UNION ALL SELECT '', 0, 1 WHERE told.findings = 0
  ) part
 GROUP BY 1, 2 ORDER BY 4 DESC, 5 DESC, 1, 2""").bindparams(bindparam("lines", type_=ARRAY(TEXT)))


@dataclass(frozen=True, slots=True)
class CameraCosts:
    """A camera's part of its line's costs, in US dollars; ``camera`` is empty for windows without a finding."""

    line: str
    camera: str
    findings: int
    billed_usd: Decimal
    simulated_usd: Decimal
    image_usd: Decimal


def camera_costs(session: Session, *, since: datetime, lines: Iterable[str]) -> list[CameraCosts]:
    """Costs of the windows that started at ``since`` (timezone-aware) or later, dearest camera first.

    A report is bought for a line. Each of its cameras bears the share that its findings have in the report's; the sum
    over all rows is the sum of the costs.
    """
    rows = session.execute(_BY_CAMERA, {"since": since, "lines": sorted(lines)})
    return [CameraCosts(*row) for row in rows]
