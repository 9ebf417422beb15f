"""What the doctor says of one thing."""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum


class State(StrEnum):
    """``missing`` stops the product from working; ``absent`` is something that it can do without."""

    OK = "ok"
    ABSENT = "absent"
    MISSING = "missing"


@dataclass(frozen=True, slots=True)
class Check:
    """One thing looked at: what was found, and what cures it where it is missing."""

    name: str
    state: State
    found: str
    cure: str = ""
