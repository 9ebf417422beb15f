"""Engines: what runs where, what proves it, what was promoted when."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

from fastapi import APIRouter
from fastapi.responses import Response

from api.dashboard.page import ViewOf
from gistline.domain import Judgement, Passport
from gistline.flows.serve_model import judged_now
from gistline.storage.health import serving_workers
from gistline.storage.models import list_models
from gistline.storage.passports import newest_of_model
from gistline.storage.serving import history
from gistline.storage.session import transaction

router = APIRouter(prefix="/engines", include_in_schema=False)

PROMOTIONS: Final = 20
MODELS: Final = 20


@dataclass(frozen=True, slots=True)
class Judged:
    """A passport and what it is worth within the limits in force now."""

    passport: Passport
    judgement: Judgement


@router.get("", name="engines")
def engines(view: ViewOf) -> Response:
    """The page."""
    with transaction(view.services.sessions) as session:
        models = list_models(session)
        workers = serving_workers(session)
        promotions = history(session, limit=PROMOTIONS)
        served = {one.sha256 for one in workers}
        # those that are served first, then the newest
        shown = sorted(models[:MODELS], key=lambda one: one.sha256 not in served)
        passports = {one.sha256: newest_of_model(session, one.sha256) for one in shown}
    judged = {
        sha256: [Judged(one, judged_now(one, view.services.settings)) for one in found]
        for sha256, found in passports.items()
    }
    return view.page(
        "engines.html",
        models=shown,
        hidden=len(models) - len(shown),
        served=served,
        workers=workers,
        promotions=promotions,
        judged=judged,
        names={one.sha256: one.name for one in models},
    )
