"""``gistline keys``: which programs may ask by the API."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict
from datetime import UTC, datetime

import click
from rich.table import Table

from gistline.cli.actor import actor
from gistline.cli.cameras import OVERLAP, print_key
from gistline.cli.database import database
from gistline.cli.output import console, print_json
from gistline.cli.people import LINES, ROLE_HELP, ROLES
from gistline.domain import Role
from gistline.flows.add_person import Rights
from gistline.flows.program_keys import create_program, revoke_program, rotate_program
from gistline.storage.keys import KeyEntry
from gistline.storage.programs import list_programs
from gistline.storage.session import transaction


@click.group("keys")
def command() -> None:
    """Keys of programs that read, or operate, by the API. Cameras have keys of their own: 'gistline cameras'.

    A key is printed once, when it is made; the database keeps its digest and its beginning.
    """


@command.command("create")
@click.argument("name")
@click.option("--role", type=ROLES, default=Role.VIEWER.value, show_default=True, help=ROLE_HELP)
@LINES
@click.option("--json", "as_json", is_flag=True, help="Print JSON.")
@click.pass_context
def create(context: click.Context, /, *, name: str, role: str, lines: Sequence[str], as_json: bool) -> None:
    """Add a program and print its key, which cannot be shown again."""
    with database(context) as opened:
        _, key = create_program(opened.sessions, name, Rights(Role(role), frozenset(lines) or None), by=actor())
    if as_json:
        print_json({"name": name, "role": role, "lines": sorted(lines) or None, "key": key})
    else:
        print_key(key)


@command.command("list")
@click.option("--json", "as_json", is_flag=True, help="Print JSON.")
@click.pass_context
def list_all(context: click.Context, /, *, as_json: bool) -> None:
    """Show every program with its keys, and whether each is good."""
    with database(context) as opened, transaction(opened.sessions) as session:
        found = list_programs(session)
    if as_json:
        print_json([asdict(one) for one in found])
        return
    table = Table("program", "role", "lines", "key", "made", "used", "state", box=None)
    for one in found:
        for key in one.keys:
            used = f"{key.used_at:%F %H:%M}" if key.used_at else "never"
            lines = "all" if one.lines is None else ", ".join(one.lines)
            table.add_row(
                one.name, one.role, lines, f"{key.prefix}...", f"{key.created_at:%F %H:%M}", used, _state(key)
            )
    console().print(table, markup=False)


@command.command("rotate")
@click.argument("name")
@OVERLAP
@click.pass_context
def rotate(context: click.Context, /, *, name: str, overlap_h: float) -> None:
    """Make a program a new key, print it, and revoke its old ones, now or --overlap hours later."""
    with database(context) as opened:
        print_key(rotate_program(opened.sessions, name, overlap_h=overlap_h, by=actor()))


@command.command("revoke")
@click.argument("name")
@click.pass_context
def revoke(context: click.Context, /, *, name: str) -> None:
    """Revoke every key of a program, from this moment on."""
    with database(context) as opened:
        count = revoke_program(opened.sessions, name, by=actor())
    console().print(f"{count} keys of {name} revoked.", markup=False)


def _state(key: KeyEntry) -> str:
    if key.revoked_at:
        return "revoked"
    if key.expires_at is None:
        return "good"
    return "expired" if key.expires_at <= datetime.now(UTC) else f"good until {key.expires_at:%F %H:%M}"
