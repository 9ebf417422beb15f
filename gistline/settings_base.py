"""What every section of the settings is made of, and the environment as a source that also reads secrets from files."""

from __future__ import annotations

import os
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any
from urllib.parse import quote, unquote, urlsplit, urlunsplit

from pydantic import BaseModel, ConfigDict, Field, SecretStr
from pydantic.fields import FieldInfo
from pydantic_settings import EnvSettingsSource

from gistline.errors import SettingsError

PREFIX = "GISTLINE_"
FILE = "_FILE"
"""A secret's variable with this ending names a file that holds it, as container engines mount them."""


def knob(
    default: Any, sentence: str, *, unit: str = "", ge: float | None = None, le: float | None = None, **more: Any
) -> Any:
    """Declare one setting: its default, what it means, its unit and its bounds (both inclusive)."""
    return Field(default, description=sentence, ge=ge, le=le, json_schema_extra={"unit": unit}, **more)


class Section(BaseModel):
    """A group of settings; unknown names are errors, so that a typo is not silently a default."""

    model_config = ConfigDict(frozen=True, extra="forbid")


class Environment(EnvSettingsSource):
    """``GISTLINE_*`` variables; a secret's may end in ``_FILE`` and name a file, whose last line break is dropped."""

    def _load_env_vars(self) -> Mapping[str, str | None]:
        secrets = set(secret_variables(self.settings_cls))
        given = super()._load_env_vars()
        read = {name: _read(variable, path) for name, variable, path in secret_files(secrets)}
        for name in read:
            if given.get(name.lower()):
                raise SettingsError(
                    f"{name} and {name}{FILE} are both set.", cure="Keep one: the value or the file that holds it."
                )
        files = {f"{name}{FILE}".lower() for name in secrets}
        kept = {name: value for name, value in given.items() if name not in files}
        return kept | {name.lower(): value for name, value in read.items()}


def secret_variables(section: type[BaseModel], prefix: str = PREFIX) -> Iterator[str]:
    """Names of the variables that hold a secret, in capitals, with those that only an alias has."""
    for name, field in section.model_fields.items():
        kind = field.annotation
        if kind is SecretStr:
            yield f"{prefix}{name.upper()}"
            yield from _aliases(field)
        elif isinstance(kind, type) and issubclass(kind, BaseModel):
            yield from secret_variables(kind, f"{prefix}{name.upper()}__")


def secret_files(secrets: set[str]) -> Iterator[tuple[str, str, str]]:
    """``(secret's variable, variable that names its file, path)`` for each that is set and not empty."""
    for variable, path in os.environ.items():
        name = variable.upper().removesuffix(FILE)
        if variable.upper().endswith(FILE) and name in secrets and path:
            yield name, variable, path


def with_password(section: Any) -> Any:
    """Put a section's ``password`` into its ``url``, unless that has the same one already.

    Raises:
        ValueError: the URL has another password.

    """
    if not isinstance(section, Mapping):
        return section
    url, password = _clear(section.get("url")), _clear(section.get("password"))
    if not (url and password) or not isinstance(url, str):
        return section
    parts = urlsplit(url)
    if parts.password is not None and unquote(parts.password) != password:
        raise ValueError("url and password hold two different passwords; leave one of them out")
    if parts.password is not None:
        return section
    user, _, host = parts.netloc.rpartition("@")
    netloc = f"{user}:{quote(password, safe='')}@{host}"
    return {**section, "url": SecretStr(urlunsplit(parts._replace(netloc=netloc)))}


def _clear(value: Any) -> Any:
    return value.get_secret_value() if isinstance(value, SecretStr) else value


def _aliases(field: FieldInfo) -> Iterator[str]:
    choices = getattr(field.validation_alias, "choices", ())
    yield from {str(one).upper() for one in choices if str(one).isupper()}


def _read(variable: str, path: str) -> str:
    try:
        return Path(path).read_text().removesuffix("\n").removesuffix("\r")
    except (OSError, UnicodeDecodeError) as error:
        raise SettingsError(
            f"{variable} names {path}, which cannot be read: {getattr(error, 'strerror', None) or 'no text'}.",
            cure="Mount the secret there, readable for the user that the process runs as.",
        ) from error
