"""What a process on a frame's way does once it is up, so that its threads seldom wait for one another."""

from __future__ import annotations

import gc
import sys
from typing import Final

SWITCH_S: Final = 0.0005
"""A thread that has the interpreter lets others have a turn after this. With Python's own 5 ms a frame, on whose way
lie dozens of short waits for the database, waits for the work of other frames at each of them."""


def be_prompt() -> None:
    """Let threads take turns often, and take what was made at the start out of the garbage collector's sight.

    Modules, tables and models never go, and a full collection that looks through them all stops every thread for tens
    of milliseconds, in the middle of some frame's way.
    """
    sys.setswitchinterval(SWITCH_S)
    gc.collect()
    gc.freeze()
