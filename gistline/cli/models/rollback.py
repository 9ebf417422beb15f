"""``gistline model rollback``: serve again what was served before."""

from __future__ import annotations

import click

from gistline.cli.actor import actor
from gistline.cli.models.registry import registry
from gistline.cli.output import console, print_json
from gistline.flows.rollback_model import rollback_model


@click.command("rollback")
@click.option("--reason", default="", metavar="TEXT", help="Why, for the history.")
@click.option("--json", "as_json", is_flag=True, help="Print JSON.")
@click.pass_context
def rollback(context: click.Context, /, *, reason: str, as_json: bool) -> None:
    """Undo the promotion in force; again, the one before it.

    Once the first promotion is undone, each worker serves what its settings name, as before it.
    """
    with registry(context) as held:
        done = rollback_model(held.sessions, actor=actor(), reason=reason.strip())
    name = done.model.name if done.model else None
    if as_json:
        print_json({"promotion": done.promotion.id, "model": name, "sha256": done.promotion.model_sha256})
        return
    console().print(f"Rollback {done.promotion.id}: {name or 'what the settings of each worker name'}.", markup=False)
