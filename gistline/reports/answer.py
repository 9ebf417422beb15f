"""What a writer hands back, in the shape of the Messages API, and how it is read.

An answer is kept as the raw response body: it is booked before anything tries to understand it, and a report lost
between payment and storage is made again from it.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from enum import StrEnum
from typing import Protocol

from pydantic import BaseModel, ValidationError

from gistline.domain import TokenUsage
from gistline.errors import AnswerDeclined, AnswerUnusable
from gistline.reports.request import Request


class Outcome(StrEnum):
    """What one HTTP attempt came to: paid, refused (nothing was billed) or unknown (it may have been billed)."""

    PAID = "paid"
    REFUSED = "refused"
    UNKNOWN = "unknown"


@dataclass(frozen=True, slots=True)
class Attempt:
    """One HTTP attempt, as known when it ended. A paid one has ``usage`` and ``answer``, the raw response body.

    ``latency_s`` is the time from sending to the end of the answer, or to giving up; None where nothing was sent.
    """

    outcome: Outcome
    http_status: int | None = None
    request_id: str | None = None
    usage: TokenUsage | None = None
    answer: str | None = None
    error: str | None = None
    latency_s: float | None = None


@dataclass(frozen=True, slots=True)
class WrittenText:
    """What a model wrote and the tokens it took; ``cut_off`` when it ended at the output limit."""

    text: str
    usage: TokenUsage
    cut_off: bool


class Writer(Protocol):
    """Somebody who answers requests: the LLM, or its offline twin."""

    @property
    def name(self) -> str:
        """Short name that is stored with the report."""

    @property
    def model(self) -> str:
        """Model whose prices apply."""

    @property
    def simulated(self) -> bool:
        """Whether the tokens and costs are worked out, with nobody billed."""

    def write(self, request: Request, *, book: Callable[[Attempt], None]) -> str:
        """Answer, as a raw response body; ``book`` is called once for each HTTP attempt, before the answer is read.

        Raises:
            WriterFailed: no message came back; ``retryable`` says whether sending it again may help.

        """

    def count(self, request: Request, *, timeout_s: float) -> int | None:
        """Input tokens by the API's own free count; None where there is none, or not within ``timeout_s``."""

    def close(self) -> None:
        """Let go of connections."""


class _CacheCreation(BaseModel):
    ephemeral_5m_input_tokens: int = 0
    ephemeral_1h_input_tokens: int = 0


class _Usage(BaseModel):
    input_tokens: int
    output_tokens: int
    cache_read_input_tokens: int | None = None
    cache_creation_input_tokens: int | None = None
    cache_creation: _CacheCreation | None = None


class _Block(BaseModel):
    type: str
    text: str = ""


class _Body(BaseModel):
    """The fields of a Messages API response that a report needs; others are ignored."""

    content: list[_Block]
    stop_reason: str | None = None
    usage: _Usage


def read_usage(answer: str) -> TokenUsage | None:
    """Tokens that a response body bills, or None when it is no message of the API.

    Cache writes without a lifetime count as five-minute ones, which is the API's default.
    """
    try:
        usage = _Body.model_validate_json(answer).usage
    except ValidationError:
        return None
    default = _CacheCreation(ephemeral_5m_input_tokens=usage.cache_creation_input_tokens or 0)
    written = usage.cache_creation or default
    return TokenUsage(
        input_tokens=usage.input_tokens,
        output_tokens=usage.output_tokens,
        cache_read_tokens=usage.cache_read_input_tokens or 0,
        cache_write_5m_tokens=written.ephemeral_5m_input_tokens,
        cache_write_1h_tokens=written.ephemeral_1h_input_tokens,
    )


def read_text(answer: str) -> WrittenText:
    """Take the text out of a paid response body.

    Raises:
        AnswerUnusable: the body is no message of the API.
        AnswerDeclined: it holds no text, or the model declined to write.

    """
    usage = read_usage(answer)
    if usage is None:
        raise AnswerUnusable("The answer is no message of the Messages API.", cure="Check reports.base_url.")
    found = _Body.model_validate_json(answer)
    text = "\n\n".join(block.text for block in found.content if block.type == "text").strip()
    if found.stop_reason == "refusal" or not text:
        raise AnswerDeclined(f"The model wrote no report (stop reason {found.stop_reason!r}).")
    cut_off = found.stop_reason in {"max_tokens", "model_context_window_exceeded"}
    return WrittenText(text, usage, cut_off)
