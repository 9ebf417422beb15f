"""What every way out of the house has in common: what is sent, and how it may fail."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from uuid import UUID


@dataclass(frozen=True, slots=True)
class Parcel:
    """One notice, ready to go: ``id`` is the same for every attempt, so that receivers know a repetition.

    ``target`` is the rule's own, empty for the settings'. ``labels`` are short facts for headers, such as the severity.
    """

    id: UUID
    target: str
    subject: str
    body: str
    payload: bytes
    topic: str
    labels: Mapping[str, str] = field(default_factory=dict)


class NotDelivered(Exception):  # noqa: N818 - it is what happened
    """The output did not take it. ``final``: again would fail again; ``wait_s`` is the wait that it asked for."""

    def __init__(self, message: str, *, final: bool = False, wait_s: float | None = None) -> None:
        super().__init__(message)
        self.final = final
        self.wait_s = wait_s
