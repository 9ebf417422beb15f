"""Mark a request's fixed part for the provider's prompt cache where that pays by what the ledger saw lately.

A wrong guess costs a quarter of the fixed part's price (five minutes) or as much again (an hour), once.
"""

from __future__ import annotations

import hashlib
from dataclasses import replace
from datetime import datetime

from sqlalchemy.orm import Session

from gistline.costs.caching import Reuse, weigh_caching
from gistline.flows.report_tools import ReportTools
from gistline.reports.request import Request
from gistline.storage import ledger


def with_cache(session: Session, request: Request, tools: ReportTools, at: datetime, *, further: int) -> Request:
    """The request, marked where caching pays; ``further`` calls of the window with the same fixed part follow it.

    The fixed part is counted by the estimate. Where that is wrong about the minimum, the provider caches nothing and
    bills plain input, or a saving is missed.

    Raises:
        SettingsError: there are no prices for the writer's model.

    """
    if tools.writer.simulated or tools.settings.prompt_cache == "off":
        return request
    reuse = expected_reuse(session, request.fixed, tools.writer.model, further=further)
    found = weigh_caching(tools.tokens.estimate(request.fixed), tools.writer.model, at=at, reuse=reuse)
    return replace(request, cache=found.chosen)


def expected_reuse(session: Session, fixed: str, model: str, *, further: int = 0) -> Reuse:
    """A call now, and after it as many as there were lately with the same model and fixed part, or ``further``."""
    short, long = ledger.recent_calls(session, model, hashlib.sha256(fixed.encode()).hexdigest())
    return Reuse(1 + max(short, further), 1 + max(long, further))
