"""Whether the provider still takes orders, for the doctor."""

from __future__ import annotations

from collections.abc import Iterator

from gistline.cli.checks import Check, State
from gistline.errors import GistlineError
from gistline.settings import Settings
from gistline.storage import health, migrate
from gistline.storage.buying_stops import Stop, stop_in_force
from gistline.storage.session import close_database, open_database, transaction

CURE = "Raise the limit at the provider, then run 'gistline costs resume'."


def examine(settings: Settings) -> Iterator[Check]:
    """Say so where nothing is bought; silent otherwise, and where the database cannot tell: another check says why."""
    stop = _stop(settings) if settings.database.url.get_secret_value() else None
    if stop is not None:
        since, until = f"{stop.began_at:%Y-%m-%d %H:%M} UTC", f"{stop.until:%H:%M}"
        found = f"stopped since {since}, asked again at {until}: {stop.code}, {stop.said}"
        yield Check("buying", State.MISSING, found, CURE)


def _stop(settings: Settings) -> Stop | None:
    try:
        sessions = open_database(settings.database)
    except GistlineError:
        return None
    try:
        with transaction(sessions) as session:
            return stop_in_force(session) if health.revision(session) == migrate.head() else None
    except GistlineError:
        return None
    finally:
        close_database(sessions)
