"""The web page in a real browser, on a small plant with a past."""

from __future__ import annotations

import csv
import re
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from pathlib import Path
from uuid import UUID

import pytest
from playwright.sync_api import expect
from sqlalchemy import func, select, update

from api.dashboard.page import POLICY
from api.people import SESSION_COOKIE, csrf_of
from benchmarks.plant import CAMERAS
from gistline.detection.detector import open_detector
from gistline.domain import Feedback
from gistline.flows.inspect_frames import inspect_frames
from gistline.flows.measure_passport import MeasuringTools
from gistline.flows.serve_model import admit, unproven
from gistline.flows.station import open_station
from gistline.storage.session import transaction
from gistline.storage.tables import AuditRow, FeedbackRow, FindingRow, FrameRow, LlmAttempt, ReportRow, ReportWindow
from tests.support.api import RunningApi
from tests.support.browser import PHONE, Visit, chromium, colours_of, drawn_shapes, rows_of, visiting
from tests.support.site import Site, build_site


@pytest.fixture(scope="module")
def site(module_api: RunningApi) -> Iterator[Site]:
    """The plant behind the pages; every test finds what the ones before it left."""
    with chromium() as browser:
        yield build_site(module_api, browser)


@pytest.fixture
def visit(site: Site) -> Iterator[Visit]:
    """The operator's window."""
    with visiting(site.browser, site.api, site.operator) as visit:
        yield visit


def paths(site: Site) -> list[str]:
    kept, gone, report = site.frame().id, site.frame(kept=False).id, site.report().id
    pages = ["/", "/?hours=168", "/findings", "/reports", "/costs", "/engines", "/accuracy"]
    return [*pages, f"/frames/{kept}", f"/frames/{gone}", f"/reports/{report}", f"/reports/{report}?print=1"]


def test_every_page_is_free_of_errors_and_barriers(visit: Visit, site: Site) -> None:
    for path in paths(site):
        visit.open(path)
        assert visit.page.locator("h1").count() == 1, path
        assert visit.page.locator("main").count() == 1, path
        assert visit.overflow() <= 0, path
        assert visit.barriers() == [], path


@pytest.mark.long
def test_every_page_fits_a_phone_in_chinese_in_the_dark(site: Site) -> None:
    with visiting(site.browser, site.api, site.operator, **PHONE) as visit:
        for path in paths(site):
            visit.open(path)
            assert visit.evaluate("document.documentElement.lang") == "zh"
            assert visit.evaluate("getComputedStyle(document.body).backgroundColor") == "rgb(15, 21, 27)"
            assert (visit.overflow() <= 0, visit.barriers()) == (True, []), path


def test_without_a_session_there_is_the_sign_in_page_and_nothing_else(site: Site) -> None:
    with visiting(site.browser, site.api, None) as visit:
        visit.open("/costs?days=7")
        assert visit.page.url == f"{site.api.url}/login?next=%2Fcosts%3Fdays%3D7"
        assert visit.barriers() == []
        visit.page.get_by_label("Name").fill("anna")
        visit.page.get_by_label("Password").fill("four random words make one")
        visit.page.get_by_role("button", name="Sign in").click()
        expect(visit.page.get_by_role("heading", name="Costs", level=1)).to_be_visible()
        visit.page.get_by_role("button", name="Sign out").click()
        expect(visit.page).to_have_url(f"{site.api.url}/login")


def test_charts_are_drawn(visit: Visit, tmp_path: Path) -> None:
    for path, least in (("/", {"frames-plot": 10, "labels-plot": 3}), ("/costs", {"spend-plot": 1, "saving-plot": 2})):
        visit.open(path)
        drawn = drawn_shapes(visit)
        assert drawn.keys() == least.keys()
        assert all(drawn[name] >= count for name, count in least.items()), drawn
    drawn = drawn_shapes(visit.open("/accuracy"))
    assert drawn["passports-plot"] >= 2
    assert drawn["service-plot"] >= 3
    for name in ("frames-plot", "labels-plot"):
        visit.open("/")
        drawn_shapes(visit)
        assert colours_of(visit.page.locator(f"#{name}").screenshot(), tmp_path / "chart.png") > 20


def test_the_overview_adds_up(visit: Visit, site: Site) -> None:
    """What the reports and the frames of the open windows sum up to is what the tables hold."""
    site.plant.beat()
    visit.open("/")
    said = dict(zip(visit.texts(".tile dt"), visit.texts(".tile strong"), strict=True))
    with transaction(site.api.sessions) as session:
        frames = session.scalar(select(func.count(FrameRow.id))) or 0
    assert said["Frames, last 24 h"] == f"{frames:,}"
    assert said["Findings"] == f"{site.count():,}"
    assert said["Detectors ready"] == "1 / 1"
    assert said["Billed today"] != "$0.00"


def test_filters_and_pages_show_each_finding_once(visit: Visit, site: Site) -> None:
    visit.open("/findings")
    _, line, camera, label, *_ = rows_of(visit)[-1]
    visit.page.locator("[name=line]").select_option(line)
    visit.page.locator("[name=label]").select_option(label)
    visit.follow(visit.page.get_by_role("button", name="Apply"))
    rows = rows_of(visit)
    assert rows
    assert {(row[1], row[3]) for row in rows} == {(line, label)}
    assert camera in {row[2] for row in rows}
    visit.follow(visit.page.get_by_role("link", name="Clear"))
    visit.page.locator("[name=feedback]").select_option("correct")
    visit.follow(visit.page.get_by_role("button", name="Apply"))
    assert {row[7] for row in rows_of(visit)} == {"Correct"}
    visit.open("/findings?span=")
    seen = []
    while True:
        seen += visit.evaluate("[...document.querySelectorAll('#finding-table tbody a')].map(one => one.href)")
        if not visit.page.get_by_role("link", name="Older").count():
            break
        visit.follow(visit.page.get_by_role("link", name="Older"))
    assert len(seen) == len(set(seen)) == site.count()
    visit.open("/findings?since=2027-01-01T00:00")
    assert visit.text(".nothing") == "No finding matches."


def test_an_inspected_frame_shows_within_seconds(visit: Visit, site: Site) -> None:
    """From a camera's HTTP request through the real detector to a page that nobody reloads."""
    api, settings = site.api, site.api.services.settings
    board = next(one for one in site.plant.boards if len(one.defects) > 3)
    visit.open("/findings")
    before = rows_of(visit)[0]
    with open_detector(settings.detection) as detector:
        serving = admit(
            MeasuringTools(api.sessions, settings), detector, unproven(api.sessions, detector.info, settings), None
        )
        station = open_station(api.sessions, api.store, serving, settings)
        with api.client(site.plant.keys["gate-1"]) as camera:
            answer = camera.post("/v1/frames", content=board.jpeg, params={"frame_key": "newest"})
        frame_id = answer.json()["frames"][0]["id"]
        inspect_frames([], station)
        station.close()
    found = visit.page.locator(f"#finding-table a[href^='/frames/{frame_id}']")
    expect(found.first).to_be_visible(timeout=8_000)
    assert rows_of(visit)[0] != before
    found.first.click()
    expect(visit.page.locator("h1")).to_contain_text("newest")
    expect(visit.page.locator(".picture img")).to_have_js_property("naturalWidth", board.image.shape[1])
    assert visit.page.locator("svg .box").count() == visit.page.locator("article.finding").count() > 0


def test_a_wall_keeps_itself_fresh(site: Site) -> None:
    with visiting(site.browser, site.api, site.operator, viewport={"width": 1920, "height": 1080}) as visit:
        visit.open("/?wall=1")
        assert visit.page.locator("nav").count() == 0
        assert visit.overflow() <= 0
        frames = visit.page.locator(".tile", has_text="Frames, last 24 h").locator("strong")
        before = frames.inner_text()
        now = datetime.now(UTC)
        site.plant.run(now, now + timedelta(seconds=1), every=timedelta(minutes=1))
        expect(frames).not_to_have_text(before, timeout=8_000)
        assert int(frames.inner_text()) == int(before) + len(CAMERAS)
        assert drawn_shapes(visit)["frames-plot"] >= 3


def test_what_downloads_is_what_is_there(visit: Visit, site: Site) -> None:
    visit.open("/findings?span=")
    with visit.page.expect_download() as findings:
        visit.page.get_by_role("link", name="CSV").click()
    with Path(findings.value.path()).open(encoding="utf-8", newline="") as file:
        rows = list(csv.DictReader(file))
    assert len({row["finding_id"] for row in rows}) == len(rows) == site.count()
    assert {row["line"] for row in rows} == set(CAMERAS.values())
    visit.open("/costs")
    sums = {}
    for by in ("day", "line", "model", "camera"):
        with visit.page.expect_download() as costs:
            visit.page.locator(f"a[href^='/costs.csv?by={by}']").click()
        with Path(costs.value.path()).open(encoding="utf-8", newline="") as file:
            table = list(csv.DictReader(file))
        sums[by] = [sum(Decimal(row[name]) for row in table) for name in ("billed_usd", "simulated_usd", "image_usd")]
    with transaction(site.api.sessions) as session:
        usd = func.sum(LlmAttempt.usd)
        billed, simulated = session.execute(
            select(usd.filter(~LlmAttempt.simulated), usd.filter(LlmAttempt.simulated))
        ).one()
    assert sums["day"] == sums["line"] == sums["model"]
    assert sums["day"][:2] == [billed, simulated]
    assert [round(one, 12) for one in sums["camera"]] == sums["day"]


def test_feedback_is_kept_with_who_and_when(visit: Visit, site: Site) -> None:
    visit.open(f"/frames/{site.frame().id}")
    finding = visit.page.locator("article.finding").first
    finding_id = int((finding.get_attribute("id") or "").removeprefix("finding-"))
    finding.get_by_label("Note").fill("a scratch")
    finding.get_by_role("button", name="Incorrect").click()
    expect(finding.get_by_role("status")).to_have_text("Saved. Thank you.")
    expect(finding).to_contain_text("anna")
    finding.get_by_role("button", name="Correct", exact=True).click()
    expect(finding.get_by_text("All opinions (")).to_be_visible()
    with transaction(site.api.sessions) as session:
        mine = select(FeedbackRow).where(FeedbackRow.finding_id == finding_id).order_by(FeedbackRow.id.desc()).limit(2)
        newest, before = session.scalars(mine)
        audit = session.scalars(select(AuditRow).order_by(AuditRow.id.desc()).limit(1)).one()
    assert (newest.opinion, newest.replaced_at, newest.person) == (Feedback.CORRECT, None, "anna")
    assert (before.opinion, before.note, before.replaced_at) == (Feedback.INCORRECT, "a scratch", newest.given_at)
    assert (audit.actor, audit.action, audit.subject) == ("person anna", "feedback.give", f"finding {finding_id}")
    visit.open("/accuracy")
    with transaction(site.api.sessions) as session:
        counted = session.scalar(
            select(func.count(FeedbackRow.id)).where(
                FeedbackRow.replaced_at.is_(None), FeedbackRow.opinion == "correct"
            )
        )
    assert rows_of(visit, "#feedback-table")[-1][:2] == ["All", str(counted)]


def test_reviews_say_what_was_lost_and_what_to_do(visit: Visit, site: Site) -> None:
    visit.open("/accuracy")
    rows = rows_of(visit, "#review-table")
    assert len(rows) == 20
    labelled = next(row for row in rows if row[1] == "labelled images")
    assert labelled[3].startswith("+3.10 [")
    assert labelled[5:] == ["lost", "Measure again, roll back or recalibrate"]
    dark = next(row for row in rows if row[1] == "drift of a camera" and row[5] == "warning")
    assert dark[3] == "brightness 2.40 > 0.56"
    assert dark[6].startswith("Look at the camera")
    visit.follow(visit.page.get_by_role("link", name="operators"))
    assert {row[1] for row in rows_of(visit, "#review-table")} == {"operators"}
    visit.open("/accuracy")
    visit.page.locator("#review-table details").first.locator("summary").click()
    expect(visit.page.locator("#review-table details p").first).to_be_visible()
    visit.follow(visit.page.get_by_role("link", name="Older").first)
    assert len(rows_of(visit, "#review-table")) == 20
    assert "reviewed=" in visit.page.url
    with visiting(site.browser, site.api, site.viewer) as other:
        other.open("/accuracy")
        drift = [row[2] for row in rows_of(other, "#review-table") if row[1] == "drift of a camera"]
        assert {place.split()[-1] for place in drift} == {"line-b"}


def test_the_keyboard_is_enough(visit: Visit, site: Site) -> None:
    visit.open(f"/frames/{site.frame().id}")
    press = visit.page.keyboard.press
    press("Tab")
    assert visit.evaluate("document.activeElement.className") == "skip"
    assert visit.evaluate("document.activeElement.getBoundingClientRect().left") >= 0
    press("Enter")
    assert visit.evaluate("document.activeElement.id") == "main"
    for _ in range(12):
        press("Tab")
        if visit.evaluate("document.activeElement.value") == "inconclusive":
            break
    outline = visit.evaluate("getComputedStyle(document.activeElement).outlineStyle")
    assert outline == "solid", "whoever tabs sees where he is"
    press("Enter")
    expect(visit.page.get_by_role("status").first).to_be_visible()
    assert (
        visit.page.locator("article.finding")
        .first.get_by_role("button", name="Inconclusive")
        .get_attribute("aria-pressed")
        == "true"
    )


def test_language_and_theme_are_chosen_and_kept(visit: Visit) -> None:
    visit.open("/costs?days=7")
    visit.page.get_by_role("link", name="中文").click()
    expect(visit.page.get_by_role("heading", name="费用", level=1)).to_be_visible()
    assert visit.page.url.endswith("/costs?days=7")
    visit.page.get_by_role("link", name="深色").click()
    expect(visit.page.locator("html")).to_have_attribute("data-theme", "dark")
    assert visit.evaluate("getComputedStyle(document.body).backgroundColor") == "rgb(15, 21, 27)"
    visit.page.locator(".xtick text").first.wait_for()
    ink = visit.evaluate("getComputedStyle(document.querySelector('.xtick text')).fill")
    assert ink == "rgb(232, 237, 242)", "the charts follow the theme"
    visit.open("/findings")
    assert visit.text("h1") == "缺陷"
    visit.page.get_by_role("link", name="English").click()
    expect(visit.page.get_by_role("heading", name="Findings", level=1)).to_be_visible()


def test_each_number_of_a_report_leads_to_its_findings(visit: Visit, site: Site) -> None:
    report = site.report()
    visit.open(f"/reports/{report.id}")
    total = visit.page.locator(".evidence tr").last.locator("a").last
    assert total.inner_text() == str(report.totals["findings"])
    visit.follow(total)
    assert len(rows_of(visit)) == report.totals["findings"]
    camera, label, count = report.totals["cells"][0]
    visit.page.go_back()
    visit.follow(visit.page.locator(f".evidence a[href*='camera={camera}'][href$='label={label}']"))
    rows = rows_of(visit)
    assert len(rows) == count
    assert {(row[2], row[3]) for row in rows} == {(camera, label)}
    visit.follow(visit.page.get_by_role("link", name="this report"))
    visit.follow(visit.page.get_by_role("link", name="Print view"))
    assert visit.page.locator("nav, form").count() == 0
    assert visit.page.locator(".prose").is_visible()


def test_who_sees_one_line_sees_nothing_of_the_others(site: Site) -> None:
    api, hidden = site.api, site.frame(but_of="line-b")
    finding = hidden.id, 1
    with transaction(api.sessions) as session:
        others = select(ReportRow.id).join(ReportWindow, ReportWindow.id == ReportRow.window_id)
        report = session.scalars(others.where(ReportWindow.line != "line-b").limit(1)).one()
    with api.browser(site.viewer) as bert:
        for path in (f"/frames/{hidden.id}", f"/frames/{hidden.id}/image", f"/reports/{report}"):
            assert bert.get(path).status_code == 404
        for path in (
            "/",
            "/findings?span=",
            "/reports",
            "/costs",
            "/findings.csv?span=",
            "/reports.csv",
            "/costs.csv?by=camera",
        ):
            answer = bert.get(path)
            assert answer.status_code == 200
            assert not {"line-a", "line-c", "gate-1", "press-1"} & set(re.findall(r"[a-z]+-[a-z0-9]+", answer.text)), (
                path
            )
        rows = list(csv.DictReader(bert.get("/findings.csv?span=").text.splitlines()))
        assert {row["line"] for row in rows} <= {"line-b"}
        with transaction(api.sessions) as session:
            of_line = select(FindingRow.frame_id).join(FrameRow, FrameRow.id == FindingRow.frame_id)
            own = session.scalars(of_line.where(FrameRow.line == "line-b").limit(1)).one()
        page = bert.get(f"/frames/{own}").text
        form = {"csrf": csrf_of(bert.cookies[SESSION_COOKIE]), "opinion": "correct"}
        assert bert.post("/frames/{}/findings/{}/feedback".format(*finding), data=form).status_code == 403
        assert "<article" in page
        assert 'class="judge"' not in page


def test_feedback_is_taken_from_our_own_page_alone(site: Site) -> None:
    api, frame = site.api, site.frame()
    with transaction(api.sessions) as session:
        key = session.scalars(select(FindingRow.id).where(FindingRow.frame_id == frame.id).limit(1)).one()
        before = session.scalar(select(func.count(FeedbackRow.id)))
    path = f"/frames/{frame.id}/findings/{key}/feedback"
    with api.browser(site.operator) as anna, api.browser() as nobody:
        form = {"csrf": csrf_of(anna.cookies[SESSION_COOKIE]), "opinion": "correct"}
        assert anna.post(path, data=form | {"csrf": "of another site"}).status_code == 403
        assert anna.post(path, data={"opinion": "correct"}).status_code == 403
        assert anna.post(path, data=form | {"opinion": "perfect"}).status_code == 422
        assert anna.post(path, data=form | {"note": "n" * 501}).status_code == 422
        assert anna.post(path.replace(str(key), str(key + 10_000)), data=form).status_code == 404
        assert nobody.post(path, data=form).status_code == 401
        with transaction(api.sessions) as session:
            assert session.scalar(select(func.count(FeedbackRow.id))) == before
        assert anna.post(path, data=form).headers["location"] == f"/frames/{frame.id}?judged={key}#finding-{key}"


def test_a_wrong_address_is_told_in_words(site: Site) -> None:
    wrong = {"/findings?after=x": 422, "/findings?severity=9": 422, "/reports?after=x": 422, "/costs?days=0": 422}
    with site.api.browser(site.operator) as anna:
        for path, status in (
            wrong | {"/nowhere": 404, f"/frames/{UUID(int=0)}": 404, "/costs.csv?by=moon": 422}
        ).items():
            page = anna.get(path, headers={"Accept": "text/html"})
            assert (page.status_code, page.headers["content-type"]) == (status, "text/html; charset=utf-8"), path
            assert page.headers["content-security-policy"] == POLICY
            assert 'role="alert"' in page.text
            assert anna.get(path).headers["content-type"] == "application/problem+json"
        answer = anna.get(f"/frames/{site.frame().id}/image")
        assert answer.headers["content-security-policy"] == "default-src 'none'; sandbox"
        assert anna.get(f"/frames/{site.frame(kept=False).id}/image").status_code == 404


def test_names_and_reports_are_text_whatever_they_hold(site: Site) -> None:
    """A camera's name and a report are not ours: nothing in them may run, load or lead elsewhere."""
    evil = "<img src=x onerror=alert(1)>\"'</script><script>alert(2)</script>"
    with transaction(site.api.sessions) as session:
        camera = site.plant.cameras[2]
        window = session.scalars(select(ReportWindow).where(ReportWindow.line == camera.line).limit(1)).one()
        row = session.scalars(select(ReportRow).where(ReportRow.window_id == window.id)).one()
        row.body = f"# {evil}\n\n[link](https://elsewhere.test) ![x](https://elsewhere.test/x.png)"
        row.totals = row.totals | {"by_label": {evil: 3}}
        session.execute(update(FindingRow).where(FindingRow.label == "copper").values(label=evil))
    with visiting(site.browser, site.api, site.operator) as visit:
        visit.page.on("dialog", lambda dialog: visit.faults.append(dialog.message))
        for path in ("/", "/findings", f"/reports/{row.id}", f"/frames/{site.frame().id}"):
            visit.open(path)
            assert visit.page.locator("img[src='x'], a[href*='elsewhere.test']").count() == 0
        assert evil in visit.open(f"/reports/{row.id}").text(".prose")
