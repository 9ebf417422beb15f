"""How the twin counts tokens: by a rule of its own, written down here, the same on every machine.

A text is cut into pieces: a word with the space before it (one token, and one more for every seven letters beyond the
first seven), up to three digits, up to two signs, white space, any other character. Their number is scaled by the
model's ``tokens_percent`` and is never more than the text's UTF-8 bytes. A request adds 3 tokens, each message 4; tools
and an output schema count as their JSON.
"""

from __future__ import annotations

import hashlib
import json
import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from gistline.simulator.messages_api.models import ModelCard

PER_REQUEST = 3
PER_MESSAGE = 4
_PIECE = re.compile(r" ?[A-Za-z]+| ?\d{1,3}|[\t\n ]+| ?[!-/:-@\[-`{-~]{1,2}|.", re.DOTALL)
_LETTERS = 7


@dataclass(frozen=True, slots=True)
class Block:
    """A part of a request in the order in which a cache sees it; ``lifetime`` is set where a breakpoint stands."""

    digest: bytes
    tokens: int
    lifetime: str | None


def count(text: str, card: ModelCard) -> int:
    """Tokens of a text."""
    pieces = sum(_weight(piece) for piece in _PIECE.findall(text))
    return min(-(-pieces * card.tokens_percent // 100), len(text.encode()))


def count_request(body: Mapping[str, Any], card: ModelCard) -> int:
    """Input tokens of a request."""
    return sum(block.tokens for block in blocks(body, card))


def clip(text: str, card: ModelCard, limit: int) -> str:
    """The longest beginning of ``text``, at a piece's end, that counts at most ``limit`` tokens."""
    ends = [match.end() for match in _PIECE.finditer(text)]
    low, high = 0, len(ends)
    while low < high:
        middle = (low + high + 1) // 2
        low, high = (middle, high) if count(text[: ends[middle - 1]], card) <= limit else (low, middle - 1)
    return text[: ends[low - 1]] if low else ""


def blocks(body: Mapping[str, Any], card: ModelCard) -> list[Block]:
    """A request's parts: tools, output schema, system, messages. Their tokens add up to the request's."""
    found = [_block(part, card, extra) for part, extra in _parts(body)]
    if body.get("cache_control") and found:  # a breakpoint at the end, without saying where
        last = found[-1]
        found[-1] = Block(last.digest, last.tokens, _lifetime(body))
    return found


def _parts(body: Mapping[str, Any]) -> Iterator[tuple[Mapping[str, Any], int]]:
    """Each part and the tokens that it takes beside its text."""
    extra = PER_REQUEST
    schema = (body.get("output_config") or {}).get("format")
    for part in [*(body.get("tools") or ()), *([schema] if schema else [])]:
        yield part, extra
        extra = 0
    for part in as_blocks(body.get("system") or []):
        yield part, extra
        extra = 0
    for message in body["messages"]:
        extra += PER_MESSAGE
        for part in as_blocks(message["content"]):
            yield {**part, "role": message["role"]}, extra
            extra = 0


def as_blocks(content: str | list[Mapping[str, Any]]) -> list[Mapping[str, Any]]:
    """Content in its long form."""
    return [{"type": "text", "text": content}] if isinstance(content, str) else content


def _block(part: Mapping[str, Any], card: ModelCard, extra: int) -> Block:
    plain = {key: value for key, value in part.items() if key != "cache_control"}
    written = json.dumps(plain, ensure_ascii=False, sort_keys=True, separators=(",", ":"))
    text = str(part["text"]) if part.get("type") == "text" else written
    return Block(hashlib.sha256(written.encode()).digest(), count(text, card) + extra, _lifetime(part))


def _lifetime(part: Mapping[str, Any]) -> str | None:
    control = part.get("cache_control")
    return None if control is None else str(control.get("ttl", "5m"))


def _weight(piece: str) -> int:
    letters = len(piece.strip())
    return 1 + (letters - 1) // _LETTERS if letters > _LETTERS else 1
