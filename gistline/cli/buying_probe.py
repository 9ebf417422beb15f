"""Whether the provider still takes orders, for the doctor."""

from __future__ import annotations

from collections.abc import Iterator

from gistline.cli.asking import ask
from gistline.cli.checks import Check, State
from gistline.settings import Settings
from gistline.storage.buying_stops import stop_in_force

CURE = "Raise the limit at the provider, then run 'gistline costs resume'."


def examine(settings: Settings) -> Iterator[Check]:
    """Say so where nothing is bought; silent otherwise."""
    stop = ask(settings, stop_in_force)
    if stop is not None:
        since, until = f"{stop.began_at:%Y-%m-%d %H:%M} UTC", f"{stop.until:%H:%M}"
        found = f"stopped since {since}, asked again at {until}: {stop.code}, {stop.said}"
        yield Check("buying", State.MISSING, found, CURE)
