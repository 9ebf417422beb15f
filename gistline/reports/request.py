"""One question to the LLM, as it will be sent."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any


@dataclass(frozen=True, slots=True)
class Request:
    """A system prompt, one user message, and at most ``max_tokens`` tokens of answer.

    ``schema`` is a JSON schema that the answer must follow. ``offline`` gives the text that a writer without a network
    answers with.
    """

    system: str
    user: str
    max_tokens: int
    offline: Callable[[], str]
    schema: Mapping[str, Any] | None = None

    @property
    def text(self) -> str:
        """All that is billed as input, as one text for counting."""
        schema = [json.dumps(self.schema, sort_keys=True, ensure_ascii=False)] if self.schema else []
        return "\n".join([self.system, self.user, *schema])

    @property
    def sha256(self) -> str:
        """Digest of what is asked, to tell later which question an answer belongs to."""
        return hashlib.sha256(self.text.encode()).hexdigest()
