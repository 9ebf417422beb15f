"""Who changed what, for admins."""

from __future__ import annotations

from typing import Annotated

from fastapi import APIRouter, Query

from api.callers import allow
from api.cursors import NUMBER, shown
from api.deps import ServicesOf
from api.lists import AuditEntry, AuditList, AuditQuery
from gistline.domain import Caller, Role
from gistline.storage import lists
from gistline.storage.session import transaction

router = APIRouter(prefix="/v1/audit", tags=["audit"])


@router.get("", name="list_audit")
def list_changes(
    _: Annotated[Caller, allow(Role.ADMIN)], services: ServicesOf, query: Annotated[AuditQuery, Query()]
) -> AuditList:
    """Changes, newest first."""
    with transaction(services.sessions) as session:
        page = lists.list_audit(
            session, query.cut(NUMBER), subject=query.subject, actor=query.actor, action=query.action
        )
        return AuditList(items=shown(AuditEntry, page.items), next=query.behind(page))
