"""The planner is told of the tables that autovacuum leaves out."""

from __future__ import annotations

import re

import pytest
import yaml
from sqlalchemy import text

from gistline.flows.gather_statistics import gather_statistics
from gistline.storage.partitions import CUT_BY
from gistline.storage.planner_facts import gather_statistics as gather
from gistline.storage.session import Sessions, transaction
from tests.support.processes import ROOT, wait_until

SCALING = ROOT / "deploy" / "kubernetes" / "base" / "scaling.yaml"

BATCHES = text("""
INSERT INTO batches (id, worker, claimed_at, frames, failed, cameras,
                     queue_s, queue_max_s, fetch_s, decode_s, infer_s, post_s, commit_s, total_s)
SELECT gen_random_uuid(), 'w', now(), 1, 0, 1, 0, 0, 0, 0, 0, 0, 0, 0 FROM generate_series(1, :count)""")


def known(sessions: Sessions) -> dict[str, float]:
    """Rows of each table as the planner has them; -1 where nobody ever told it."""
    with transaction(sessions) as session:
        found = session.execute(
            text("SELECT relname, reltuples FROM pg_class WHERE relname = ANY(:tables)"), {"tables": list(CUT_BY)}
        )
        return {row[0]: row[1] for row in found}


def add_batches(sessions: Sessions, count: int) -> None:
    with transaction(sessions) as session:
        session.execute(BATCHES, {"count": count})
        session.execute(text("ANALYZE batches_default"))  # what autovacuum does


def test_tables_are_looked_at_once_a_day_and_when_they_have_doubled(sessions: Sessions) -> None:
    assert set(known(sessions).values()) == {-1}
    assert gather_statistics(sessions) == sorted(CUT_BY)
    wait_until(lambda: gather_statistics(sessions) == [], "the database has taken note")
    assert set(known(sessions).values()) == {0}
    add_batches(sessions, 100)
    assert gather_statistics(sessions) == ["batches"]
    assert known(sessions)["batches"] == 100
    add_batches(sessions, 50)
    assert gather_statistics(sessions) == []


def test_the_scaler_reads_what_waits_and_not_every_frame_that_is_kept(sessions: Sessions) -> None:
    (scaled,) = [one for one in yaml.safe_load_all(SCALING.read_text()) if one["kind"] == "ScaledObject"]
    query = scaled["spec"]["triggers"][0]["metadata"]["query"]
    with transaction(sessions) as session:
        session.execute(text("SET LOCAL enable_seqscan = off"))
        plan = "\n".join(session.scalars(text(f"EXPLAIN {query}")))
        partial = set(
            session.scalars(text("SELECT indexrelid::regclass::text FROM pg_index WHERE indpred IS NOT NULL"))
        )
    used = set(re.findall(r"Index (?:Only )?Scan (?:using|on) (\S+)", plan))
    assert len(used) >= 2
    assert used <= partial, plan
    assert "Seq Scan" not in plan


def test_no_other_table_is_named(sessions: Sessions) -> None:
    with pytest.raises(ValueError, match="people"), transaction(sessions) as session:
        gather(session, "people")
