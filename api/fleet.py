"""Cameras, engines, their passports, and what they are worth in service."""

from __future__ import annotations

from dataclasses import asdict
from typing import Annotated
from uuid import UUID

from fastapi import APIRouter, Query

from api.callers import CallerOf
from api.cursors import NAME, NUMBER, TIMED, seen_lines, shown
from api.deps import ServicesOf
from api.lists import (
    CameraEntry,
    CameraList,
    CamerasQuery,
    EngineEntry,
    EngineList,
    EnginesQuery,
    PassportAnswer,
    PassportEntry,
    PassportList,
    PassportsQuery,
    ReviewEntry,
    ReviewList,
    ReviewsQuery,
)
from api.problems import problems_of
from gistline.domain_accuracy import Review
from gistline.errors import NotFound
from gistline.storage import accuracy_reviews, lists
from gistline.storage.accuracy_reviews import ReviewFilter
from gistline.storage.passports import read_passport
from gistline.storage.session import transaction
from gistline.storage.tables import EngineRow

router = APIRouter(prefix="/v1", tags=["fleet"])


@router.get("/cameras")
def list_cameras(caller: CallerOf, services: ServicesOf, query: Annotated[CamerasQuery, Query()]) -> CameraList:
    """Cameras by name."""
    lines, cut = seen_lines(caller, query.line), query.cut(NAME)
    with transaction(services.sessions) as session:
        page = lists.list_cameras(session, lines, cut)
        return CameraList(items=[_camera(one) for one in page.items], next=query.behind(page))


@router.get("/engines")
def list_engines(_: CallerOf, services: ServicesOf, query: Annotated[EnginesQuery, Query()]) -> EngineList:
    """Detectors as they really ran, newest first."""
    with transaction(services.sessions) as session:
        page = lists.list_engines(session, query.cut(NUMBER))
        return EngineList(items=[_engine(row) for row in page.items], next=query.behind(page))


@router.get("/passports")
def list_passports(_: CallerOf, services: ServicesOf, query: Annotated[PassportsQuery, Query()]) -> PassportList:
    """Passports, newest first; the newest of an engine on a machine counts."""
    with transaction(services.sessions) as session:
        page = lists.list_passports(session, query.cut(TIMED), engine_id=query.engine, verdict=query.verdict)
        return PassportList(items=shown(PassportEntry, page.items), next=query.behind(page))


@router.get("/passports/{passport_id}", name="read_passport", responses=problems_of(NotFound))
def read(passport_id: UUID, _: CallerOf, services: ServicesOf) -> PassportAnswer:
    """One passport with its evidence."""
    with transaction(services.sessions) as session:
        return PassportAnswer.model_validate(read_passport(session, passport_id))


@router.get("/accuracy/reviews")
def list_reviews(caller: CallerOf, services: ServicesOf, query: Annotated[ReviewsQuery, Query()]) -> ReviewList:
    """Engines measured again in service, and drift of the cameras, newest first."""
    lines, cut = seen_lines(caller, query.line), query.cut(TIMED)
    chosen = ReviewFilter(lines, query.kind, query.verdict, query.camera, of_lines=query.line is not None)
    with transaction(services.sessions) as session:
        page = accuracy_reviews.list_reviews(session, chosen, cut)
        return ReviewList(items=[_reviewed(one) for one in page.items], next=query.behind(page))


def _reviewed(one: Review) -> ReviewEntry:
    told = {name: getattr(one, name) for name in ("id", "engine_id", "model", "machine", "passport_id", "reviewed_at")}
    return ReviewEntry(**told, **asdict(one.found))


def _camera(one: lists.ListedCamera) -> CameraEntry:
    camera = one.camera
    return CameraEntry(
        name=camera.name, line=camera.line, priority=camera.priority, keys=one.keys, created_at=camera.created_at
    )


def _engine(row: EngineRow) -> EngineEntry:
    return EngineEntry(
        id=row.id,
        model=row.model,
        weights_sha256=row.weights_sha256,
        runtime=row.runtime,
        device=row.device,
        precision=row.precision,
        convolutions=row.convolutions,
        int8_convolutions=row.int8_convolutions,
        labels=list(row.labels.get("names", [])),
        created_at=row.created_at,
    )
