"""A small plant with a past behind its pages, and the people who look at them."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import UTC, datetime, timedelta

from playwright.sync_api import Browser
from sqlalchemy import func, select, update

from benchmarks.plant import Plant
from gistline.domain import Person, Role
from gistline.storage.engines import register_engine
from gistline.storage.session import transaction
from gistline.storage.tables import Camera, FindingRow, FrameRow, LlmAttempt, ReportRow
from tests.support.api import RunningApi
from tests.support.passports import add_measured
from tests.support.reviews import add_reviews

HOURS = 3


@dataclass(frozen=True, slots=True)
class Site:
    """The plant behind its page, and who looks at it."""

    api: RunningApi
    plant: Plant
    browser: Browser
    operator: Person
    viewer: Person
    """Sees line-b alone."""

    def frame(self, *, but_of: str = "", kept: bool = True) -> FrameRow:
        """The newest frame with findings, not of line ``but_of``."""
        query = select(FrameRow).join(FindingRow, FindingRow.frame_id == FrameRow.id)
        query = query.where(FrameRow.bytes_stored == kept, FrameRow.line != but_of)
        with transaction(self.api.sessions) as session:
            return session.scalars(query.order_by(FrameRow.id.desc()).limit(1)).one()

    def report(self) -> ReportRow:
        """A report that counts findings."""
        with transaction(self.api.sessions) as session:
            found = select(ReportRow).where(ReportRow.totals["findings"].as_integer() > 1).limit(1)
            return session.scalars(found).one()

    def count(self) -> int:
        """All findings."""
        with transaction(self.api.sessions) as session:
            return session.scalar(select(func.count(FindingRow.id))) or 0


def build_site(api: RunningApi, browser: Browser) -> Site:
    """Three hours of five cameras, with reports, opinions, a passport, and an LLM that was really billed once."""
    settings = api.services.settings
    plant = Plant(api.sessions, api.store, settings, bad=0.4)
    plant.build(boards=8)
    now = datetime.now(UTC)
    plant.run(now - timedelta(hours=HOURS), now, every=timedelta(minutes=9), keep_since=now - timedelta(hours=2))
    plant.judge(6)
    plant.work(per_second=3)
    with transaction(api.sessions) as session:
        passport_id = add_measured(session, plant.engine)
        session.flush()
        cameras = dict(session.execute(select(Camera.name, Camera.line)).all())
        add_reviews(session, register_engine(session, plant.engine), passport_id, cameras, now)
        first = select(func.min(LlmAttempt.id)).scalar_subquery()
        session.execute(update(LlmAttempt).where(LlmAttempt.id == first).values(simulated=False))
    operator = api.add_person("anna", Role.OPERATOR)
    viewer = api.add_person("bert", Role.VIEWER, lines=["line-b"])
    return Site(api, plant, browser, operator, viewer)
