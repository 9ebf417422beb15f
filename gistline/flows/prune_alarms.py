"""Delete alarms that were over long ago, with what was sent of them."""

from __future__ import annotations

from gistline.settings_acting import AlarmSettings
from gistline.storage import alarms
from gistline.storage.session import Sessions, transaction


def prune_alarms(sessions: Sessions, settings: AlarmSettings) -> None:
    """Keep what fires, what is still to be delivered, and ``alarms.keep_days`` of the rest.

    Raises:
        StorageUnavailable: the database does not answer.

    """
    with transaction(sessions) as session:
        alarms.prune_alarms(session, keep_days=settings.keep_days)
