"""Tell PostgreSQL's planner how large the tables that grow have become."""

from __future__ import annotations

from gistline.storage.planner_facts import gather_statistics as gather
from gistline.storage.planner_facts import outdated_tables
from gistline.storage.session import Sessions, transaction


def gather_statistics(sessions: Sessions) -> list[str]:
    """Gather those that are outdated, one transaction each; returns the tables. Cheap when none is.

    Raises:
        StorageUnavailable: the database does not answer, or a table is busy; the next round goes on.

    """
    with transaction(sessions) as session:
        outdated = outdated_tables(session)
    for table in outdated:
        with transaction(sessions) as session:
            gather(session, table)
    return outdated
