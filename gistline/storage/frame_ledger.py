"""The proof that no frame is lost: what was accepted beside what became of it, in one statement and so at one moment.

What was accepted is counted by the submissions, apart from the frames: a frame that vanished is missed here.
"""

from __future__ import annotations

from dataclasses import asdict, dataclass
from typing import Final

from sqlalchemy import text
from sqlalchemy.orm import Session

LEDGER_SQL: Final = """
WITH states AS (SELECT state, count(*) AS frames FROM frames GROUP BY state),
     state_of AS (SELECT coalesce(sum(frames) FILTER (WHERE state = 'inspected'), 0) AS inspected,
                         coalesce(sum(frames) FILTER (WHERE state = 'failed'), 0)    AS failed,
                         coalesce(sum(frames) FILTER (WHERE state = 'expired'), 0)   AS expired,
                         coalesce(sum(frames) FILTER (WHERE state = 'pending'), 0)   AS pending,
                         coalesce(sum(frames) FILTER (WHERE state = 'running'), 0)   AS running
                  FROM states),
     gone AS (SELECT coalesce(sum(accepted), 0) AS accepted, coalesce(sum(inspected), 0) AS inspected,
                     coalesce(sum(failed), 0) AS failed, coalesce(sum(expired), 0) AS expired
              FROM retired_partitions)
SELECT ((SELECT coalesce(sum(frames), 0) FROM submissions) + gone.accepted)::bigint AS accepted,
       (state_of.inspected + gone.inspected)::bigint AS inspected, (state_of.failed + gone.failed)::bigint AS failed,
       (state_of.expired + gone.expired)::bigint AS expired, pending::bigint, running::bigint,
       (gone.inspected + gone.failed + gone.expired)::bigint AS retired,
       (SELECT count(*) FROM frames f WHERE f.finished_at IS NOT NULL
           AND NOT EXISTS (SELECT FROM verdicts v WHERE v.frame_id = f.id)) AS ended_without_verdict,
       (SELECT count(*) FROM verdicts v JOIN frames f ON f.id = v.frame_id
         WHERE f.finished_at IS NULL) AS open_with_verdict,
       (SELECT count(*) FROM findings d JOIN frames f ON f.id = d.frame_id
         WHERE f.state <> 'inspected' OR f.engine_id <> d.engine_id) AS findings_astray,
       (SELECT coalesce(sum(copies - 1), 0)::bigint FROM (
           SELECT count(*) AS copies FROM findings GROUP BY frame_id, label, x, y, w, h HAVING count(*) > 1
       ) doubled) AS findings_doubled,
       (SELECT count(*) FROM frames f WHERE f.state = 'failed'
           AND NOT EXISTS (SELECT FROM dead_letters l WHERE l.frame_id = f.id)) AS failed_without_letter
FROM state_of, gone
"""
"""One snapshot. A finding can be in one report only: that is a primary key, so it need not be counted."""


@dataclass(frozen=True, slots=True)
class FrameLedger:
    """Counts of frames and findings at one moment; everything from ``missing`` on must be 0."""

    accepted: int
    inspected: int
    failed: int
    expired: int
    pending: int
    running: int
    retired: int
    """Of them, frames whose rows retention has taken away; counted when it did."""
    ended_without_verdict: int
    open_with_verdict: int
    findings_astray: int
    """Of frames that were not inspected, or not by the engine that ended the frame."""
    findings_doubled: int
    failed_without_letter: int

    @property
    def missing(self) -> int:
        """Accepted frames that are in no state at all; negative when there are frames that nobody accepted."""
        return self.accepted - self.inspected - self.failed - self.expired - self.pending - self.running

    @property
    def faults(self) -> dict[str, int]:
        """What is off, by name; empty when the books agree."""
        counts = {"missing": self.missing} | {name: count for name, count in asdict(self).items() if name in FAULTS}
        return {name: count for name, count in counts.items() if count}


FAULTS: Final = (
    "ended_without_verdict",
    "open_with_verdict",
    "findings_astray",
    "findings_doubled",
    "failed_without_letter",
)


def read_frame_ledger(session: Session) -> FrameLedger:
    """Count. It reads the whole of the frames and findings: seconds at a million, a minute at ten."""
    session.execute(text("SET LOCAL statement_timeout = 0"))
    # The joins then go partition by partition, each in memory, instead of over everything at once.
    session.execute(text("SET LOCAL enable_partitionwise_join = on"))
    return FrameLedger(*session.execute(text(LEDGER_SQL)).one())
