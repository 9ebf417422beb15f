"""What the group's own options say, for every command."""

from __future__ import annotations

import json
from dataclasses import dataclass, field
from typing import Any

import click

from gistline.settings import Settings, load_settings


@dataclass(slots=True)
class Invocation:
    """One run of the program: whether tracebacks are shown, and the settings given as arguments."""

    debug: bool = False
    overrides: dict[str, Any] = field(default_factory=dict)


def settings_of(context: click.Context) -> Settings:
    """Settings of this run: ``--set`` arguments, environment, file, defaults.

    Raises:
        SettingsError: a value is unknown or out of bounds.

    """
    return load_settings(**overrides_of(context))


def overrides_of(context: click.Context) -> dict[str, Any]:
    """What ``--set`` gave, as the nested arguments of :func:`gistline.settings.load_settings`."""
    found = context.find_object(Invocation)
    return found.overrides if found is not None else {}


def parse_overrides(pairs: tuple[str, ...]) -> dict[str, Any]:
    """``("api.port=0",)`` -> ``{"api": {"port": "0"}}``; a value that is a JSON table becomes one.

    Raises:
        click.BadParameter: a pair has no ``=``, or its table is no JSON.

    """
    tree: dict[str, Any] = {}
    for pair in pairs:
        name, equals, value = pair.partition("=")
        if not equals or not name.strip():
            raise click.BadParameter(f"{pair!r} is not NAME=VALUE, such as api.port=0.")
        *sections, last = name.strip().lower().split(".")
        place = tree
        for section in sections:
            place = place.setdefault(section, {})
            if not isinstance(place, dict):
                raise click.BadParameter(f"{pair!r} names a part of a value that was given before.")
        place[last] = _value(pair, value)
    return tree


def _value(pair: str, value: str) -> Any:
    if not value.startswith("{"):
        return value
    try:
        return json.loads(value)
    except json.JSONDecodeError as error:
        raise click.BadParameter(f"{pair!r} holds no JSON: {error}.") from error
