"""Let the fleet serve again what it served before the promotion in force."""

from __future__ import annotations

from dataclasses import dataclass

from gistline.storage import audit, serving
from gistline.storage.models import StoredModel, get_model
from gistline.storage.serving import Grounds, Promotion
from gistline.storage.session import Sessions, transaction


@dataclass(frozen=True, slots=True)
class RolledBack:
    """What is in force now; ``model`` None hands the choice back to each worker's settings."""

    promotion: Promotion
    model: StoredModel | None


def rollback_model(sessions: Sessions, *, actor: str, reason: str = "") -> RolledBack:
    """Undo the promotion in force; called again, the one before it.

    Raises:
        Conflict: nothing was promoted before.

    """
    with transaction(sessions) as session:
        promotion = serving.roll_back(session, Grounds(actor, reason=reason))
        model = get_model(session, promotion.model_sha256) if promotion.model_sha256 else None
        subject = f"model {model.name}" if model else "model of the settings"
        detail = {"promotion": promotion.id, "reason": reason}
        audit.record(session, actor=actor, action="model.rollback", subject=subject, detail=detail)
        return RolledBack(promotion, model)
