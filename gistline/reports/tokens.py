"""Count tokens without a network: an estimate, and two bounds that may be promised.

The estimate is tiktoken's cl100k_base. It is not Claude's tokenizer, whose counts were 0.93 to 1.57 times as high
depending on model and language, so no promise is made from it. The ceiling is ``1.25 x UTF-8 bytes + 16``, which 2,242
recorded counts of the API never exceeded. A closer bound is learned from what requests of one model, template and
language were billed: :class:`Learned`. Both grow with bytes, so that texts can be packed by their bytes.
"""

from __future__ import annotations

import base64
import hashlib
import math
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from functools import cache
from importlib import resources
from statistics import fmean, linear_regression
from types import FunctionType
from typing import Any, Protocol

import tiktoken
from tiktoken_ext import openai_public  # type: ignore[import-untyped]

from gistline.errors import SettingsError

RANKS = "cl100k_base.tiktoken"

SCHEMA_TOKENS = 500
"""The API tells the model of an answer's schema in words of its own, which are billed; this bounds them, we guess."""

TRUSTED = 20
"""Samples from which a learned bound is trusted."""

KEPT = 200
"""Latest samples that a bound is learned from, so that it follows a tokenizer that changes."""

_SPREAD = 0.1
"""Sizes closer together than this share of their mean say nothing of a slope."""

MARGIN = 0.05
"""What a learned bound adds to the greatest excess over its line that was ever seen. For one template the highest ratio
of tokens to bytes was 0.05 to 2.3 % above the mean, so this is twice what chance was seen to do."""

DRIFT = 0.03
"""Share by which a measured count may differ from what was expected before that is an alarm."""


class Bound(Protocol):
    """An upper bound of a request's input tokens that never falls when its text grows."""

    def __call__(self, text: str) -> int:
        """Tokens that a request holding ``text`` will at most count."""

    def of_bytes(self, count: int) -> int:
        """The same for a text of ``count`` UTF-8 bytes."""

    def bytes_within(self, budget: int) -> int:
        """Most UTF-8 bytes whose bound is at most ``budget`` tokens; negative when not even an empty text's is."""


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

schema_ceiling = Ceiling(tokens=5, bytes_=4, frame=16 + SCHEMA_TOKENS)
"""The same for a request that asks for an answer of a schema; the schema is part of the text."""


@dataclass(frozen=True, slots=True)
class Sample:
    """What a request of some bytes was billed as input."""

    bytes_: int
    tokens: int


@dataclass(frozen=True, slots=True)
class Learned:
    """A line through recorded requests, raised above all of them and by :data:`MARGIN`.

    It holds between ``least`` and ``most`` bytes. Shorter texts get the bound of ``least``; what is longer than
    ``most`` is counted by the byte ceiling, so that a larger window than any before is no risk. It is never above the
    ceiling itself.
    """

    slope: float
    base: float
    least: int
    most: int
    excess: float
    samples: int

    def __call__(self, text: str) -> int:
        """See :class:`Bound`."""
        return self.of_bytes(len(text.encode()))

    def of_bytes(self, count: int) -> int:
        """See :class:`Bound`."""
        beyond = max(0, count - self.most)
        raised = self._line(count) * (1 + self.excess + MARGIN)
        return min(schema_ceiling.of_bytes(count), math.ceil(raised) + -(-5 * beyond // 4))

    def expected(self, count: int) -> float | None:
        """Tokens by the line itself, None outside of the bytes that it was drawn through."""
        return self._line(count) if self.least <= count <= self.most else None

    def bytes_within(self, budget: int) -> int:
        """See :class:`Bound`; found by halving, since the bound never falls."""
        low, high = -1, self.most + max(0, budget)
        while low < high:
            middle = (low + high + 1) // 2
            low, high = (middle, high) if self.of_bytes(middle) <= budget else (low, middle - 1)
        return low

    def _line(self, count: int) -> float:
        return self.base + self.slope * min(max(count, self.least), self.most)


def bound_json(bound: Bound) -> dict[str, float | int] | None:
    """A bound as plain numbers, to be kept; None for the ceiling."""
    return asdict(bound) if isinstance(bound, Learned) else None


def bound_from(kept: Mapping[str, Any] | None) -> Bound:
    """The bound that :func:`bound_json` was given."""
    return schema_ceiling if kept is None else Learned(**kept)


def learn(samples: Sequence[Sample]) -> Learned | None:
    """The bound that the latest samples teach, None before there are :data:`TRUSTED`."""
    if len(samples) < TRUSTED:
        return None
    sizes = [float(one.bytes_) for one in samples]
    tokens = [float(one.tokens) for one in samples]
    mean, height = fmean(sizes), fmean(tokens)
    slope, base = height / mean, 0.0
    if max(sizes) - min(sizes) > _SPREAD * mean:
        fitted = linear_regression(sizes, tokens)
        if fitted.slope >= 0 and fitted.intercept + fitted.slope * min(sizes) > 0:
            slope, base = fitted.slope, fitted.intercept
    excess = max(count / (base + slope * size) for size, count in zip(sizes, tokens, strict=True)) - 1
    return Learned(slope, base, int(min(sizes)), int(max(sizes)), max(0.0, excess), len(samples))


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
