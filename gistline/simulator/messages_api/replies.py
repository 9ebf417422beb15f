"""What can be scripted: how one request is answered, and the named ways in which an answer goes wrong."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, fields, replace
from enum import StrEnum
from typing import Any

from gistline.errors import RequestRejected

ERROR_TYPES: Mapping[int, str] = {
    400: "invalid_request_error",
    401: "authentication_error",
    402: "billing_error",
    403: "permission_error",
    404: "not_found_error",
    408: "timeout_error",
    409: "conflict_error",
    413: "request_too_large",
    429: "rate_limit_error",
    500: "api_error",
    504: "timeout_error",
    529: "overloaded_error",
}
FOREVER_S = 3600.0
"""Longer than any client waits; a server that stops does not wait for it."""


class Place(StrEnum):
    """Where a reply is played: each has a script and a chance of its own."""

    MESSAGES = "messages"
    COUNT = "count_tokens"
    BATCHES = "batches"
    ITEMS = "batch_items"
    READS = "batch_reads"


@dataclass(frozen=True, slots=True)
class Reply:
    """One scripted answer.

    ``status`` 200 sends what was asked for, made by the twin unless ``text``, ``stop_reason`` or ``usage`` say
    otherwise; any other status sends an error, with ``error_code`` in its details. ``body`` replaces what would be
    sent. ``hang_s`` waits (in real seconds) before anything is sent; ``drop`` then closes the connection without a
    word, ``cut`` after that share of the bytes. ``keep`` is the share of the answer that is written before the output
    limit ends it, and ``spoil`` breaks JSON that the answer holds.

    ``billed`` says whether the call is in the books; left out, it is when an answer was made (status 200).
    ``outcome`` of a batch's item is ``errored`` or ``expired`` in place of an answer; ``unlisted`` leaves it out of the
    batch's results. ``stuck`` leaves a batch unprocessed until it expires. ``name`` stands in the books.
    """

    status: int = 200
    text: str | None = None
    stop_reason: str = "end_turn"
    usage: Mapping[str, Any] | None = None
    headers: Mapping[str, str] = field(default_factory=dict)
    body: str | None = None
    hang_s: float = 0.0
    drop: bool = False
    cut: float | None = None
    keep: float | None = None
    spoil: bool = False
    billed: bool | None = None
    error_code: str = ""
    outcome: str = ""
    unlisted: bool = False
    stuck: bool = False
    name: str = ""

    @property
    def is_billed(self) -> bool:
        """Whether the call goes into the books as billed."""
        return self.status == 200 if self.billed is None else self.billed


@dataclass(frozen=True, slots=True)
class Recorded:
    """A request as it came in; header names in lower case."""

    path: str
    headers: Mapping[str, str]
    body: Mapping[str, Any]


@dataclass(frozen=True, slots=True)
class Fault:
    """A named way to go wrong: the reply, the places where it can happen, and a sentence."""

    reply: Reply
    places: frozenset[Place]
    sentence: str


_CALLS = frozenset({Place.MESSAGES, Place.BATCHES})
_ANY = frozenset({Place.MESSAGES, Place.BATCHES, Place.COUNT, Place.READS})
_MADE = frozenset({Place.MESSAGES, Place.ITEMS})
_ONE = frozenset({Place.MESSAGES})
_PAGE = "<html><body>Bad gateway</body></html>"
_RETRY = {"retry-after": "1"}

FAULTS: Mapping[str, Fault] = {
    "rate_limit": Fault(Reply(429, headers=_RETRY), _ANY, "429 with retry-after; not billed"),
    "spend_limit": Fault(
        Reply(429, error_code="enforced_spend_limit_reached"), _CALLS, "429 for a spent month, no retry-after"
    ),
    "overloaded": Fault(Reply(529), _ANY, "529; not billed"),
    "error": Fault(Reply(500), _ANY, "500 before any work; not billed, which the client cannot know"),
    "error_after_billing": Fault(Reply(500, billed=True), _CALLS, "500 after the answer was made and billed"),
    "timeout": Fault(Reply(504, hang_s=FOREVER_S, drop=True), _ANY, "silence until the client gives up; not billed"),
    "timeout_after_billing": Fault(
        Reply(hang_s=FOREVER_S, drop=True), _CALLS, "silence until the client gives up; billed"
    ),
    "cut": Fault(Reply(504, drop=True), _ANY, "connection closed before any work; not billed"),
    "cut_after_billing": Fault(Reply(drop=True), _CALLS, "connection closed in place of a billed answer"),
    "cut_mid_answer": Fault(Reply(cut=0.5), _ANY - {Place.COUNT}, "connection closed within a billed answer"),
    "garbled": Fault(Reply(body=_PAGE), _ONE, "200 with a page that is no message; billed"),
    "refusal": Fault(Reply(text="", stop_reason="refusal"), _MADE, "the model declines; billed"),
    "truncated": Fault(Reply(keep=0.5, stop_reason="max_tokens"), _MADE, "the answer ends at the output limit; billed"),
    "invalid_json": Fault(Reply(spoil=True), _MADE, "an answer that is not the JSON asked for; billed"),
    "slow": Fault(Reply(hang_s=0.5), _ANY, "a late answer"),
    "item_errored": Fault(Reply(500, outcome="errored"), frozenset({Place.ITEMS}), "a batch's item fails; not billed"),
    "item_expired": Fault(Reply(504, outcome="expired"), frozenset({Place.ITEMS}), "a batch's item expires"),
    "item_unlisted": Fault(Reply(unlisted=True), frozenset({Place.ITEMS}), "a billed item that the results leave out"),
    "stuck": Fault(Reply(stuck=True), frozenset({Place.BATCHES}), "a batch that nobody processes within 24 hours"),
}
"""Every fault by name. Results of batches come in another order than the requests always; that is no fault."""


def fault(name: str, **changes: Any) -> Reply:
    """The reply of a named fault. ``retry_after_s`` sets the header, other names are fields of :class:`Reply`.

    Raises:
        RequestRejected: no such fault or no such field; names those that there are.

    """
    if name not in FAULTS:
        raise RequestRejected(f"There is no fault {name!r}.", cure=f"Choose one of {', '.join(FAULTS)}.")
    if "retry_after_s" in changes:
        changes["headers"] = {"retry-after": f"{changes.pop('retry_after_s'):g}"}
    known = {one.name for one in fields(Reply)} - {"name"}
    if unknown := sorted(set(changes) - known):
        raise RequestRejected(
            f"A reply has no field {unknown[0]!r}.", cure=f"Choose of retry_after_s, {', '.join(sorted(known))}."
        )
    return replace(FAULTS[name].reply, name=name, **changes)


def faults_at(place: Place) -> list[str]:
    """Names of the faults that can happen at a place, in the order of the table."""
    return [name for name, one in FAULTS.items() if place in one.places]
