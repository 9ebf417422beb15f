"""Reviews as the judges make them of figures of your choice, for tests of what shows them."""

from __future__ import annotations

from dataclasses import replace
from datetime import datetime, timedelta
from uuid import UUID

from sqlalchemy import update
from sqlalchemy.orm import Session

from gistline.domain import Estimate, Measurement
from gistline.domain_accuracy import Reviewed
from gistline.findings.accuracy import in_words, judge_agreement, judge_drift, judge_feedback, judge_labelled
from gistline.findings.drift import Drift
from gistline.storage.accuracy_reviews import save_reviews
from gistline.storage.passports import get_passport
from gistline.storage.tables import AccuracyReviewRow


def add_reviews(session: Session, engine_id: int, passport_id: UUID, cameras: dict[str, str], now: datetime) -> None:
    """Five days of an engine that falls on the last one, and of cameras (name: line) of which the first goes dark."""
    measured = get_passport(session, passport_id).measurement
    assert measured is not None
    for day in range(5, 0, -1):
        found = [*_of_cameras(cameras, dark=day < 3), *_of_engine(measured, fallen=0.031 if day == 1 else 0.001 * day)]
        told = [replace(one, text=in_words(one)) for one in found]
        save_reviews(session, told, engine_id=engine_id, passport_id=passport_id, machine="AMD EPYC (avx2)")
        session.flush()
        fresh = update(AccuracyReviewRow).where(AccuracyReviewRow.reviewed_at >= now)
        session.execute(fresh.values(reviewed_at=now - timedelta(days=day)))


def _of_engine(then: Measurement, *, fallen: float) -> list[Reviewed]:
    def lower(one: Estimate, by: float) -> Estimate:
        return Estimate(one.value - by, one.low - by, one.high - by)

    whole = then.map50_95
    now = replace(then, map50_95=replace(whole, engine=lower(whole.engine, fallen), loss=lower(whole.loss, -fallen)))
    share = 0.97 - 4 * fallen
    return [
        judge_labelled(then, now, max_lost=1.0, least_boxes=20),
        judge_agreement(
            Estimate(share, share - 0.03, share + 0.02),
            Estimate(-0.004, -0.01, 0.002),
            images=64,
            findings=271,
            least=0.85,
            least_findings=30,
        ),
        judge_feedback(round(40 - 300 * fallen), 4, days=30, least=0.8, least_judged=30),
    ]


def _of_cameras(cameras: dict[str, str], *, dark: bool) -> list[Reviewed]:
    found = []
    for place, (camera, line) in enumerate(sorted(cameras.items())):
        index = 2.4 if dark and place == 0 else 0.12
        light = Drift("brightness", index, 0.56, 100, 100, "median 61.0, it was 148.2", moved=index > 0.5)
        calm = Drift("findings a frame", 0.05, 0.2, 800, 800, "0: 70% of frames, it was 71%")
        found.append(replace(judge_drift([light], [calm]), camera=camera, line=line))
    return found
