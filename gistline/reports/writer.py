"""The report writer that asks Claude. Nothing else in the product imports the Anthropic SDK, and only when it is used.

The SDK's own retries are off: each call is one HTTP request, so that each has its row in the ledger and a retry is
decided by whoever owns the window.
"""

from __future__ import annotations

import logging
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import replace
from typing import TYPE_CHECKING, Any

from gistline.errors import SettingsError, SpendLimitReached, WriterFailed, WriterRefused
from gistline.reports.answer import Attempt, Outcome, Writer, read_usage
from gistline.reports.batches import AnthropicBatches, BatchProvider
from gistline.reports.offline import OfflineWriter
from gistline.reports.request import Request
from gistline.settings import ReportSettings, Settings

if TYPE_CHECKING:
    import anthropic
    from anthropic import APIResponse, CallNext

log = logging.getLogger(__name__)

RETRYABLE = frozenset({408, 409, 429})
"""Client errors that may pass when sent again; every 5xx may."""

LONGEST_ASKED_S = 3600.0
"""Longest wait that an answer may ask for."""

LONGEST_STOP_S = 86_400.0
"""The same where a limit of spending is reached."""

PAYMENT_REQUIRED = 402
SPEND_LIMIT = "spend_limit_reached"
"""How the codes of a 429 or 402 end that says that a limit of spending is reached, not one of requests."""

NOT_BILLED = frozenset({503, 529})
"""Server errors that say that the request was never taken on; other 5xx may hide a finished, billed answer."""


def open_writer(settings: Settings) -> Writer:
    """Open the writer that the settings name; ``auto`` asks the LLM when there is a key, and works offline without.

    Raises:
        SettingsError: ``anthropic`` is asked for and there is no key.

    """
    key = settings.anthropic_api_key.get_secret_value()
    chosen = settings.reports.writer
    if chosen == "offline" or (chosen == "auto" and not key):
        return OfflineWriter(settings.reports)
    if not key:
        raise SettingsError(
            "reports.writer is 'anthropic' and there is no key.",
            cure="Set ANTHROPIC_API_KEY, or reports.writer to 'offline'.",
        )
    return AnthropicWriter(key, settings.reports)


class AnthropicWriter:
    """Writes by one call of the Messages API."""

    name = "anthropic"
    simulated = False

    def __init__(self, key: str, settings: ReportSettings) -> None:
        import anthropic

        self.model = settings.model
        self._client = anthropic.Anthropic(
            api_key=key, base_url=settings.base_url or None, timeout=settings.timeout_s, max_retries=0
        )

    def write(self, request: Request, *, book: Callable[[Attempt], None]) -> str:
        """Send the request once; see :class:`Writer`."""
        client = self._client.with_middleware(_booking(book))
        with _failing():
            response = client.messages.with_raw_response.create(**message_params(request, self.model))
        if read_usage(response.text()) is None:
            raise WriterFailed("The Messages API answered 200 with a body that is none of its messages.", unknown=True)
        return response.text()

    def count(self, request: Request, *, timeout_s: float) -> int | None:
        """Ask the API's free count once; whatever goes wrong there must not keep a report from being written."""
        import anthropic

        params = message_params(request, self.model)
        del params["max_tokens"]
        try:
            return self._client.messages.count_tokens(**params, timeout=timeout_s).input_tokens
        except anthropic.APIError as error:
            log.info("no token count: %s", _cause(error))
            return None

    @property
    def batches(self) -> BatchProvider:
        """The way for requests that may wait."""
        return AnthropicBatches(self._client, _failing)

    def close(self) -> None:
        """Close the connections."""
        self._client.close()


def open_batches(writer: Writer) -> BatchProvider | None:
    """The writer's way for requests that may wait, None where it has none."""
    return writer.batches if isinstance(writer, AnthropicWriter) else None


def message_params(request: Request, model: str) -> dict[str, Any]:
    """The body of a request to the Messages API."""
    params: dict[str, Any] = {
        "model": model,
        "max_tokens": request.max_tokens,
        "system": _system(request),
        "messages": [{"role": "user", "content": request.user}],
    }
    if request.schema is not None:
        params["output_config"] = {"format": {"type": "json_schema", "schema": dict(request.schema)}}
    return params


def _system(request: Request) -> str | list[dict[str, Any]]:
    """A breakpoint behind the system prompt keeps it and the answer's schema, which the API puts before it."""
    if request.cache is None:
        return request.system
    control = {"type": "ephemeral"} | ({} if request.cache == "5m" else {"ttl": request.cache})
    return [{"type": "text", "text": request.system, "cache_control": control}]


@contextmanager
def _failing() -> Iterator[None]:
    """Raise the SDK's errors as ours; those too that it lets through while a body is read bit by bit."""
    import anthropic
    import httpx2

    try:
        yield
    except anthropic.APIStatusError as error:
        raise _status_failure(error) from error
    except anthropic.APIConnectionError as error:
        unknown = _unanswered(error) is Outcome.UNKNOWN
        raise WriterFailed(
            f"The Messages API was not reached or broke off: {_cause(error)}.", unknown=unknown
        ) from error
    except httpx2.TransportError as error:
        raise WriterFailed(f"The Messages API broke off: {_cause(error)}.", unknown=True) from error
    except (anthropic.APIResponseValidationError, ValueError) as error:
        raise WriterFailed(
            f"The Messages API answered what is not understood: {_cause(error)}.", unknown=True
        ) from error


def _booking(book: Callable[[Attempt], None]) -> Callable[[Any, CallNext], APIResponse[Any]]:
    """Middleware that books one HTTP attempt, before the SDK reads the response or raises for it."""
    import anthropic

    def handle(request: Any, call_next: CallNext) -> APIResponse[Any]:
        began = time.perf_counter()
        try:
            response = call_next(request)
            attempt = _answered(response)
        except anthropic.APIConnectionError as error:
            book(Attempt(_unanswered(error), error=_cause(error), latency_s=time.perf_counter() - began))
            raise
        book(replace(attempt, latency_s=time.perf_counter() - began))
        return response

    return handle


def _answered(response: APIResponse[Any]) -> Attempt:
    status, body = response.status_code, response.text()
    usage = read_usage(body) if status == 200 else None
    if usage is not None:
        outcome, error = Outcome.PAID, None
    elif status < 400:
        outcome, error = Outcome.UNKNOWN, f"HTTP {status} without usage: {body[:500]}"
    else:
        outcome = Outcome.REFUSED if status < 500 or status in NOT_BILLED else Outcome.UNKNOWN
        error = f"HTTP {status}: {body[:500]}"
    return Attempt(outcome, status, response.request_id, usage, body if usage else None, error)


def _unanswered(error: anthropic.APIConnectionError) -> Outcome:
    """A connection that was never made bought nothing; anything later may have."""
    import httpx2

    never_sent = isinstance(error.__cause__, (httpx2.ConnectError, httpx2.ConnectTimeout))
    return Outcome.REFUSED if never_sent else Outcome.UNKNOWN


def _status_failure(error: anthropic.APIStatusError) -> WriterFailed:
    said = error.api_message or error.message
    message = f"The Messages API answered {error.status_code}: {said.rstrip('.')}."
    code = _no_more_money(error)
    if code is not None:
        asked = _seconds(error.response.headers.get("retry-after"), most=LONGEST_STOP_S)
        return SpendLimitReached(message, code=code, retry_after_s=asked)
    if error.status_code in RETRYABLE or error.status_code >= 500:
        unknown = error.status_code >= 500 and error.status_code not in NOT_BILLED
        return WriterFailed(message, retry_after_s=_seconds(error.response.headers.get("retry-after")), unknown=unknown)
    return WriterRefused(message, cure="Check the key, reports.model and reports.base_url.")


def _no_more_money(error: anthropic.APIStatusError) -> str | None:
    """Why the provider takes no more orders, None where that is not what it says."""
    code = error.error_code or ""
    if code.endswith(SPEND_LIMIT):
        return code
    return (code or "payment_required") if error.status_code == PAYMENT_REQUIRED else None


def _seconds(header: str | None, *, most: float = LONGEST_ASKED_S) -> float | None:
    """``retry-after`` as seconds; a date or nonsense counts as absent, and our own back-off applies."""
    try:
        return min(most, max(0.0, float(header))) if header else None
    except ValueError:
        return None


def _cause(error: BaseException) -> str:
    cause = error.__cause__ or error
    return f"{type(cause).__name__}: {cause}".rstrip(". :")
