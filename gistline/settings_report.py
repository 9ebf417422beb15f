"""The settings tree, described: every knob with its bounds, where its value came from, and how to hand it on."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from enum import Enum, StrEnum
from pathlib import Path
from typing import Any, Literal, get_args, get_origin
from urllib.parse import unquote, urlsplit

from annotated_types import Ge, Le
from pydantic import BaseModel, SecretStr
from pydantic.fields import FieldInfo
from pydantic_settings import TomlConfigSettingsSource

from gistline.settings import Settings, config_path
from gistline.settings_base import Environment

MASK = "***"


class Origin(StrEnum):
    """Which source gave a setting its value."""

    DEFAULT = "default"
    FILE = "file"
    ENVIRONMENT = "environment"
    ARGUMENT = "argument"


@dataclass(frozen=True, slots=True)
class Knob:
    """One setting as a reader sees it. ``value`` and ``default`` are plain JSON types; secrets show as ``***``.

    ``allowed`` says the bounds or choices in words (``"1 to 100"``, ``"int8, fp32"``), empty where anything goes.
    """

    name: str
    variable: str
    value: Any
    default: Any
    unit: str
    allowed: str
    origin: Origin
    sentence: str
    secret: bool


def describe(settings: Settings, arguments: Mapping[str, Any] | None = None) -> list[Knob]:
    """Every setting in the order of the tree; ``arguments`` are the overrides that ``settings`` was loaded with."""
    sources: dict[Origin, Mapping[str, Any]] = {
        Origin.ARGUMENT: arguments or {},
        Origin.ENVIRONMENT: Environment(Settings)(),
        Origin.FILE: TomlConfigSettingsSource(Settings, toml_file=config_path())(),
    }
    return [_knob(path, field, raw, sources=sources) for path, field, raw in _leaves(settings)]


def as_environment(settings: Settings) -> dict[str, str]:
    """Environment variables that give a child process exactly these settings, secrets in the clear.

    All are named, not only those that differ from their default: the child may read a file that says otherwise.
    """
    return {_variable(path): _as_text(_plain(raw, reveal=True)) for path, _, raw in _leaves(settings)}


def secrets_of(settings: Settings) -> set[str]:
    """Every secret in the clear, and the passwords within URLs: what no log may show."""
    found = {str(_plain(raw, reveal=True)) for _, _, raw in _leaves(settings) if isinstance(raw, SecretStr)} - {""}
    passwords = {urlsplit(one).password or "" for one in found if "://" in one}
    return found | passwords | {unquote(one) for one in passwords} - {""}


def as_toml(knobs: list[Knob]) -> str:
    """A ``gistline.toml`` that explains every setting; defaults and secrets are commented out."""
    lines: list[str] = []
    tables: dict[str, list[Knob]] = {}
    for knob in knobs:
        tables.setdefault(knob.name.rpartition(".")[0], []).append(knob)
    for table, members in tables.items():
        lines += [f"[{table}]"] if table else []
        for knob in members:
            lines += [*_toml_entry(knob), ""]
    return "\n".join(lines)


def _leaves(section: BaseModel, path: tuple[str, ...] = ()) -> Iterator[tuple[tuple[str, ...], FieldInfo, Any]]:
    # Plain settings come before sections, as TOML wants it.
    fields = sorted(
        type(section).model_fields.items(), key=lambda item: isinstance(getattr(section, item[0]), BaseModel)
    )
    for name, field in fields:
        value = getattr(section, name)
        if isinstance(value, BaseModel):
            yield from _leaves(value, (*path, name))
        else:
            yield (*path, name), field, value


def _knob(path: tuple[str, ...], field: FieldInfo, raw: Any, *, sources: Mapping[Origin, Mapping[str, Any]]) -> Knob:
    extra = field.json_schema_extra if isinstance(field.json_schema_extra, dict) else {}
    return Knob(
        name=".".join(path),
        variable=_variable(path),
        value=_plain(raw),
        default=_plain(field.get_default(call_default_factory=True, validated_data={})),
        unit=str(extra.get("unit", "")),
        allowed=_allowed(field),
        origin=next((origin for origin, given in sources.items() if _names(given, path)), Origin.DEFAULT),
        sentence=field.description or "",
        secret=isinstance(raw, SecretStr),
    )


def _variable(path: tuple[str, ...]) -> str:
    return "GISTLINE_" + "__".join(path).upper()


def _names(given: Any, path: tuple[str, ...]) -> bool:
    """Whether a source's nested answer gives this setting (or, for a table such as severities, a part of it)."""
    for part in path:
        if not isinstance(given, Mapping) or part not in given:
            return False
        given = given[part]
    return True


def _allowed(field: FieldInfo) -> str:
    if get_origin(field.annotation) is Literal:
        return ", ".join(map(str, get_args(field.annotation)))
    if isinstance(field.annotation, type) and issubclass(field.annotation, Enum):
        return ", ".join(str(member.value) for member in field.annotation)
    low = next((str(bound.ge) for bound in field.metadata if isinstance(bound, Ge)), "")
    high = next((str(bound.le) for bound in field.metadata if isinstance(bound, Le)), "")
    return f"{low} to {high}" if low or high else ""


def _plain(value: Any, *, reveal: bool = False) -> Any:
    """Numbers, text, truth values and tables as JSON knows them; a secret that is set shows as a mask."""
    if isinstance(value, SecretStr):
        secret = value.get_secret_value()
        return secret if reveal or not secret else MASK
    if isinstance(value, Enum):
        return value.value
    return str(value) if isinstance(value, Path) else value


def _as_text(value: Any) -> str:
    return value if isinstance(value, str) else json.dumps(value)


def _toml_entry(knob: Knob) -> list[str]:
    facts = [knob.unit, knob.allowed, knob.variable]
    entry = f"{knob.name.rpartition('.')[2]} = {_toml_value(knob.value)}"
    live = knob.value != knob.default and not knob.secret
    return [f"# {knob.sentence}", f"# ({'; '.join(fact for fact in facts if fact)})", entry if live else f"# {entry}"]


def _toml_value(value: Any) -> str:
    """JSON's numbers, truth values and strings are TOML's too; a table goes on one line."""
    if isinstance(value, Mapping):
        return "{ " + ", ".join(f"{json.dumps(key)} = {_toml_value(item)}" for key, item in value.items()) + " }"
    return json.dumps(value)
