"""What a report saves, step by step: from the images to what was really paid.

Each level is the price of a whole way to get the same report, and the steps are the differences between neighbours. So
they add up to the whole saving exactly, whatever their order makes of each; the order is that in which the forms build
on each other.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from decimal import ROUND_HALF_EVEN, Decimal
from itertools import pairwise
from typing import Any

from gistline.costs.images import ImagePlan, Words, request_rooms
from gistline.costs.pricing import price_usage
from gistline.domain import TokenUsage

MICRO = Decimal("0.000001")
LEVELS = ("images", "json", "rows", "packed", "cached", "batched")
STEPS = (
    ("json", "findings as indented JSON in place of the images"),
    ("rows", "coded rows in place of JSON"),
    ("packed", "summed up where the budget ends"),
    ("cached", "the fixed part read from the prompt cache"),
    ("batched", "sent as a batch at half price"),
    ("paid", "our retries, repairs and lost answers"),
)
"""Each step by the level that it leads to, and in words; ``paid`` is the ledger."""


@dataclass(frozen=True, slots=True)
class UsedCall:
    """A paid call whose answer the report is made of: its tokens by kind, and what it cost."""

    usage: TokenUsage
    usd: Decimal


@dataclass(frozen=True, slots=True)
class Forms:
    """Estimated tokens of whole inputs by one measure: the prompt as sent, and what could have been sent instead.

    ``instructions`` are part of each of the others.
    """

    prompt: int
    rows: int
    json: int
    instructions: int


def price_levels(
    plan: ImagePlan, forms: Forms, used: Sequence[UsedCall], *, model: str, at: datetime
) -> dict[str, Decimal]:
    """Dollars of each of :data:`LEVELS` for one report, and of the image plan as a batch (``images_batch``).

    The forms' estimates are scaled by what the calls really counted beside the estimate of what they sent: one ratio
    for all, which spares JSON, since a tokenizer that counts more than the estimate does so most on JSON. Without
    calls the report was made by rule, and nothing but the images would have cost anything.

    Raises:
        SettingsError: there are no prices for ``model``.

    """
    levels = dict.fromkeys((*LEVELS, "images_batch"), Decimal(0))
    levels |= {"images": plan.usd, "images_batch": plan.batch_usd}
    if not used:
        return levels
    sent = sum(call.usage.total_input_tokens for call in used)
    for name, estimate in (("json", forms.json), ("rows", forms.rows)):
        tokens, words = _scaled(estimate, sent, forms), _scaled(forms.instructions, sent, forms)
        levels[name] = cheapest_text(tokens, model, at=at, words=Words(words, used[-1].usage.output_tokens))
    plain = (TokenUsage(call.usage.total_input_tokens, call.usage.output_tokens) for call in used)
    levels["packed"] = sum((price_usage(usage, model, at=at).usd for usage in plain), Decimal(0))
    levels["cached"] = sum((price_usage(call.usage, model, at=at).usd for call in used), Decimal(0))
    levels["batched"] = sum((call.usd for call in used), Decimal(0))
    return levels


def cheapest_text(tokens: int, model: str, *, at: datetime, words: Words) -> Decimal:
    """The cheapest way to send a text of ``tokens``, which ``words.instructions`` open and which may be cut.

    Each request opens with the instructions; the report is paid once. Compared are requests filled up to the context
    window and only up to a price tier.
    """
    return min(_text(tokens - words.instructions, model, at, words, room) for room in request_rooms(model, at))


def _text(tokens: int, model: str, at: datetime, words: Words, room: int) -> Decimal:
    each = max(1, room - words.instructions)
    full, rest = divmod(tokens, each)
    sent = [(full, TokenUsage(each + words.instructions)), (1, TokenUsage(rest + words.instructions, words.report))]
    if full and not rest:
        sent = [(full - 1, sent[0][1]), (1, TokenUsage(each + words.instructions, words.report))]
    return sum((price_usage(usage, model, at=at).usd * count for count, usage in sent), Decimal(0))


def _scaled(estimate: int, sent: int, forms: Forms) -> int:
    return -(-estimate * sent // forms.prompt) if forms.prompt else estimate


@dataclass(frozen=True, slots=True)
class Savings:
    """Levels and ledger of one or many reports. ``undivided`` is what reports without levels saved, as one sum."""

    levels: dict[str, Decimal]
    paid: Decimal
    undivided: Decimal = Decimal(0)

    @property
    def images_usd(self) -> Decimal:
        """The baseline of the divided reports, in whole micro-dollars."""
        return _micro(self.levels["images"])

    @property
    def steps(self) -> list[tuple[str, str, Decimal]]:
        """Level, words and saving of each step in whole micro-dollars; a negative one cost more than it saved.

        The levels are rounded, not the differences: so the steps add up to :attr:`total_usd` to the micro-dollar.
        """
        amounts = [_micro(self.levels[name]) for name in LEVELS] + [_micro(self.paid)]
        found = [
            (name, words, before - after)
            for (name, words), (before, after) in zip(STEPS, pairwise(amounts), strict=True)
        ]
        if self.undivided:
            found.append(("undivided", "reports written before savings were divided", _micro(self.undivided)))
        return found

    @property
    def total_usd(self) -> Decimal:
        """What was saved, net of every call that was paid."""
        return _micro(self.levels["images"]) - _micro(self.paid) + _micro(self.undivided)

    @property
    def against_batched_images_usd(self) -> Decimal:
        """What would have been saved had the images been sent as a batch, at half price and up to a day later."""
        return _micro(self.levels["images_batch"]) - _micro(self.paid)

    def as_json(self) -> dict[str, Any]:
        """Amounts as decimal text."""
        return {
            "images_usd": f"{self.images_usd:f}",
            "paid_usd": f"{_micro(self.paid):f}",
            "steps": [{"step": name, "what": words, "usd": f"{usd:f}"} for name, words, usd in self.steps],
            "saving_usd": f"{self.total_usd:f}",
            "images_as_batch_usd": f"{_micro(self.levels['images_batch']):f}",
            "saving_against_batched_images_usd": f"{self.against_batched_images_usd:f}",
        }


def _micro(usd: Decimal) -> Decimal:
    return usd.quantize(MICRO, ROUND_HALF_EVEN)
