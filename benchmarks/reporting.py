"""What a finding costs in tokens, how long packing takes, what reports save: ``python -m benchmarks.reporting``.

Prints the tables of docs/savings.md. Tokens are cl100k_base's, counted here; Claude's counts of the same texts are
higher (docs/reports.md), so shares of text against text carry over better than amounts. Nothing is sent anywhere.
"""

from __future__ import annotations

import argparse
import json
import statistics
import sys
import time
from collections.abc import Callable, Mapping
from datetime import UTC, datetime
from decimal import Decimal

from genai_prices import Usage, calc_price

from benchmarks.packing import window
from benchmarks.text_forms import as_csv, as_toon
from gistline.costs.images import Words, cheapest_plan
from gistline.costs.pricing import price_usage
from gistline.costs.savings import Forms, UsedCall, price_levels
from gistline.domain import Finding, ImageSize, Language, TokenUsage
from gistline.reports.encoding import encode_group, encode_row
from gistline.reports.forms import as_objects
from gistline.reports.offline import compose
from gistline.reports.prompt import WindowData, build_prompt, fixed_text, instructions
from gistline.reports.tokens import TokenCounter, ceiling
from gistline.settings import ReportSettings

COUNTS = (2, 20, 200, 2_000, 20_000)
MIXES = ((4, 3), (40, 6))
MODELS = ("claude-haiku-5-5", "claude-sonnet-5-5", "claude-opus-5-5")
SIZES = (ImageSize(640, 640), ImageSize(1920, 1080))
FRAMES, FINDINGS = 1_000, 2_000
BUDGET = ReportSettings().token_budget
UNLIMITED = 1_000_000_000
AT = datetime(2026, 11, 23, tzinfo=UTC)
PICTURES = (("openai", "gpt-4o", 1_105), ("anthropic", "claude-sonnet-4-6", 1_560), ("anthropic", MODELS[1], 2_691))
SENTENCE = "发现两处缺陷，左侧区域存在长度约45像素的划痕，右下角零件缺失。"

Form = Callable[[WindowData, list[Finding]], str]

FORMS: Mapping[str, Form] = {
    "indented JSON": lambda _, findings: json.dumps(as_objects(findings), indent=2),
    "compact JSON": lambda _, findings: json.dumps(as_objects(findings), separators=(",", ":")),
    "TOON": lambda _, findings: as_toon(findings),
    "CSV": lambda _, findings: as_csv(findings),
    "**rows, grouped**": lambda data, _: _grouped(data),
    "of these the rows alone": lambda data, findings: "\n".join(encode_row(one, data.starts_at) for one in findings),
    f"**prompt, {BUDGET:,} tokens**": lambda data, _: build_prompt(data, budget=BUDGET, measure=ceiling).text,
}


def main() -> None:
    """Print the tables."""
    parser = argparse.ArgumentParser(description="Tokens a finding, time to pack, savings.")
    parser.add_argument("--seed", type=int, default=7)
    parser.add_argument("--rounds", type=int, default=7)
    given = parser.parse_args()
    counter = TokenCounter()
    for cameras, classes in MIXES:
        _tokens(counter, given.seed, cameras, classes)
    _times(given.seed, given.rounds)
    _savings(counter, given.seed)
    _article(counter)


def _grouped(data: WindowData) -> str:
    return "".join(encode_group(group, group.findings, data.starts_at) for group in data.groups)


def _tokens(counter: TokenCounter, seed: int, cameras: int, classes: int) -> None:
    _say(f"\nTokens a finding (cl100k), {cameras} cameras x {classes} classes\n")
    _row("form", *(f"{count:,}" for count in COUNTS))
    _row(*["---"] * (len(COUNTS) + 1))
    windows = [window(count, seed, cameras=cameras, classes=classes) for count in COUNTS]
    listed = [[finding for group in data.groups for finding in group.findings] for data in windows]
    for name, form in FORMS.items():
        made = (form(data, findings) for data, findings in zip(windows, listed, strict=True))
        counted = (counter.estimate(text) for text in made)
        _row(name, *(f"{tokens / count:.1f}" for tokens, count in zip(counted, COUNTS, strict=True)))


def _times(seed: int, rounds: int) -> None:
    _say(f"\nTime to pack into {BUDGET:,} tokens, from grouped findings to the prompt, ms\n")
    _row("findings", "best", "median")
    _row(*["---"] * 3)
    for count in (200, 2_000, 10_000, 20_000):
        data, took = window(count, seed), []
        for _ in range(rounds):
            started = time.perf_counter()
            build_prompt(data, budget=BUDGET, measure=ceiling)
            took.append(1_000 * (time.perf_counter() - started))
        _row(f"{count:,}", f"{min(took):.1f}", f"{statistics.median(took):.1f}")


def _savings(counter: TokenCounter, seed: int) -> None:
    data = window(FINDINGS, seed, cameras=4, classes=3)
    prompt, complete = (build_prompt(data, budget=budget, measure=ceiling).text for budget in (BUDGET, UNLIMITED))
    indented = json.dumps(as_objects(one for group in data.groups for one in group.findings), indent=2)
    opening = counter.estimate(fixed_text(Language.ENGLISH))
    written = counter.estimate(compose(data, Language.ENGLISH).model_dump_json())
    forms = Forms(counter.estimate(prompt), counter.estimate(complete), opening + counter.estimate(indented), opening)
    _say(f"\n{FRAMES:,} frames with {FINDINGS:,} findings in one report of {written} tokens, dollars\n")
    _row("frames", "model", "images", "JSON", "rows", "saved", "packed", "saved", "images, packed as a batch")
    _row(*["---"] * 9)
    for size in SIZES:
        for model in MODELS:
            plan = cheapest_plan({size: FRAMES}, model, at=AT, words=Words(opening, written))
            usage = TokenUsage(forms.prompt, written)
            used = [UsedCall(usage, price_usage(usage, model, at=AT, processing="batch").usd)]
            levels = price_levels(plan, forms, used, model=model, at=AT)
            _print_levels(f"{size.width} x {size.height}", model, levels)


def _print_levels(size: str, model: str, levels: Mapping[str, Decimal]) -> None:
    """What is saved by rows of everything and by what is packed, each against the images at once."""
    cells = [f"{levels['images']:.4f}", f"{levels['json']:.4f}"]
    for name in ("rows", "packed"):
        cells += [f"{levels[name]:.4f}", f"{1 - levels[name] / levels['images']:.1%}"]
    _row(size, model, *cells, f"{levels['images_batch']:.4f}, {levels['batched']:.4f}")


def _article(counter: TokenCounter) -> None:
    """The article's sentence against a picture by today's rules: the text alone, and a whole call for each frame."""
    text, opening, written = counter.estimate(SENTENCE), counter.estimate(instructions()), 250
    _say(f"\nThe article's sentence ({text} tokens) for one 1920 x 1080 frame")
    _say(f"(a whole call: {opening} tokens of instructions and the picture or the sentence in, {written} out)\n")
    _row(
        "picture", "tokens", "the text alone saves", "a whole call saves", "1,000 calls with pictures", "with sentences"
    )
    _row(*["---"] * 6)
    for provider, model, picture in PICTURES:
        shown, told = (1_000 * _call(provider, model, opening + tokens, written) for tokens in (picture, text))
        shares = f"{1 - text / picture:.1%}", f"{1 - told / shown:.1%}"
        _row(model, f"{picture:,}", *shares, f"${shown:.2f}", f"${told:.2f}")


def _call(provider: str, model: str, asked: int, written: int) -> Decimal:
    usage = Usage(input_tokens=asked, output_tokens=written)
    return calc_price(usage, model, provider_id=provider, genai_request_timestamp=AT).total_price


def _row(*cells: str) -> None:
    _say(f"| {' | '.join(cells)} |")


def _say(text: str) -> None:
    sys.stdout.write(f"{text}\n")


if __name__ == "__main__":
    main()
