"""``gistline costs resume``: buy again before the pause for the provider's spend limit is over."""

from __future__ import annotations

import click

from gistline.cli.actor import actor
from gistline.cli.database import database
from gistline.cli.output import console
from gistline.flows.buying_stops import resume_buying


@click.command("resume")
@click.pass_context
def command(context: click.Context, /) -> None:
    """Buy again: the limit at the provider was raised, or its month is over. Reports that wait for it are due."""
    with database(context) as opened:
        ended = resume_buying(opened.sessions, by=actor())
    console().print("Reports are bought again." if ended else "Buying was not stopped.")
