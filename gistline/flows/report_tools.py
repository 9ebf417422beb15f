"""What a report worker holds from its start to its end."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import UTC, datetime

from gistline.costs.pricing import price_vector
from gistline.reports.answer import Writer
from gistline.reports.batches import BatchProvider
from gistline.reports.tokens import TokenCounter
from gistline.reports.writer import open_batches, open_writer
from gistline.settings import ReportSettings, Settings
from gistline.storage.session import Sessions

ROUND_TRIP_S = 30.0
"""A lease is at least this much longer than the time-out of the call that it covers."""


@dataclass(frozen=True, slots=True)
class ReportTools:
    """Database, writer, token counter, settings, and the provider's batches where there are any; for many threads."""

    sessions: Sessions
    writer: Writer
    tokens: TokenCounter
    settings: ReportSettings
    batches: BatchProvider | None = None

    @property
    def lease_s(self) -> float:
        """Long enough that no window is handed on while its LLM call may still be answered."""
        return max(self.settings.lease_s, self.settings.timeout_s + ROUND_TRIP_S)


def open_report_tools(settings: Settings, sessions: Sessions) -> ReportTools:
    """Open the writer; close it with ``tools.writer.close()``.

    Raises:
        SettingsError: the model has no price, the writer no key, or the token ranks are damaged.

    """
    price_vector(settings.reports.model, at=datetime.now(UTC))
    writer = open_writer(settings)
    return ReportTools(sessions, writer, TokenCounter(), settings.reports, open_batches(writer))
