"""``gistline cameras``: who may send frames."""

from __future__ import annotations

from dataclasses import asdict

import click
from rich.table import Table

from gistline.cli.actor import actor
from gistline.cli.database import database
from gistline.cli.output import console, print_json
from gistline.flows.add_camera import add_camera
from gistline.flows.change_camera import change_priority
from gistline.flows.rekey_camera import rekey_camera
from gistline.flows.revoke_camera import revoke_camera
from gistline.storage.cameras import NORMAL, list_cameras
from gistline.storage.session import transaction

PRIORITY = click.IntRange(0, 9)
OVERLAP = click.option(
    "--overlap",
    "overlap_h",
    type=click.FloatRange(0, 8_760),
    default=0.0,
    metavar="HOURS",
    help="Leave the old keys good so long, while whoever has it is changed over.",
)


@click.group("cameras")
def command() -> None:
    """Cameras and their keys. A key is printed once, when it is made; the database keeps only its digest."""


@command.command("add")
@click.argument("name")
@click.option("--line", required=True, help="Production line at which it stands; reports are written for each line.")
@click.option("--priority", type=PRIORITY, default=NORMAL, show_default=True, help="Smaller is inspected first.")
@click.option("--json", "as_json", is_flag=True, help="Print JSON.")
@click.pass_context
def add(context: click.Context, /, *, name: str, line: str, priority: int, as_json: bool) -> None:
    """Add a camera and print its key, which cannot be shown again."""
    with database(context) as opened:
        camera, key = add_camera(opened.sessions, name, line, priority=priority, by=actor())
    if as_json:
        print_json({"name": camera.name, "line": camera.line, "key": key})
    else:
        print_key(key)


@command.command("list")
@click.option("--json", "as_json", is_flag=True, help="Print JSON.")
@click.pass_context
def list_all(context: click.Context, /, *, as_json: bool) -> None:
    """Show every camera, its line, and how many keys are good."""
    with database(context) as opened, transaction(opened.sessions) as session:
        found = list_cameras(session)
    if as_json:
        print_json([asdict(camera) for camera in found])
        return
    table = Table("camera", "line", "priority", "good keys", "newest key", box=None)
    for camera in found:
        newest = camera.newest_key_at
        table.add_row(
            camera.name, camera.line, str(camera.priority), str(camera.keys), f"{newest:%F %H:%M}" if newest else "none"
        )
    console().print(table, markup=False)


@command.command("set")
@click.argument("name")
@click.option("--priority", type=PRIORITY, required=True, help="Smaller is inspected first: 0 for an alarm camera.")
@click.pass_context
def set_command(context: click.Context, /, *, name: str, priority: int) -> None:
    """Change a camera. Frames that wait already keep their place."""
    with database(context) as opened:
        change_priority(opened.sessions, name, priority, by=actor())
    console().print(f"Frames of {name} have priority {priority} from now on.", markup=False)


@command.command("rekey")
@click.argument("name")
@OVERLAP
@click.pass_context
def rekey(context: click.Context, /, *, name: str, overlap_h: float) -> None:
    """Make a camera a new key, print it, and revoke its old ones, now or --overlap hours later."""
    with database(context) as opened:
        print_key(rekey_camera(opened.sessions, name, overlap_h=overlap_h, by=actor()))


@command.command("revoke")
@click.argument("name")
@click.pass_context
def revoke(context: click.Context, /, *, name: str) -> None:
    """Revoke every key of a camera, from this moment on. Its frames and findings stay."""
    with database(context) as opened:
        count = revoke_camera(opened.sessions, name, by=actor())
    console().print(f"{count} keys of {name} revoked.", markup=False)


def print_key(key: str) -> None:
    """The key alone on standard output, so that a script can take it; the advice on standard error."""
    click.echo("Keep this key: it is not shown again.", err=True)
    click.echo(key)
