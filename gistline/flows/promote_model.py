"""Let the whole fleet serve a model from now on; workers follow within a heartbeat."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

from gistline.domain import Passport, PassportVerdict
from gistline.errors import Conflict, EngineUnproven, RequestRejected
from gistline.flows.serve_model import judged_now
from gistline.settings import Settings
from gistline.storage import audit, serving
from gistline.storage.models import StoredModel, find_model
from gistline.storage.passports import newest_of_model
from gistline.storage.serving import Grounds, Promotion
from gistline.storage.session import Sessions, transaction


@dataclass(frozen=True, slots=True)
class Promoted:
    """What is in force now, and the passport that spoke for it; None when it was forced."""

    promotion: Promotion
    model: StoredModel
    passport: Passport | None


def promote_model(
    sessions: Sessions, wanted: str, settings: Settings, *, actor: str, reason: str = "", force: bool = False
) -> Promoted:
    """Put a model in force.

    Args:
        sessions: the database.
        wanted: name or digest.
        settings: the limits that its passport must keep.
        actor: who does it, for the history.
        reason: why, for the history.
        force: promote it even without a passing passport, which wants a reason. Workers still refuse what fails on
            their own hardware.

    Raises:
        Conflict: it is in force already.
        RequestRejected: forced without a reason.
        EngineUnproven: no engine made of it has a passing passport.
        NotFound: no such model.

    """
    if force and not reason:
        raise RequestRejected("A forced promotion wants a reason, which the history keeps.", cure="Add --reason WHY.")
    with transaction(sessions) as session:
        model = find_model(session, wanted)
        now = serving.current(session)
        if now is not None and now.model_sha256 == model.sha256:
            raise Conflict(f"{model.name} has been promoted already, on {now.promoted_at:%Y-%m-%d %H:%M} UTC.")
        passport = _speaking_for(newest_of_model(session, model.sha256), settings)
        if passport is None and not force:
            raise EngineUnproven(
                f"{model.name} has no passing passport.",
                cure=f"Measure it: gistline model passport {model.name}. Or insist: --force --reason WHY.",
            )
        grounds = Grounds(actor, passport.id if passport else None, forced=passport is None, reason=reason)
        promoted = Promoted(serving.promote(session, model.sha256, grounds), model, passport)
        detail = {"promotion": promoted.promotion.id, "forced": grounds.forced, "reason": reason}
        audit.record(session, actor=actor, action="model.promote", subject=f"model {model.name}", detail=detail)
        return promoted


def _speaking_for(found: Iterable[Passport], settings: Settings) -> Passport | None:
    """The newest passport that passes within the limits in force now, on whatever hardware."""
    return next((one for one in found if judged_now(one, settings).verdict is PassportVerdict.PASSED), None)
