"""``gistline model list``: every detector of the registry."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import click
from rich.table import Column, Table

from gistline.cli.database import Database
from gistline.cli.models.registry import registry
from gistline.cli.output import console, print_json
from gistline.domain import PassportVerdict
from gistline.flows.serve_model import Wanted, judged_now, wanted_model
from gistline.storage.models import StoredModel, list_models
from gistline.storage.passports import newest_of_model
from gistline.storage.session import transaction


@click.command("list")
@click.option("--json", "as_json", is_flag=True, help="Print JSON.")
@click.pass_context
def list_all(context: click.Context, /, *, as_json: bool) -> None:
    """Every detector, its passports, and which one is served here."""
    with registry(context) as held:
        wanted = wanted_model(held.sessions, held.settings)
        rows = _rows(held, wanted)
    if as_json:
        print_json(rows)
        return
    table = Table(Column("model", overflow="fold"), "digest", "kind", "classes", "input", "passports", "", box=None)
    for row in rows:
        size = "x".join(map(str, row["input_size"]))
        served = "served" if row["served"] else ""
        table.add_row(
            row["name"], row["sha256"][:12], row["kind"], str(len(row["labels"])), size, row["passports"], served
        )
    console().print(table, markup=False)
    console().print(f"Served: {wanted.model.name} ({wanted.why}).", markup=False)


def _rows(held: Database, wanted: Wanted) -> list[dict[str, Any]]:
    with transaction(held.sessions) as session:
        models = list_models(session)
        verdicts = {
            one.sha256: [judged_now(paper, held.settings).verdict for paper in newest_of_model(session, one.sha256)]
            for one in models
        }
    return [_row(one, verdicts[one.sha256], served=one.sha256 == wanted.model.sha256) for one in models]


def _row(model: StoredModel, verdicts: Sequence[PassportVerdict], *, served: bool) -> dict[str, Any]:
    counted = [f"{verdicts.count(kind)} {kind.value}" for kind in PassportVerdict if kind in verdicts]
    return {
        "name": model.name,
        "sha256": model.sha256,
        "kind": kind_of(model),
        "origin": model.origin,
        "labels": list(model.labels),
        "layout": model.layout,
        "input_size": list(model.input_size),
        "source_sha256": model.source_sha256,
        "added_at": model.added_at.isoformat(),
        "passports": ", ".join(counted) or "none",
        "served": served,
    }


def kind_of(model: StoredModel) -> str:
    """``INT8`` or ``float``, and how much of it."""
    return f"INT8 {model.quantised_convolutions}/{model.convolutions}" if model.quantised else "float"
