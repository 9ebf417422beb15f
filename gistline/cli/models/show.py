"""``gistline model show``: everything known of one detector."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, dataclass
from typing import Any

import click
from rich.markup import escape
from rich.table import Table

from gistline.cli.database import Database
from gistline.cli.models.list import kind_of
from gistline.cli.models.passport_table import as_json, print_passport
from gistline.cli.models.registry import registry
from gistline.cli.output import console, print_json
from gistline.domain import Passport
from gistline.flows.serve_model import Wanted, wanted_model
from gistline.settings import Settings
from gistline.storage.health import ServingWorker, serving_workers
from gistline.storage.models import StoredModel, find_model, list_models
from gistline.storage.passports import newest_of_model
from gistline.storage.serving import Promotion, history
from gistline.storage.session import transaction

HIDDEN = ("sha256", "looks")
"""Endings of what a recipe holds for programs."""


@click.command("show")
@click.argument("model", metavar="[NAME|SHA256]", required=False)
@click.option("--json", "json_wanted", is_flag=True, help="Print JSON.")
@click.pass_context
def show(context: click.Context, /, *, model: str | None, json_wanted: bool) -> None:
    """One detector: facts, passports, which workers serve it, promotions. Default: the one that is served.

    A passport shows what the engine was measured to be worth beside FP32, with 95 % intervals; see docs/passport.md.
    """
    with registry(context) as held:
        view = _look(held, model)
    if json_wanted:
        print_json(view.as_json(held.settings))
        return
    _print_model(view)
    for passport in view.passports:
        print_passport(passport, held.settings)
    if not view.passports:
        console().print(f"No passport. Measure it: gistline model passport {view.model.name}\n", markup=False)
    _print_workers(view.workers)
    _print_history(view)


@dataclass(frozen=True, slots=True)
class _View:
    """What is shown: ``names`` are models' names by digest, ``workers`` those that serve it or are in trouble."""

    model: StoredModel
    wanted: Wanted
    passports: Sequence[Passport]
    workers: Sequence[ServingWorker]
    promotions: Sequence[Promotion]
    names: dict[str, str]

    @property
    def served(self) -> bool:
        """Whether workers with these settings serve it."""
        return self.model.sha256 == self.wanted.model.sha256

    def as_json(self, settings: Settings) -> dict[str, Any]:
        """All of it."""
        return {
            "model": asdict(self.model) | {"kind": kind_of(self.model), "served": self.served},
            "serving": self.wanted.why,
            "passports": [as_json(one, settings) for one in self.passports],
            "workers": [asdict(one) for one in self.workers],
            "history": [asdict(one) for one in self.promotions],
        }


def _look(held: Database, name: str | None) -> _View:
    wanted = wanted_model(held.sessions, held.settings)
    with transaction(held.sessions) as session:
        model = find_model(session, name) if name else wanted.model
        return _View(
            model,
            wanted,
            newest_of_model(session, model.sha256),
            [one for one in serving_workers(session) if one.sha256 == model.sha256 or one.error or one.refused],
            history(session),
            {one.sha256: one.name for one in list_models(session)},
        )


def _print_model(view: _View) -> None:
    model = view.model
    shown = console()
    shown.print(
        f"[bold]{escape(model.name)}[/]  {'served' if view.served else 'not served'}: {escape(view.wanted.why)}"
    )
    facts = {
        "sha256": model.sha256,
        "kind": kind_of(model) + " convolutions" * model.quantised,
        "classes": ", ".join(model.labels),
        "input": f"{model.input_size[0]} x {model.input_size[1]} (height, width), layout {model.layout}",
        "FP32 twin": _named(model.source_sha256, view.names),
        "calibration": model.calibration_sha256 or "not told" * model.quantised,
        "recipe": ", ".join(f"{key} {told}" for key, told in sorted(model.recipe.items()) if not key.endswith(HIDDEN)),
        "taken in": f"{model.added_at:%Y-%m-%d %H:%M} UTC, {model.origin}, {model.byte_count} bytes",
    }
    for name, value in facts.items():
        if value:
            shown.print(f"  {name:<12} {escape(value)}")
    shown.print()


def _named(sha256: str | None, names: dict[str, str]) -> str:
    if sha256 is None:
        return ""
    return f"{names.get(sha256, 'not in the registry')} ({sha256[:12]})"


def _print_workers(workers: Sequence[ServingWorker]) -> None:
    shown = console()
    for one in workers:
        state = "ready" if one.ready else "NOT READY"
        proof = f"passport {one.passport}" if one.verdict != "unproven" else "UNPROVEN: passport.required is off"
        shown.print(f"[bold]worker[/] {escape(one.name)}: {state}, serves {escape(one.model) or 'nothing'}, {proof}")
        for trouble in filter(None, (one.error, one.refused)):
            shown.print(f"  [bold red]{escape(trouble)}[/]")
    if not workers:
        shown.print("No worker serves it now.")


def _print_history(view: _View) -> None:
    table = Table("#", "when (UTC)", "what", "model", "by", "why", box=None, title="Promotions", title_justify="left")
    for one in view.promotions:
        model = _named(one.model_sha256, view.names) or "what the settings name"
        what = f"{one.action.value}{', FORCED' if one.forced else ''}"
        table.add_row(str(one.id), f"{one.promoted_at:%Y-%m-%d %H:%M}", what, model, one.actor, one.reason)
    if view.promotions:
        console().print(table, markup=False)
