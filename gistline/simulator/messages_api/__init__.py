"""A local twin of the Messages API, over real HTTP: for rehearsals without a key, for tests and for drills.

It answers ``messages`` (whole or streamed), ``count_tokens`` and ``messages/batches`` as the Anthropic SDK expects
them, counts and prices every call by rules of its own, keeps books of what it would have billed, and misbehaves on
request. No model is behind it: an answer is made by rule, and its token counts are not Claude's.
"""

from gistline.simulator.messages_api.books import Books, Entry
from gistline.simulator.messages_api.clock import TwinClock
from gistline.simulator.messages_api.faults import FaultPlan, read_faults
from gistline.simulator.messages_api.replies import FAULTS, Place, Recorded, Reply, fault
from gistline.simulator.messages_api.server import MessagesServer
from gistline.simulator.messages_api.service import Twin, TwinOptions

__all__ = [
    "FAULTS",
    "Books",
    "Entry",
    "FaultPlan",
    "MessagesServer",
    "Place",
    "Recorded",
    "Reply",
    "Twin",
    "TwinClock",
    "TwinOptions",
    "fault",
    "read_faults",
]
