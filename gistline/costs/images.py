"""What sending the frames themselves to the model would have cost: the cheapest plan that the API would take.

A picture counts ``ceil(w/28) x ceil(h/28)`` tokens after a downscale that keeps its aspect. Models up to 4.6 see at
most 1568 pixels along the long edge and 1568 tokens, later ones 2576 and 4784. A request takes 100 images (600 where
the context window is over 200,000 tokens); with more than 20, no side may exceed 2000 pixels.

The plan leans towards the images: request size in bytes is not limited, no request needs a label for its images, and
the report is paid once however many requests it takes to look at all of them. So a saving against it is not flattered.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass
from datetime import datetime
from decimal import Decimal
from typing import Any

from gistline.costs.pricing import Processing, context_window, price_usage, price_vector
from gistline.domain import ImageSize, TokenUsage
from gistline.errors import SettingsError

PATCH = 28
FEW = 20
FEW_SIDE = 2000
_VERSION = re.compile(r"-v?(\d{1,2})(?:[-.](\d{1,2}))?(?=$|[-@])")


@dataclass(frozen=True, slots=True)
class Sight:
    """How finely a model sees: longest edge in pixels and most tokens of one picture."""

    edge: int
    tokens: int


UP_TO_4_6 = Sight(1568, 1568)
SINCE_4_7 = Sight(2576, 4784)


@dataclass(frozen=True, slots=True)
class ImagePlan:
    """A way to send all images, and its price.

    ``image_tokens`` are those of the pictures alone, ``input_tokens`` have the instructions of each request added;
    ``largest_request`` is the most images in one request, ``batch_usd`` the price of the same requests as a batch.
    """

    model: str
    images: int
    requests: int
    largest_request: int
    image_tokens: int
    input_tokens: int
    output_tokens: int
    usd: Decimal
    batch_usd: Decimal

    def as_json(self) -> dict[str, Any]:
        """The same for the database; amounts as decimal text."""
        return {**asdict(self), "usd": str(self.usd), "batch_usd": str(self.batch_usd)}


@dataclass(frozen=True, slots=True)
class Words:
    """Text tokens of a plan: the instructions that each request repeats, and the one report that comes back."""

    instructions: int = 0
    report: int = 0


def sight(model: str) -> Sight:
    """How finely ``model`` sees, by the version in its name.

    Raises:
        SettingsError: the name holds no version.

    """
    found = _VERSION.search(model)
    if not found:
        raise SettingsError(f"The model name {model!r} holds no version.", cure="Write it like claude-haiku-5-5.")
    return SINCE_4_7 if (int(found[1]), int(found[2] or 0)) >= (4, 7) else UP_TO_4_6


def image_tokens(size: ImageSize, seen: Sight) -> int:
    """Tokens of one picture: those of the largest downscale, aspect kept, that ``seen`` allows."""
    long, short = max(size.width, size.height), min(size.width, size.height)
    low, high = 1, min(long, seen.edge)
    while low < high:
        middle = (low + high + 1) // 2
        low, high = (middle, high) if _patches(middle, short, long) <= seen.tokens else (low, middle - 1)
    return _patches(low, short, long)


def cheapest_plan(sizes: Mapping[ImageSize, int], model: str, *, at: datetime, words: Words) -> ImagePlan:
    """The cheapest way to show ``model`` all images, of which ``sizes`` says how many there are of each size.

    Compared are requests of at most 20 images in full sight against larger ones of smaller pictures, each filled up to
    the context window or only up to a price tier.

    Raises:
        SettingsError: the model has no price or no version, or one picture overflows a request.

    """
    plans = [
        _plan(sizes, model, at=at, words=words, limits=(most, room))
        for most in _request_sizes(model, sum(sizes.values()))
        for room in request_rooms(model, at)
    ]
    return min(plans, key=lambda plan: (plan.usd, plan.requests))


def _patches(long: int, short_of: int, long_of: int) -> int:
    """Patches of a picture whose long edge was scaled to ``long``."""
    short = max(1, round(short_of * long / long_of))
    return -(-long // PATCH) * -(-short // PATCH)


def _request_sizes(model: str, images: int) -> list[int]:
    if images <= FEW:
        return [FEW]
    return [FEW, 600 if context_window(model) > 200_000 else 100]


def request_rooms(model: str, at: datetime) -> list[int]:
    """Input tokens worth filling a request up to: the context window and the end of each price tier below it."""
    rate = price_vector(model, at=at).rates["input_mtok"]
    starts = [tier["start"] for tier in rate["tiers"]] if isinstance(rate, dict) else []
    window = context_window(model)
    return [window, *(start for start in starts if start < window)]


def _plan(
    sizes: Mapping[ImageSize, int], model: str, *, at: datetime, words: Words, limits: tuple[int, int]
) -> ImagePlan:
    most, room = limits
    requests = list(_fill(_pictures(sizes, model, most), most, room - words.instructions))
    asked = [TokenUsage(input_tokens=tokens + words.instructions) for _, tokens in requests]
    if asked:
        asked[-1] = TokenUsage(asked[-1].input_tokens, words.report)
    return ImagePlan(
        model=model,
        images=sum(images for images, _ in requests),
        requests=len(requests),
        largest_request=max((images for images, _ in requests), default=0),
        image_tokens=sum(tokens for _, tokens in requests),
        input_tokens=sum(usage.input_tokens for usage in asked),
        output_tokens=sum(usage.output_tokens for usage in asked),
        usd=_price(asked, model, at, "standard"),
        batch_usd=_price(asked, model, at, "batch"),
    )


def _price(asked: Sequence[TokenUsage], model: str, at: datetime, processing: Processing) -> Decimal:
    counted = Counter(asked).items()
    prices = (price_usage(usage, model, at=at, processing=processing).usd * count for usage, count in counted)
    return sum(prices, Decimal(0))


def _pictures(sizes: Mapping[ImageSize, int], model: str, most: int) -> Iterator[int]:
    """Tokens of each picture, largest first, as a request of up to ``most`` images sees it."""
    seen = sight(model)
    if most > FEW:
        seen = Sight(min(seen.edge, FEW_SIDE), seen.tokens)
    counted = sorted(((image_tokens(size, seen), count) for size, count in sizes.items()), reverse=True)
    for tokens, count in counted:
        yield from [tokens] * count


def _fill(pictures: Iterator[int], most: int, room: int) -> Iterator[tuple[int, int]]:
    """Fill requests one after the other; yields images and image tokens of each.

    Raises:
        SettingsError: one picture is larger than the room that the instructions leave.

    """
    images = tokens = 0
    for picture in pictures:
        if picture > room:
            raise SettingsError(
                f"A picture of {picture} tokens does not fit beside the instructions.",
                cure="Choose a model with a larger context window.",
            )
        if images == most or tokens + picture > room:
            yield images, tokens
            images = tokens = 0
        images, tokens = images + 1, tokens + picture
    if images:
        yield images, tokens
