"""Errors that a user can act on: what was wrong, what is allowed, what cures it.

Each class carries the HTTP status that the API answers with and whether doing the same thing again may help, so that
one handler at each door serves them all.
"""

from __future__ import annotations

from datetime import datetime
from decimal import Decimal
from typing import ClassVar


class GistlineError(Exception):
    """Base of all of ours. ``ids`` names the rows concerned, for logs and problem responses."""

    status_code: ClassVar[int] = 500
    retryable: ClassVar[bool] = False
    title: ClassVar[str] = "Internal error"

    def __init__(self, message: str, *, cure: str = "", **ids: object) -> None:
        super().__init__(message)
        self.message = message
        self.cure = cure
        self.ids = {key: str(value) for key, value in ids.items()}

    def __str__(self) -> str:
        return f"{self.message} {self.cure}".strip()


class SettingsError(GistlineError):
    """A setting is missing, unknown or out of its bounds."""

    title = "Wrong setting"


class ImageRejected(GistlineError):
    """The bytes are no image that may be inspected (wrong type, truncated, damaged)."""

    status_code = 422
    title = "Image rejected"


class ImageTooLarge(GistlineError):
    """More bytes or pixels than the limits allow."""

    status_code = 413
    title = "Image too large"


class RequestRejected(GistlineError):
    """The request's fields, not its image, are wrong."""

    status_code = 422
    title = "Request rejected"


class FrameDamaged(GistlineError):
    """The frame store holds other bytes than those that were accepted; asking again does not mend them."""

    title = "Frame damaged"


class NotAuthenticated(GistlineError):
    """No key, or one that is unknown or revoked."""

    status_code = 401
    title = "Not authenticated"


class NotAllowed(GistlineError):
    """Whoever asks is known, and may not do this."""

    status_code = 403
    title = "Not allowed"


class NotFound(GistlineError):
    """No such row, or not one that the caller may see."""

    status_code = 404
    title = "Not found"


class Conflict(GistlineError):
    """What was asked for contradicts what is there: a key used for other bytes, a name that is taken."""

    status_code = 409
    title = "Conflict"


class ModelRejected(GistlineError):
    """The model file does not fit what is understood, or does not hold what it promises."""

    status_code = 500
    title = "Model rejected"


class HardwareUnfit(GistlineError):
    """What was asked for would be slow or wrong on this hardware; whoever knows better can insist."""

    title = "Hardware unfit"


class EngineUnavailable(GistlineError):
    """The detector cannot run. Nothing was looked at, so nothing may be reported as clean."""

    status_code = 503
    retryable = True
    title = "Detector unavailable"


class EngineUnproven(GistlineError):
    """The engine has no passport that lets it serve on this hardware; until it has, it looks at nothing."""

    status_code = 503
    title = "Engine unproven"


class StorageUnavailable(GistlineError):
    """The database, the frame store or the broker does not answer."""

    status_code = 503
    retryable = True
    title = "Storage unavailable"


class FleetBusy(GistlineError):
    """More waits than may; nothing was accepted. ``retry_after_s`` is when to try again, in seconds."""

    status_code = 429
    retryable = True
    title = "Fleet busy"

    def __init__(self, message: str, *, cure: str = "", retry_after_s: int = 1, **ids: object) -> None:
        super().__init__(message, cure=cure, **ids)
        self.retry_after_s = retry_after_s


class TooManyRequests(FleetBusy):
    """One caller asks more often than is allowed."""

    title = "Too many requests"


class StorageFull(FleetBusy):
    """The frame store's disk is nearly full; nothing was accepted."""

    status_code = 507
    title = "Storage full"


class LeaseLost(GistlineError):
    """Another worker has the job by now, so this one stops where it is."""

    status_code = 409
    title = "Lease lost"


class BudgetTooSmall(GistlineError):
    """Not even the totals of a window fit into its token budget."""

    title = "Token budget too small"


class BudgetExhausted(GistlineError):
    """A budget in dollars has not enough left for a call; nothing was sent.

    ``runs_at`` (timezone-aware) is when the budget's next period begins, None where what others hold may come back
    sooner. ``room_usd`` is what the call might cost at most to be let through now.
    """

    status_code = 429
    retryable = True
    title = "Budget exhausted"

    def __init__(
        self, message: str, *, cure: str = "", room_usd: Decimal, runs_at: datetime | None, **ids: object
    ) -> None:
        super().__init__(message, cure=cure, **ids)
        self.room_usd = room_usd
        self.runs_at = runs_at


class BuyingStopped(BudgetExhausted):
    """The provider takes no more orders: a limit of spending is reached there. Asked again at ``runs_at``."""

    title = "Buying stopped"


class AnswerPending(GistlineError):
    """The answer comes by batch, or by a call of its own at ``until`` (timezone-aware) at the latest."""

    status_code = 409
    retryable = True
    title = "Answer pending"

    def __init__(self, message: str, *, cure: str = "", until: datetime, **ids: object) -> None:
        super().__init__(message, cure=cure, **ids)
        self.until = until


class WriterFailed(GistlineError):
    """The LLM broke off, was overloaded or could not be reached; ``retry_after_s`` is the wait that it asked for.

    ``unknown`` says that it may have taken the request on nevertheless.
    """

    status_code = 502
    retryable = True
    title = "Report writer failed"

    def __init__(
        self,
        message: str,
        *,
        cure: str = "",
        retry_after_s: float | None = None,
        unknown: bool = False,
        **ids: object,
    ) -> None:
        super().__init__(message, cure=cure, **ids)
        self.retry_after_s = retry_after_s
        self.unknown = unknown


class SpendLimitReached(WriterFailed):
    """The provider says that a limit of spending is reached there (``code``): no back-off of ours helps with that."""

    status_code = 429
    title = "Spend limit reached"

    def __init__(
        self, message: str, *, cure: str = "", code: str, retry_after_s: float | None = None, **ids: object
    ) -> None:
        super().__init__(message, cure=cure, retry_after_s=retry_after_s, unknown=False, **ids)
        self.code = code


class WriterRefused(WriterFailed):
    """The LLM will not answer this request, however often it is sent: wrong key, unknown model, unusable answer."""

    retryable = False
    title = "Report writer refused"


class AnswerUnusable(GistlineError):
    """A paid answer that is no report: cut off, no JSON, or not of the form that was asked for."""

    status_code = 502
    title = "Answer unusable"


class AnswerDeclined(AnswerUnusable):
    """The model declined to write, or wrote nothing; asking again would be paid for in vain."""

    title = "Answer declined"
