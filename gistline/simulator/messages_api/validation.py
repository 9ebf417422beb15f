"""What a client can get wrong, refused as the API refuses it; and what the twin does not know, said aloud."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from typing import Any

from gistline.simulator.messages_api.models import find_model, known_models
from gistline.simulator.messages_api.tokens import as_blocks, count_request

Mistake = tuple[int, str]
"""HTTP status and message."""

BATCH_ITEMS = 100_000
BATCH_BYTES = 256 * 1024 * 1024
REQUEST_BYTES = 32 * 1024 * 1024
BREAKPOINTS = 4

_CUSTOM_ID = re.compile(r"[a-zA-Z0-9_-]{1,64}")
_COUNTED = frozenset(
    {"model", "messages", "system", "cache_control", "output_config", "thinking", "tool_choice", "tools", "speed"}
)
_CREATED = _COUNTED | {
    "max_tokens",
    "metadata",
    "stream",
    "stop_sequences",
    "service_tier",
    "inference_geo",
    "container",
}
_UNKNOWN_HERE = {"tools", "thinking", "container"}


def wrong_headers(headers: Mapping[str, str]) -> Mistake | None:
    """A key must be there, whatever it is, and the API's version."""
    if not headers.get("authorization") and not headers.get("x-api-key"):
        return 401, "no key: send 'x-api-key' or 'authorization'"
    if not headers.get("anthropic-version"):
        return 400, "anthropic-version: header is required"
    return None


def wrong_call(body: Any, *, counting: bool = False) -> Mistake | None:
    """What is wrong with the body of a call, or of a count of its tokens."""
    if not isinstance(body, dict):
        return 400, "the body must be a JSON object"
    return next(_mistakes(body, counting=counting), None)


def wrong_batch(body: Any, size: int) -> Mistake | None:
    """What is wrong with a batch as a whole; a mistake within one item fails that item alone, later."""
    items = body.get("requests") if isinstance(body, dict) else None
    if not isinstance(items, list) or not items:
        return 400, "requests: a list with at least one request is required"
    if len(items) > BATCH_ITEMS or size > BATCH_BYTES:
        return 413, f"a batch takes {BATCH_ITEMS} requests and 256 MB; this one has {len(items)} and {size} bytes"
    if not all(isinstance(item, dict) and isinstance(item.get("params"), dict) for item in items):
        return 400, "requests: each needs custom_id and params"
    ids = [str(item.get("custom_id", "")) for item in items]
    wrong = next((one for one in ids if not _CUSTOM_ID.fullmatch(one)), None)
    if wrong is not None:
        return 400, f"requests: custom_id {wrong!r} is not 1 to 64 letters, digits, '_' or '-'"
    return (400, "requests: custom_id must be unique in a batch") if len(set(ids)) < len(ids) else None


def _mistakes(body: Mapping[str, Any], *, counting: bool) -> Iterator[Mistake]:
    needed = ["model", "messages"] if counting else ["model", "messages", "max_tokens"]
    if missing := [key for key in needed if key not in body]:
        yield 400, f"missing: {', '.join(missing)}"
    for key in sorted(set(body) - (_COUNTED if counting else _CREATED)):
        yield 400, f"{key}: Extra inputs are not permitted"
    for key in sorted(_UNKNOWN_HERE & set(body)):
        yield 400, f"{key}: the twin knows text and structured output only"
    card = find_model(str(body["model"]))
    if card is None:
        yield 404, f"model: {body['model']} (the twin knows {', '.join(known_models())})"
        return
    if not counting and (not isinstance(body["max_tokens"], int) or body["max_tokens"] < 1):
        yield 400, "max_tokens: must be a whole number of at least 1"
    yield from _wrong_messages(body)
    yield from _wrong_cache(body)
    yield from _wrong_format(body)
    tokens = count_request(body, card)
    if tokens > card.context:
        yield 400, f"prompt is too long: {tokens} tokens > {card.context} maximum"


def _wrong_messages(body: Mapping[str, Any]) -> Iterator[Mistake]:
    messages = body["messages"]
    if not isinstance(messages, list) or not messages:
        yield 400, "messages: at least one message is required"
        return
    for place, message in enumerate(messages):
        if not isinstance(message, dict) or message.get("role") not in ("user", "assistant"):
            yield 400, f"messages.{place}.role: must be 'user' or 'assistant'"
            return
        yield from _wrong_content(message.get("content"), f"messages.{place}.content")
    if messages[0]["role"] != "user":
        yield 400, "messages: first message must use the 'user' role"
    if body.get("system") is not None:
        yield from _wrong_content(body["system"], "system")


def _wrong_content(content: Any, where: str) -> Iterator[Mistake]:
    if not isinstance(content, str | list) or not content:
        yield 400, f"{where}: text or a list of text blocks is required"
        return
    for place, part in enumerate(as_blocks(content)):
        if not isinstance(part, dict) or part.get("type") != "text":
            yield 400, f"{where}.{place}: the twin knows blocks of type 'text' only"
        elif not part.get("text"):
            yield 400, f"{where}.{place}: text content blocks must be non-empty"


def _wrong_cache(body: Mapping[str, Any]) -> Iterator[Mistake]:
    marks = [body["cache_control"]] if body.get("cache_control") else []
    contents = [body.get("system") or [], *(message["content"] for message in body["messages"])]
    for content in contents:
        marks += [part["cache_control"] for part in as_blocks(content) if part.get("cache_control")]
    if len(marks) > BREAKPOINTS:
        yield 400, f"cache_control: at most {BREAKPOINTS} breakpoints, found {len(marks)}"
    lifetimes = [mark.get("ttl", "5m") if isinstance(mark, dict) else None for mark in marks]
    if any(mark.get("type") != "ephemeral" for mark in marks if isinstance(mark, dict)) or set(lifetimes) - {
        "5m",
        "1h",
    }:
        yield 400, "cache_control: type must be 'ephemeral', ttl '5m' or '1h'"
    explicit = lifetimes[1:] if body.get("cache_control") else lifetimes
    if explicit != sorted(explicit, key=str):
        yield 400, "cache_control: a ttl of '1h' must not come after one of '5m'"


def _wrong_format(body: Mapping[str, Any]) -> Iterator[Mistake]:
    wanted = (body.get("output_config") or {}).get("format")
    if wanted is None:
        return
    if wanted.get("type") != "json_schema" or not isinstance(wanted.get("schema"), dict):
        yield 400, "output_config.format: needs type 'json_schema' and a schema"
    elif path := _open_object(wanted["schema"], "schema"):
        yield (
            400,
            f"output_config.format.{path}: For 'object' type, 'additionalProperties' must be explicitly set to false",
        )


def _open_object(schema: Any, path: str) -> str | None:
    """Where a schema has an object that takes further properties; the API compiles closed ones only."""
    if isinstance(schema, list):
        found = (_open_object(item, f"{path}.{place}") for place, item in enumerate(schema))
        return next((one for one in found if one), None)
    if not isinstance(schema, dict):
        return None
    if schema.get("type") == "object" and schema.get("additionalProperties") is not False:
        return path
    found = (_open_object(item, f"{path}.{key}") for key, item in schema.items() if key not in ("enum", "const"))
    return next((one for one in found if one), None)
