"""Count tokens without a network: an estimate, and a ceiling that may be promised.

The estimate is tiktoken's cl100k_base. It is not Claude's tokenizer, whose counts were 0.93 to 1.57 times as high
depending on model and language, so no promise is made from it. The ceiling is ``1.25 x UTF-8 bytes + 16``, which 2,242
recorded counts of the API never exceeded; a window's token budget is held by the ceiling.
"""

from __future__ import annotations

import base64
import hashlib
from dataclasses import dataclass
from functools import cache
from importlib import resources
from types import FunctionType
from typing import Any

import tiktoken
from tiktoken_ext import openai_public  # type: ignore[import-untyped]

from gistline.errors import SettingsError

RANKS = "cl100k_base.tiktoken"


@dataclass(frozen=True, slots=True)
class Ceiling:
    """An upper bound of tokens that grows linearly with UTF-8 bytes: ``ceil(tokens / bytes_ x n) + frame``.

    Being linear, it lets texts be packed by their bytes, whose sums are exact.
    """

    tokens: int
    bytes_: int
    frame: int

    def __call__(self, text: str) -> int:
        """Tokens that a request holding ``text`` will at most count."""
        return self.of_bytes(len(text.encode()))

    def of_bytes(self, count: int) -> int:
        """The same for a text of ``count`` UTF-8 bytes."""
        return -(-self.tokens * count // self.bytes_) + self.frame

    def bytes_within(self, budget: int) -> int:
        """Most UTF-8 bytes whose bound is at most ``budget`` tokens; negative when not even an empty text's is."""
        return (budget - self.frame) * self.bytes_ // self.tokens


ceiling = Ceiling(tokens=5, bytes_=4, frame=16)
"""Tokens that a Claude model will at most count for a request holding a text: ``ceil(1.25 x bytes) + 16``."""


class TokenCounter:
    """Counts with cl100k_base from the rank file in this package, which a process reads once.

    Raises:
        SettingsError: the rank file is not the one that tiktoken pins.

    """

    def __init__(self) -> None:
        self._encoding = _encoding()

    def estimate(self, text: str) -> int:
        """Tokens of ``text`` in cl100k_base; text that looks like a control token counts as plain text."""
        return len(self._encoding.encode_ordinary(text))


@cache
def _encoding() -> tiktoken.Encoding:
    return tiktoken.Encoding(**_recipe())


def _recipe() -> dict[str, Any]:
    """Run tiktoken's own constructor of cl100k_base, with our reader in place of its downloading one.

    So the pattern, the special tokens and the pinned digest are tiktoken's, whatever its version, and neither the
    network nor its cache folder is touched.
    """
    names = {**vars(openai_public), "load_tiktoken_bpe": _read_ranks}
    recipe: dict[str, Any] = FunctionType(openai_public.cl100k_base.__code__, names)()
    return recipe


def _read_ranks(_address: str, expected_hash: str) -> dict[bytes, int]:
    raw = (resources.files("gistline.reports") / "data" / RANKS).read_bytes()
    found = hashlib.sha256(raw).hexdigest()
    if found != expected_hash:
        raise SettingsError(
            f"The token ranks {RANKS} have SHA-256 {found}; tiktoken pins {expected_hash}.",
            cure="Install the package again, or the tiktoken version that it was built with.",
        )
    pairs = (line.split() for line in raw.splitlines() if line)
    return {base64.b64decode(token): int(rank) for token, rank in pairs}
