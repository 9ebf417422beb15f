"""Messages and errors in the API's shapes, whole or as a stream of server-sent events."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any

from gistline.domain import TokenUsage
from gistline.simulator.messages_api.replies import ERROR_TYPES

DELTA = 40
"""Characters in one piece of a streamed text."""


@dataclass(frozen=True, slots=True)
class Answer:
    """What goes back over HTTP: after ``hang_s``, ``payload`` whole or its parts one by one; ``drop``: nothing at all.

    ``cut`` closes the connection after that share of the payload.
    """

    status: int
    payload: bytes = b""
    content_type: str = "application/json"
    headers: Mapping[str, str] = field(default_factory=dict)
    parts: tuple[bytes, ...] = ()
    hang_s: float = 0.0
    drop: bool = False
    cut: float | None = None


def json_answer(status: int, content: Any, headers: Mapping[str, str] | None = None) -> Answer:
    """An answer that holds JSON."""
    return Answer(status, json.dumps(content, ensure_ascii=False).encode(), headers=headers or {})


def error_body(status: int, message: str, *, code: str = "", request_id: str | None = None) -> dict[str, Any]:
    """An error as the API writes it; ``code`` is its machine-readable cause."""
    error: dict[str, Any] = {"type": ERROR_TYPES.get(status, "api_error"), "message": message}
    if code:
        error["details"] = {"error_code": code}
    return {"type": "error", "error": error, "request_id": request_id}


def usage_body(usage: TokenUsage, tier: str) -> dict[str, Any]:
    """Tokens as the API reports them: ``input_tokens`` is what was neither read from a cache nor written to one."""
    return {
        "input_tokens": usage.input_tokens,
        "cache_creation_input_tokens": usage.cache_write_5m_tokens + usage.cache_write_1h_tokens,
        "cache_read_input_tokens": usage.cache_read_tokens,
        "cache_creation": {
            "ephemeral_5m_input_tokens": usage.cache_write_5m_tokens,
            "ephemeral_1h_input_tokens": usage.cache_write_1h_tokens,
        },
        "output_tokens": usage.output_tokens,
        "service_tier": tier,
    }


def read_usage(body: Mapping[str, Any]) -> TokenUsage:
    """Back from what :func:`usage_body` writes, or from scripted usage that says less."""
    written = body.get("cache_creation") or {
        "ephemeral_5m_input_tokens": body.get("cache_creation_input_tokens") or 0,
        "ephemeral_1h_input_tokens": 0,
    }
    return TokenUsage(
        input_tokens=body["input_tokens"],
        output_tokens=body["output_tokens"],
        cache_read_tokens=body.get("cache_read_input_tokens") or 0,
        cache_write_5m_tokens=written["ephemeral_5m_input_tokens"],
        cache_write_1h_tokens=written["ephemeral_1h_input_tokens"],
    )


def as_events(message: Mapping[str, Any]) -> tuple[bytes, ...]:
    """A message as the server-sent events of a stream."""
    return tuple(f"event: {event['type']}\ndata: {json.dumps(event)}\n\n".encode() for event in _events(message))


def _events(message: Mapping[str, Any]) -> Iterator[dict[str, Any]]:
    started = {**message["usage"], "output_tokens": 1}
    opening = {**message, "content": [], "stop_reason": None, "stop_sequence": None, "usage": started}
    yield {"type": "message_start", "message": opening}
    for index, block in enumerate(message["content"]):
        yield {"type": "content_block_start", "index": index, "content_block": {"type": "text", "text": ""}}
        yield {"type": "ping"}
        text = block["text"]
        for start in range(0, len(text), DELTA):
            piece = {"type": "text_delta", "text": text[start : start + DELTA]}
            yield {"type": "content_block_delta", "index": index, "delta": piece}
        yield {"type": "content_block_stop", "index": index}
    ended = {"stop_reason": message["stop_reason"], "stop_sequence": None}
    yield {"type": "message_delta", "delta": ended, "usage": dict(message["usage"])}
    yield {"type": "message_stop"}
