"""``gistline db``: the database's tables."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import click
from sqlalchemy.exc import OperationalError

from gistline.cli.database import database
from gistline.cli.invocation import settings_of
from gistline.cli.output import console, print_json
from gistline.embedded.servers import attached
from gistline.flows.grant_reader import grant_reader
from gistline.storage import migrate
from gistline.storage.session import unavailable


@click.group("db")
def command() -> None:
    """Bring the database's tables to this version, or look which version they have.

    Works on the database that the settings name; without one, on the embedded server, which is started if need be.
    """


@command.command("upgrade")
@click.pass_context
def upgrade(context: click.Context) -> None:
    """Run every migration that is missing; safe to repeat, and several at once wait for each other."""
    with _database(context) as url:
        before = migrate.current(url)
        migrate.upgrade(url)
    head = migrate.head()
    console().print(f"Tables are at {head}." if before == head else f"Tables went from {before or 'empty'} to {head}.")


@command.command("current")
@click.option("--json", "as_json", is_flag=True, help="Print JSON.")
@click.pass_context
def current(context: click.Context, /, *, as_json: bool) -> None:
    """Revision of the tables; exits 1 when it is not the one that this version needs."""
    with _database(context) as url:
        found, head = migrate.current(url), migrate.head()
    if as_json:
        print_json({"current": found, "head": head, "ready": found == head})
    else:
        advice = "up to date" if found == head else f"needed is {head}: run 'gistline db upgrade'"
        console().print(f"{found or 'empty'} ({advice})")
    context.exit(0 if found == head else 1)


@command.command("reader")
@click.argument("name")
@click.option(
    "--password-file",
    type=click.Path(exists=True, dir_okay=False, path_type=Path),
    required=True,
    help="File that holds the role's password.",
)
@click.pass_context
def reader(context: click.Context, /, *, name: str, password_file: Path) -> None:
    """Make a role that may read what dashboards show, for Grafana and KEDA; safe to repeat, and after each upgrade.

    It sees no key, no password and no model file, writes nothing, and its statements end after 15 seconds.
    """
    password = password_file.read_text().rstrip("\r\n")
    with database(context) as opened:
        grant_reader(opened.sessions, name, password)
    console().print(f"{name} may read what dashboards show.")


@contextmanager
def _database(context: click.Context) -> Iterator[str]:
    try:
        with attached(settings_of(context)) as settings:
            yield settings.database.url.get_secret_value()
    except OperationalError as error:
        raise unavailable(error) from error
