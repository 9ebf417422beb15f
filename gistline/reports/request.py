"""One question to the LLM, as it will be sent."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from typing import Any, Literal


@dataclass(frozen=True, slots=True)
class Request:
    """A system prompt, one user message, and at most ``max_tokens`` tokens of answer.

    ``schema`` is a JSON schema that the answer must follow. ``offline`` gives the text that a writer without a network
    answers with. ``cache`` says how long the provider is to keep the fixed part: part of the price, not the question.
    """

    system: str
    user: str
    max_tokens: int
    offline: Callable[[], str]
    schema: Mapping[str, Any] | None = None
    cache: Literal["5m", "1h"] | None = None

    @property
    def text(self) -> str:
        """All that is billed as input, as one text for counting."""
        schema = [json.dumps(self.schema, sort_keys=True, ensure_ascii=False)] if self.schema else []
        return "\n".join([self.system, self.user, *schema])

    @property
    def fixed(self) -> str:
        """What requests of a kind share, as one text: the system prompt and the schema."""
        return replace(self, user="").text

    @property
    def fixed_sha256(self) -> str:
        """Digest of :attr:`fixed`: which calls can read each other's prompt cache."""
        return hashlib.sha256(self.fixed.encode()).hexdigest()

    @property
    def sha256(self) -> str:
        """Digest of what is asked, to tell later which question an answer belongs to."""
        return hashlib.sha256(self.text.encode()).hexdigest()
