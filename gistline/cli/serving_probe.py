"""Which engines the fleet serves, for the doctor: refusals, promotions that were not followed, and unproven ones."""

from __future__ import annotations

from collections.abc import Iterator

from gistline.cli.asking import ask
from gistline.cli.checks import Check, State
from gistline.settings import Settings
from gistline.storage.health import ServingWorker, serving_workers

CURE = "See 'gistline model show' and docs/passport.md."


def examine(settings: Settings) -> Iterator[Check]:
    """Look at the rule, then, where there is a database to ask, at every detect worker."""
    if settings.passport.required:
        yield Check("passport", State.OK, "required: no engine serves without one")
    else:
        yield Check("passport", State.MISSING, "passport.required is off: engines serve UNPROVEN", "Switch it on.")
    yield from map(_check, ask(settings, serving_workers) or ())


def _check(worker: ServingWorker) -> Check:
    if worker.refused:
        return Check("serving", State.MISSING, f"{worker.name} takes no work: {worker.refused}", CURE)
    if worker.error:
        return Check("serving", State.MISSING, f"{worker.name} goes on with {worker.model}: {worker.error}", CURE)
    if worker.verdict == "unproven":
        return Check("serving", State.MISSING, f"{worker.name} serves {worker.model} UNPROVEN", CURE)
    return Check("serving", State.OK, f"{worker.name} serves {worker.model}, passport {worker.passport}")
