"""``gistline people``: who may sign in."""

from __future__ import annotations

import secrets
import sys
from collections.abc import Sequence
from dataclasses import asdict
from typing import Any

import click
from rich.table import Table

from gistline.cli.actor import actor
from gistline.cli.database import database
from gistline.cli.output import console, print_json
from gistline.domain import Role
from gistline.errors import RequestRejected
from gistline.flows.add_person import Rights, add_person
from gistline.flows.change_person import disable_person, enable_person, set_password, set_rights
from gistline.storage.people import list_people
from gistline.storage.session import transaction

ROLES = click.Choice([role.value for role in Role])
ROLE_HELP = "What may be done: viewer reads, operator decides too, admin may everything."
LINES = click.option("--line", "lines", multiple=True, help="A production line that is shown; repeat it. None: all.")


@click.group("people")
def command() -> None:
    """People who sign in with a name and a password. Roles: viewer reads, operator decides too, admin may everything.

    A password is asked for, or read from standard input, or made here; it never is an argument, which others on this
    machine could read.
    """


def _password_options(function: Any) -> Any:
    made = click.option("--generate", is_flag=True, help="Make a password and print it, once.")
    piped = click.option("--password-stdin", "piped", is_flag=True, help="Read it from standard input's first line.")
    return made(piped(function))


@command.command("add")
@click.argument("name")
@click.option("--role", type=ROLES, default=Role.VIEWER.value, show_default=True, help=ROLE_HELP)
@LINES
@_password_options
@click.pass_context
def add(context: click.Context, /, *, name: str, role: str, lines: Sequence[str], generate: bool, piped: bool) -> None:
    """Add somebody."""
    with database(context) as opened:
        password = _password(generate=generate, piped=piped)
        person = add_person(
            opened.sessions,
            name,
            password,
            Rights(Role(role), frozenset(lines) or None),
            settings=opened.settings.access,
            by=actor(),
        )
    _print_password(password, generated=generate)
    click.echo(f"{person.name} may sign in as {person.role}.", err=True)


@command.command("list")
@click.option("--json", "as_json", is_flag=True, help="Print JSON.")
@click.pass_context
def list_all(context: click.Context, /, *, as_json: bool) -> None:
    """Show everybody."""
    with database(context) as opened, transaction(opened.sessions) as session:
        found = list_people(session)
    if as_json:
        print_json([asdict(one) for one in found])
        return
    table = Table("person", "role", "lines", "last seen", "state", box=None)
    for one in found:
        seen = f"{one.seen_at:%F %H:%M}" if one.seen_at else "never"
        lines = "all" if one.lines is None else ", ".join(one.lines)
        table.add_row(one.name, one.role, lines, seen, "disabled" if one.disabled_at else "good")
    console().print(table, markup=False)


@command.command("set")
@click.argument("name")
@click.option("--role", type=ROLES, required=True, help=ROLE_HELP)
@LINES
@click.pass_context
def set_command(context: click.Context, /, *, name: str, role: str, lines: Sequence[str]) -> None:
    """Give somebody a role and the lines that are shown, from the next request on."""
    rights = Rights(Role(role), frozenset(lines) or None)
    with database(context) as opened:
        set_rights(opened.sessions, name, rights, by=actor())
    console().print(f"{name} is {role} of {', '.join(sorted(lines)) or 'all lines'}.", markup=False)


@command.command("passwd")
@click.argument("name")
@_password_options
@click.pass_context
def passwd(context: click.Context, /, *, name: str, generate: bool, piped: bool) -> None:
    """Set a new password, end every session, and forget failed sign-ins."""
    with database(context) as opened:
        password = _password(generate=generate, piped=piped)
        set_password(opened.sessions, name, password, settings=opened.settings.access, by=actor())
    _print_password(password, generated=generate)
    click.echo(f"{name} has a new password; every session is over.", err=True)


@command.command("disable")
@click.argument("name")
@click.pass_context
def disable(context: click.Context, /, *, name: str) -> None:
    """Let somebody sign in no longer, from this moment on. What they did stays."""
    with database(context) as opened:
        ended = disable_person(opened.sessions, name, by=actor())
    console().print(f"{name} is disabled; {ended} sessions ended.", markup=False)


@command.command("enable")
@click.argument("name")
@click.pass_context
def enable(context: click.Context, /, *, name: str) -> None:
    """Let somebody who was disabled sign in again."""
    with database(context) as opened:
        enable_person(opened.sessions, name, by=actor())
    console().print(f"{name} may sign in again.", markup=False)


def _password(*, generate: bool, piped: bool) -> str:
    if generate and piped:
        raise click.UsageError("Give --generate or --password-stdin, not both.")
    if generate:
        return secrets.token_urlsafe(15)
    if piped:
        return sys.stdin.readline().rstrip("\r\n")
    if not sys.stdin.isatty():
        raise RequestRejected(
            "There is no terminal to ask for a password at.", cure="Give --password-stdin or --generate."
        )
    asked: str = click.prompt("Password", hide_input=True, confirmation_prompt=True, err=True)
    return asked


def _print_password(password: str, *, generated: bool) -> None:
    """A made password alone on standard output, so that a script can take it."""
    if generated:
        click.echo("Keep this password: it is not shown again.", err=True)
        click.echo(password)
