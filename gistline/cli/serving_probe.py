"""Which engines the fleet serves, for the doctor: refusals, promotions that were not followed, and unproven ones."""

from __future__ import annotations

from collections.abc import Iterator

from gistline.cli.checks import Check, State
from gistline.errors import GistlineError
from gistline.settings import Settings
from gistline.storage import health, migrate
from gistline.storage.health import ServingWorker, serving_workers
from gistline.storage.session import close_database, open_database, transaction

CURE = "See 'gistline model show' and docs/passport.md."


def examine(settings: Settings) -> Iterator[Check]:
    """Look at the rule, then, where the settings name a database, at every detect worker."""
    if settings.passport.required:
        yield Check("passport", State.OK, "required: no engine serves without one")
    else:
        yield Check("passport", State.MISSING, "passport.required is off: engines serve UNPROVEN", "Switch it on.")
    if settings.database.url.get_secret_value():
        yield from map(_check, _workers(settings))


def _workers(settings: Settings) -> list[ServingWorker]:
    """Empty where the database cannot tell: another check says why."""
    try:
        sessions = open_database(settings.database)
    except GistlineError:
        return []
    try:
        with transaction(sessions) as session:
            return list(serving_workers(session)) if health.revision(session) == migrate.head() else []
    except GistlineError:
        return []
    finally:
        close_database(sessions)


def _check(worker: ServingWorker) -> Check:
    if worker.refused:
        return Check("serving", State.MISSING, f"{worker.name} takes no work: {worker.refused}", CURE)
    if worker.error:
        return Check("serving", State.MISSING, f"{worker.name} goes on with {worker.model}: {worker.error}", CURE)
    if worker.verdict == "unproven":
        return Check("serving", State.MISSING, f"{worker.name} serves {worker.model} UNPROVEN", CURE)
    return Check("serving", State.OK, f"{worker.name} serves {worker.model}, passport {worker.passport}")
