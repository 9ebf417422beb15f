"""``gistline accuracy``: what the engines in service are worth now, and whether their cameras have moved."""

from __future__ import annotations

from dataclasses import asdict
from pathlib import Path
from typing import Any
from uuid import UUID

import click
from rich.table import Table

from gistline.cli.actor import actor
from gistline.cli.database import database
from gistline.cli.models.registry import registry
from gistline.cli.output import FAILED, OK, console, errors, print_json
from gistline.domain_accuracy import Review, Reviewed, ReviewKind, ReviewVerdict
from gistline.errors import Conflict, NotFound
from gistline.flows.export_frames import export_frames
from gistline.flows.measure_passport import MeasuringTools
from gistline.flows.rebase_drift import rebase_drift
from gistline.flows.review_accuracy import review_accuracy
from gistline.frames.store import open_store
from gistline.storage.accuracy_reviews import ReviewFilter, get_review, list_reviews
from gistline.storage.keyset import Cut
from gistline.storage.session import transaction

KINDS = click.Choice([one.value for one in ReviewKind])
VERDICTS = click.Choice([one.value for one in ReviewVerdict])
JSON = click.option("--json", "as_json", is_flag=True, help="Print JSON.")


@click.group("accuracy")
def command() -> None:
    """Engines in service, measured again: labels, FP32, operators' opinions, drift of the cameras.

    Report workers do it every accuracy.every_h hours. Rules of kind accuracy and drift make alarms of it.
    """


@command.command("review")
@JSON
@click.pass_context
def review(context: click.Context, /, *, as_json: bool) -> int:
    """Measure now, on this machine, without waiting for the schedule. Exits 1 when something is lost."""
    with registry(context) as held, errors().status("Measuring"):
        done = review_accuracy(MeasuringTools(held.sessions, held.settings), open_store(held.settings), asked=True)
    if not done.alone:
        raise Conflict(
            "Another process is reviewing at this moment.", cure="See 'gistline accuracy list' when it is done."
        )
    if as_json:
        print_json([asdict(one) for one in done.found])
    elif done.found:
        _print_table([(None, one) for one in done.found])
    else:
        console().print("No engine has looked at a frame yet; 'gistline model passport' measures one.")
    return FAILED if any(one.verdict is ReviewVerdict.LOST for one in done.found) else OK


@command.command("list")
@click.option("--kind", type=KINDS, help="Only these.")
@click.option("--verdict", type=VERDICTS, help="Only these.")
@click.option("--camera", help="Only drift of this camera.")
@click.option("--limit", type=click.IntRange(1, 10_000), default=20, show_default=True, help="Most reviews shown.")
@JSON
@click.pass_context
def list_all(
    context: click.Context,
    /,
    *,
    kind: str | None,
    verdict: str | None,
    camera: str | None,
    limit: int,
    as_json: bool,
) -> None:
    """Reviews, newest first."""
    wanted = ReviewFilter(None, ReviewKind(kind) if kind else None, ReviewVerdict(verdict) if verdict else None, camera)
    with database(context) as opened, transaction(opened.sessions) as session:
        page = list_reviews(session, wanted, Cut(limit))
    if as_json:
        print_json([_as_json(one) for one in page.items])
    elif page.items:
        _print_table([(one, one.found) for one in page.items])
    else:
        console().print("No reviews. 'gistline accuracy review' makes one.")


@command.command("show")
@click.argument("review_id", type=click.UUID)
@JSON
@click.pass_context
def show(context: click.Context, /, *, review_id: UUID, as_json: bool) -> None:
    """One review with its evidence."""
    with database(context) as opened, transaction(opened.sessions) as session:
        found = get_review(session, review_id)
    if found is None:
        raise NotFound(f"There is no review {review_id}.", cure="'gistline accuracy list --json' has their ids.")
    if as_json:
        print_json(_as_json(found))
        return
    shown = console()
    shown.print(f"{found.found.kind} review of {found.model}: {found.found.verdict}", markup=False)
    shown.print(found.found.text, markup=False)
    facts = {
        "id": found.id,
        "reviewed": f"{found.reviewed_at:%Y-%m-%d %H:%M} UTC",
        "machine": found.machine,
        "passport": found.passport_id or "none",
        **found.found.evidence,
    }
    for name, value in facts.items():
        shown.print(f"  {name:<12} {value}", markup=False)


@command.command("rebase")
@click.option("--camera", help="Only this camera.  [default: every one]")
@click.pass_context
def rebase(context: click.Context, /, *, camera: str | None) -> None:
    """Take what cameras show from now on as normal, after a lamp or a lens was changed for good."""
    with database(context) as opened:
        names = rebase_drift(opened.sessions, camera, by=actor())
    console().print(
        f"{len(names)} cameras are held against what the next review sees: {', '.join(names) or 'none'}.", markup=False
    )


@command.command("frames")
@click.option("--out", type=click.Path(file_okay=False, path_type=Path), required=True, help="Folder to write.")
@click.option("--count", type=click.IntRange(1, 10_000), default=200, show_default=True, help="Most frames.")
@click.option("--hours", type=click.FloatRange(0.01, 8_760), default=24.0, show_default=True, help="Not older than so.")
@click.pass_context
def frames(context: click.Context, /, *, out: Path, count: int, hours: float) -> int:
    """Write frames of today into a folder, spread over cameras: to look at, to label, to calibrate on.

    Only frames whose bytes are kept can be written. With frames.keep = findings those are NG and re-inspected ones,
    which is no fair sample of what a camera shows: add good ones, or keep all for a shift.
    """
    with database(context) as opened:
        written = export_frames(opened.sessions, open_store(opened.settings), out, count=count, hours=hours)
    console().print(f"{len(written)} new files in {out}.", markup=False)
    return OK if written else FAILED


def _print_table(rows: list[tuple[Review | None, Reviewed]]) -> None:
    table = Table("when", "kind", "verdict", "figure", "sample", "what it says", box=None)
    for stored, found in rows:
        when = f"{stored.reviewed_at:%m-%d %H:%M}" if stored else "now"
        kind = f"{found.kind} {found.camera}" if found.camera else str(found.kind)
        table.add_row(when, kind, str(found.verdict), _figure(found), str(found.sample), found.text)
    console().print(table, markup=False)


def _figure(found: Reviewed) -> str:
    if found.value is None:
        return "-"
    if found.kind is ReviewKind.LABELLED:
        return f"{found.value:+.2f} points lost"
    return f"{found.measure} {found.value:.3f}"


def _as_json(one: Review) -> dict[str, Any]:
    told = asdict(one)
    return {**told, **told.pop("found")}
