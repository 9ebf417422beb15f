"""Delete reviews that are older than anybody asks for."""

from __future__ import annotations

from gistline.settings_accuracy import AccuracySettings
from gistline.storage import accuracy_reviews
from gistline.storage.session import Sessions, transaction


def prune_reviews(sessions: Sessions, settings: AccuracySettings) -> int:
    """Keep ``accuracy.keep_days`` of them; returns how many went.

    Raises:
        StorageUnavailable: the database does not answer.

    """
    with transaction(sessions) as session:
        return accuracy_reviews.prune_reviews(session, keep_days=settings.keep_days)
