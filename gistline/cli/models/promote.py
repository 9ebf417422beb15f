"""``gistline model promote MODEL``: serve it everywhere."""

from __future__ import annotations

import click

from gistline.cli.actor import actor
from gistline.cli.models.registry import registry
from gistline.cli.output import console, print_json
from gistline.flows.promote_model import promote_model


@click.command("promote")
@click.argument("model", metavar="NAME|SHA256")
@click.option("--force", is_flag=True, help="Promote it without a passing passport; needs --reason.")
@click.option("--reason", default="", metavar="TEXT", help="Why, for the history.")
@click.option("--json", "as_json", is_flag=True, help="Print JSON.")
@click.pass_context
def promote(context: click.Context, /, *, model: str, force: bool, reason: str, as_json: bool) -> None:
    """Let every worker serve a model, from its next batch on.

    The model needs a passing passport. A worker on whose hardware it cannot be opened or does not pass keeps the old
    one and says so: see 'gistline model show'.
    """
    with registry(context) as held:
        done = promote_model(held.sessions, model, held.settings, actor=actor(), reason=reason.strip(), force=force)
    if as_json:
        passport = str(done.passport.id) if done.passport else None
        print_json(
            {"promotion": done.promotion.id, "model": done.model.name, "sha256": done.model.sha256}
            | {"passport": passport}
        )
        return
    proof = f"passport {done.passport.id}" if done.passport else "FORCED, without a passing passport"
    console().print(
        f"Promotion {done.promotion.id}: {done.model.name} ({done.model.sha256[:12]}), {proof}.", markup=False
    )
    console().print("Workers follow within a heartbeat; 'gistline model show' tells which have.")
