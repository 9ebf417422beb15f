"""The page's languages: one TOML file each, the same keys in all of them (a test compares them)."""

from __future__ import annotations

import tomllib
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from functools import cache
from importlib.resources import files
from typing import Any, Final

LANGUAGES: Final[Mapping[str, str]] = {"en": "English", "zh": "中文"}
"""Each with its own name for itself."""
DEFAULT: Final = "en"


@dataclass(frozen=True, slots=True)
class Words:
    """Texts of one language."""

    language: str
    texts: Mapping[str, str]

    def __call__(self, key: str, **values: object) -> str:
        """Text of a key, with its places filled.

        Raises:
            KeyError: there is no such text, or a place has no value: both are slips of a template.

        """
        text = self.texts[key]
        return text.format(**values) if values else text


@cache
def words_of(language: str) -> Words:
    """Texts of one of :data:`LANGUAGES`."""
    source = files(__package__).joinpath("words", f"{language}.toml").read_text("utf-8")
    return Words(language, dict(_flat(tomllib.loads(source))))


def choose(accepted: str) -> str:
    """The language that a browser likes best (header ``Accept-Language``) of those that we have."""
    wishes: list[tuple[float, int, str]] = []
    for place, item in enumerate(accepted.split(",")[:20]):
        tag, _, rest = item.strip().partition(";")
        wishes.append((-_weight(rest), place, tag.split("-")[0].lower()))
    return next((tag for weight, _, tag in sorted(wishes) if weight < 0 and tag in LANGUAGES), DEFAULT)


def _weight(parameter: str) -> float:
    name, _, value = parameter.strip().partition("=")
    try:
        return float(value) if name.strip() == "q" else 1.0
    except ValueError:
        return 0.0


def _flat(tree: Mapping[str, Any], prefix: str = "") -> Iterator[tuple[str, str]]:
    for name, value in tree.items():
        if isinstance(value, Mapping):
            yield from _flat(value, f"{prefix}{name}.")
        else:
            yield prefix + name, value
