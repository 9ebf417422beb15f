"""Findings and verdicts of all frames that may be seen."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Annotated

from fastapi import APIRouter, Query

from api.callers import CallerOf
from api.cursors import FINDING, FRAME, seen_lines
from api.deps import ServicesOf
from api.lists import FindingEntry, FindingList, FindingsQuery, VerdictEntry, VerdictList, VerdictsQuery
from api.schemas import FindingAnswer
from gistline.storage import lists
from gistline.storage.session import transaction
from gistline.storage.tables import FindingRow

router = APIRouter(prefix="/v1", tags=["findings"])


@router.get("/findings")
def list_findings(caller: CallerOf, services: ServicesOf, query: Annotated[FindingsQuery, Query()]) -> FindingList:
    """Findings, those of the newest frame first."""
    wanted = lists.FindingFilter(
        query.frames(seen_lines(caller, query.line)),
        label=query.label,
        least_confidence=query.min_confidence,
        least_severity=query.min_severity,
    )
    with transaction(services.sessions) as session:
        page = lists.list_findings(session, wanted, query.cut(FINDING))
        return FindingList(items=[_finding(one) for one in page.items], next=query.behind(page))


@router.get("/verdicts")
def list_verdicts(caller: CallerOf, services: ServicesOf, query: Annotated[VerdictsQuery, Query()]) -> VerdictList:
    """Verdicts, that on the newest frame first."""
    wanted = query.frames(seen_lines(caller, query.line))
    with transaction(services.sessions) as session:
        page = lists.list_verdicts(session, wanted, query.cut(FRAME))
        return VerdictList(items=[_verdict(one) for one in page.items], next=query.behind(page))


def finding_answers(rows: Iterable[FindingRow]) -> list[FindingAnswer]:
    """Rows as they are answered."""
    return [FindingAnswer.model_validate(row) for row in rows]


def _finding(one: lists.ListedFinding) -> FindingEntry:
    seen = FindingAnswer.model_validate(one.finding).model_dump()
    return FindingEntry(
        **seen, camera=one.camera, line=one.line, part_number=one.part_number, captured_at=one.captured_at
    )


def _verdict(one: lists.ListedVerdict) -> VerdictEntry:
    return VerdictEntry(
        frame_id=one.verdict.frame_id,
        camera=one.camera,
        line=one.line,
        part_number=one.part_number,
        verdict=one.verdict.kind,
        reason=one.verdict.reason,
        passport_id=one.verdict.passport_id,
        captured_at=one.captured_at,
        decided_at=one.verdict.decided_at,
    )
