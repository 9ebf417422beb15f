"""``gistline settings``: the settings tree as this machine has it."""

from __future__ import annotations

from dataclasses import asdict

import click
from rich.markup import escape

from gistline.cli.invocation import overrides_of, settings_of
from gistline.cli.output import console, print_json
from gistline.errors import SettingsError
from gistline.settings_report import Knob, Origin, as_toml, describe


@click.command("settings")
@click.argument("prefix", default="")
@click.option("--json", "as_json", is_flag=True, help="Print JSON.")
@click.option("--toml", "toml", is_flag=True, help="Print a commented gistline.toml; secrets are left out.")
@click.pass_context
def command(context: click.Context, /, *, prefix: str, as_json: bool, toml: bool) -> None:
    """Every setting: value, origin, unit, bounds, environment variable and meaning.

    PREFIX shows only the settings whose name begins with it, such as 'reports' or 'api.port'.
    """
    knobs = [one for one in describe(settings_of(context), overrides_of(context)) if one.name.startswith(prefix)]
    if not knobs:
        raise SettingsError(f"No setting's name begins with {prefix!r}.", cure="'gistline settings' lists every name.")
    if as_json:
        print_json([asdict(knob) for knob in knobs])
    elif toml:
        click.echo(as_toml(knobs))
    else:
        _print(knobs)


def _print(knobs: list[Knob]) -> None:
    shown = console()
    for knob in knobs:
        value = escape(str(knob.value)) if knob.value not in ("", {}) else "(empty)"
        colour = "dim" if knob.origin is Origin.DEFAULT else "green"
        shown.print(f"[bold]{knob.name}[/] = {value} {knob.unit}  [{colour}]\\[{knob.origin}][/]")
        bounds = f" Allowed: {knob.allowed}." if knob.allowed else ""
        shown.print(f"    {escape(knob.sentence)}{bounds}")
        shown.print(f"    [dim]{knob.variable}[/]")
