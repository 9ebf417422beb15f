"""Pictures of every page in every look: ``python -m benchmarks.screenshots FOLDER``; wants Chromium and the dev extras.

A plant of simulated boards, its engine measured by the product itself; as WebP, for people to look at.
"""

from __future__ import annotations

import argparse
import io
import shutil
import sys
import tempfile
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any, Final

from PIL import Image
from playwright.sync_api import Page, sync_playwright
from sqlalchemy import select

from api.people import SESSION_COOKIE
from benchmarks.plant import Plant
from benchmarks.rig import Rig, crew, rig
from gistline.detection.detector import open_detector
from gistline.domain import Role
from gistline.flows.add_person import Rights, add_person
from gistline.flows.measure_passport import MeasuringTools, measure_passport
from gistline.flows.serve_model import wanted_model
from gistline.frames.store import open_store
from gistline.storage.session import transaction
from gistline.storage.tables import ReportRow
from gistline.storage.web_sessions import open_session

SWITCHES: Final = (
    "--no-sandbox",
    "--disable-gpu",
    "--disable-quic",
    "--no-first-run",
    "--disable-background-networking",
)
LOOKS: Final[dict[str, dict[str, Any]]] = {
    "desktop": {"viewport": {"width": 1440, "height": 900}, "color_scheme": "light", "locale": "en-GB"},
    "dark": {"viewport": {"width": 1440, "height": 900}, "color_scheme": "dark", "locale": "en-GB"},
    "chinese": {"viewport": {"width": 1440, "height": 900}, "color_scheme": "light", "locale": "zh-CN"},
    "phone": {"viewport": {"width": 390, "height": 844}, "color_scheme": "light", "locale": "en-GB"},
    "phone-chinese-dark": {"viewport": {"width": 390, "height": 844}, "color_scheme": "dark", "locale": "zh-CN"},
}
WALL: Final = {"viewport": {"width": 1920, "height": 1080}, "color_scheme": "dark", "locale": "en-GB"}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("folder", type=Path)
    parser.add_argument("--days", type=int, default=10, help="of the plant's past")
    parser.add_argument("--pages", nargs="*", default=[], help="only these, such as access")
    given = parser.parse_args()
    browser = shutil.which("chromium") or sys.exit("No Chromium is installed: make tools.")
    given.folder.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(prefix="gistline-pages-") as name, rig(Path(name), cameras=0) as made:
        plant = fill(made, given.days)
        token = signed_in(made)
        with crew(made, None, detect=0, kinds=("api",)), sync_playwright() as driver:
            chromium = driver.chromium.launch(executable_path=browser, args=list(SWITCHES))
            for look, options in (LOOKS | {"wall": WALL}).items():
                plant.beat()
                context = chromium.new_context(**options)
                url = f"http://127.0.0.1:{made.settings.api.port}"
                context.add_cookies([{"name": SESSION_COOKIE, "value": token, "url": url}])
                for page, path in paths(plant, wall=look == "wall"):
                    if given.pages and page not in given.pages:
                        continue
                    picture = given.folder / f"{page}-{look}.webp"
                    shoot(context.new_page(), url + path, picture)
                    print(f"{picture}  {picture.stat().st_size // 1000} kB", flush=True)
                context.close()
            chromium.close()


def fill(made: Rig, days: int) -> Plant:
    """A past of ``days``, denser in the last 30 hours, and a passport of the bundled detector measured here."""
    with open_detector(made.settings.detection) as detector:
        info = detector.info
    quick = made.settings.model_copy(update={"passport": made.settings.passport.model_copy(update={"boards": 16})})
    wanted = wanted_model(made.sessions, quick)
    plant = Plant(made.sessions, open_store(made.settings), made.settings, engine=info)
    plant.build(boards=24)
    for _ in range(2):
        measure_passport(wanted.model, MeasuringTools(made.sessions, quick))
    now = datetime.now(UTC)
    dense = now - timedelta(hours=30)
    plant.window = timedelta(hours=6)
    plant.run(now - timedelta(days=days), dense, every=timedelta(hours=1), keep_since=now)
    plant.window = timedelta(hours=1)
    plant.run(dense, now, every=timedelta(minutes=8), keep_since=now - timedelta(hours=3))
    plant.judge(60)
    plant.work(per_second=4)
    return plant


def signed_in(made: Rig) -> str:
    """Token of an admin's session."""
    rights = Rights(Role.ADMIN)
    anna = add_person(made.sessions, "anna", "a password for nobody", rights, settings=made.settings.access)
    with transaction(made.sessions) as session:
        return open_session(session, anna.id, max_h=1)


def paths(plant: Plant, *, wall: bool) -> Iterator[tuple[str, str]]:
    """Names and addresses of the pages."""
    if wall:
        yield "overview", "/?wall=1"
        return
    with transaction(plant.sessions) as session:
        found = select(ReportRow.id).where(ReportRow.totals["findings"].as_integer() > 5)
        report = session.scalars(found.order_by(ReportRow.created_at.desc()).limit(1)).one()
    yield from (("overview", "/"), ("findings", "/findings"), ("reports", "/reports"), ("costs", "/costs?days=30"))
    yield from (("engines", "/engines"), ("accuracy", "/accuracy"), ("report", f"/reports/{report}"))
    yield "print", f"/reports/{report}?print=1"
    yield "frame", f"/frames/{plant.richest()}"
    yield from (("access", "/access"), ("login", "/login"))


def shoot(page: Page, url: str, picture: Path) -> None:
    """The page as far as its window reaches."""
    page.goto(url, wait_until="load")
    page.wait_for_timeout(1_500)
    image = Image.open(io.BytesIO(page.screenshot()))
    image.convert("RGB").save(picture, "webp", quality=80, method=6)
    page.close()


if __name__ == "__main__":
    main()
