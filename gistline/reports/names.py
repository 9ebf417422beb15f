"""Find the names of cameras and classes in prose, and take them out of the way of its numbers."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass

_CODE = re.compile(r"`([^`\n]*)`")
_PRIVATE = re.compile("[\ue000-\uf8ff]")
_FIRST, _MOST = 0xE000, 0x1900
_WORD = r"[A-Za-z0-9_-]"


def shown(name: str) -> str:
    """A name as a report shows it: on one line, without backticks of its own."""
    return " ".join(name.replace("`", " ").split())


_WIDE = str.maketrans({chr(0xFF01 + place): chr(0x21 + place) for place in range(94) if chr(0x21 + place).isalnum()})
_COLON = re.compile("(?<=\\d)：(?=\\d)")


def normal(text: str) -> str:
    """Full-width digits, letters, per cent signs and the colons of times as plain ones; punctuation stays."""
    return _COLON.sub(":", text.translate(_WIDE).replace("％", "%"))


@dataclass(frozen=True, slots=True)
class Masked:
    """A text whose names are single private characters; ``names`` maps them back to what stood there."""

    text: str
    names: Mapping[str, str]

    def readable(self, part: str) -> str:
        """A part of the text with its names, on one line."""
        return " ".join(_PRIVATE.sub(lambda match: f"`{self.names[match[0]]}`", part).split())

    def found(self, part: str) -> list[str]:
        """Names in a part, as shown."""
        return [self.names[mask] for mask in _PRIVATE.findall(part)]


def mask(text: str, known: Iterable[str]) -> Masked:
    """Mask what stands in backticks, known or not, and the ``known`` names (as shown) that stand without."""
    text = normal(_PRIVATE.sub(" ", text))
    masks: dict[str, str] = {}

    def masked(name: str) -> str:
        if name not in masks and len(masks) < _MOST:
            masks[name] = chr(_FIRST + len(masks))
        return masks.get(name, " ")

    text = _CODE.sub(lambda match: masked(shown(match[1])), text)
    spelt = [(name, normal(name)) for name in sorted(known, key=len, reverse=True)]
    for name, written in spelt:
        if re.search(r"[^\W\d_]", written):
            text = re.sub(_bounded(written), lambda _, name=name: masked(name), text)  # type: ignore[misc]
    return Masked(text, {character: name for name, character in masks.items()})


def _bounded(name: str) -> str:
    """Not within a longer word; Chinese characters may stand next to a name without a space."""
    before = rf"(?<!{_WORD})" if re.match(_WORD, name) else ""
    after = rf"(?!{_WORD})" if re.search(f"{_WORD}$", name) else ""
    return f"{before}{re.escape(name)}{after}"
