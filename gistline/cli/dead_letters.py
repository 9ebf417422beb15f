"""``gistline dead-letters``: frames that were given up, and what to do about them."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import asdict
from uuid import UUID

import click

from gistline.cli.actor import actor
from gistline.cli.database import database
from gistline.cli.output import FAILED, OK, console, print_json
from gistline.flows.dead_letters import Decided, discard_dead_letters, retry_dead_letters
from gistline.storage.dead_letters import DeadLetter, list_letters
from gistline.storage.session import transaction


@click.group("dead-letters")
def command() -> None:
    """Frames that were given up: failed, or quarantined because workers died with them. Their bytes are kept."""


@command.command("list")
@click.option("--camera", help="Only frames of this camera.")
@click.option("--resolved", is_flag=True, help="Those that were retried or discarded too.")
@click.option("--limit", type=click.IntRange(1, 10_000), default=50, show_default=True, help="Most letters shown.")
@click.option("--json", "as_json", is_flag=True, help="Print JSON.")
@click.pass_context
def list_command(context: click.Context, /, *, camera: str | None, resolved: bool, limit: int, as_json: bool) -> None:
    """Open dead letters, newest first; times are UTC."""
    with database(context) as opened, transaction(opened.sessions) as session:
        letters = list_letters(session, limit=limit, resolved=resolved, camera=camera)
    if as_json:
        print_json([asdict(one) for one in letters])
        return
    for one in letters:
        _print(one)
    if not letters:
        console().print("No dead letters.")


def _decision(run: Callable[..., Decided], name: str, done: str, about: str) -> click.Command:
    @click.command(name, help=about)
    @click.argument("frames", nargs=-1, type=click.UUID)
    @click.option("--all", "every", is_flag=True, help="All open letters.")
    @click.pass_context
    def decide(context: click.Context, /, *, frames: Sequence[UUID], every: bool) -> int:
        if bool(frames) == every:
            raise click.UsageError("Name frames by their ids, or give --all.")
        with database(context) as opened:
            decided = run(opened.sessions, None if every else frames, by=actor())
        console().print(f"{len(decided.frames)} {done}.")
        for one in decided.without_bytes:
            console().print(f"{one} cannot be tried again: its bytes are gone. Discard it.")
        return FAILED if decided.without_bytes else OK

    return decide


command.add_command(
    _decision(
        retry_dead_letters,
        "retry",
        "queued again, each to be tried alone",
        "Let FRAMES wait for a worker once more, each alone.",
    )
)
command.add_command(
    _decision(
        discard_dead_letters,
        "discard",
        "discarded",
        "Let FRAMES go: they stay failed, their bytes are pruned when old enough.",
    )
)


def _print(one: DeadLetter) -> None:
    gone = "" if one.bytes_stored else ", bytes gone"
    end = f", {one.resolution} by {one.resolved_by}" if one.resolution else ""
    console().print(
        f"{one.frame_id}  {one.created_at:%Y-%m-%d %H:%M:%S}  {one.camera} ({one.line})  {one.kind} after "
        f"{one.attempts} attempts{gone}{end}: {one.reason}",
        markup=False,
    )
