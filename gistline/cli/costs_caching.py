"""``gistline costs caching``: whether the prompt's fixed part is worth caching, with the arithmetic."""

from __future__ import annotations

from datetime import UTC, datetime
from decimal import Decimal
from typing import Any

import click
from rich.table import Table

from gistline.cli.amounts import exact
from gistline.cli.database import database
from gistline.cli.output import console, print_json
from gistline.costs.caching import Caching, Option, Reuse, weigh_caching
from gistline.costs.pricing import known_models
from gistline.domain import Language
from gistline.errors import RequestRejected, SettingsError
from gistline.flows.cache_prompt import expected_reuse
from gistline.reports.prompt import fixed_text
from gistline.reports.tokens import TokenCounter
from gistline.settings import ReportSettings
from gistline.storage.session import transaction

Found = dict[Language, tuple[Reuse, Caching]]
CALLS = click.IntRange(1, 100_000)


@click.command("caching")
@click.option("--model", help="The model to ask about; reports.model unless given.")
@click.option("--calls-5m", type=CALLS, help="Calls within five minutes, in place of those that the ledger expects.")
@click.option("--calls-1h", type=CALLS, help="Calls within an hour, likewise.")
@click.option("--json", "as_json", is_flag=True, help="Print JSON; amounts are decimal texts.")
@click.pass_context
def command(
    context: click.Context, /, *, model: str | None, calls_5m: int | None, calls_1h: int | None, as_json: bool
) -> None:
    """Whether the fixed part of the prompt (instructions and form of the answer) is cached, and why.

    One call writes it at a higher price, those after it within the lifetime read it at a lower one. Expected are a call
    now and as many after it as the ledger saw in the last five minutes and the last hour. Tokens are an estimate.
    """
    with database(context) as opened, transaction(opened.sessions) as session:
        settings = opened.settings.reports
        asked = model or settings.model
        found: Found = {}
        for language in sorted({settings.language, *settings.languages.values()}):
            fixed = fixed_text(language)
            seen = expected_reuse(session, fixed, asked)
            reuse = Reuse(calls_5m or seen.within_5m, calls_1h or seen.within_1h)
            found[language] = reuse, _weigh(TokenCounter().estimate(fixed), asked, reuse)
    if as_json:
        print_json([_as_json(language, *one, settings) for language, one in found.items()])
    else:
        for language, (reuse, caching) in found.items():
            _print(language, reuse, caching, settings)


def _weigh(tokens: int, model: str, reuse: Reuse) -> Caching:
    try:
        return weigh_caching(tokens, model, at=datetime.now(UTC), reuse=reuse)
    except SettingsError as error:
        raise RequestRejected(error.message, cure=f"Choose one of {', '.join(known_models())}.") from error


def _as_json(language: Language, reuse: Reuse, found: Caching, settings: ReportSettings) -> dict[str, Any]:
    return {
        "language": language.value,
        "model": found.model,
        "tokens": found.tokens,
        "minimum": found.minimum,
        "expected_calls": {"5m": reuse.within_5m, "1h": reuse.within_1h},
        "options": [_option(option) for option in found.options],
        "chosen": found.chosen,
        "reason": found.reason,
        "prompt_cache": settings.prompt_cache,
    }


def _option(option: Option) -> dict[str, Any]:
    return {
        "lifetime": option.lifetime,
        "calls": option.calls,
        "plain_usd": exact(option.plain_usd),
        "write_usd": exact(option.write_usd),
        "read_usd": exact(option.read_usd),
        "usd": exact(option.usd),
        "uncached_usd": exact(option.uncached_usd),
        "usd_per_call": exact(option.usd_per_call),
        "break_even": option.break_even,
    }


def _print(language: Language, reuse: Reuse, found: Caching, settings: ReportSettings) -> None:
    say = console().print
    minimum = "caches nothing that we know of" if found.minimum is None else f"caches from {found.minimum:,} tokens"
    say(f"{language.value}: {found.tokens:,} tokens of fixed text (estimate); {found.model} {minimum}.", markup=False)
    if found.options:
        table = Table(box=None, pad_edge=False)
        for title in ("kept", "calls", "uncached", "write", "each read", "in all", "a call", "pays from"):
            table.add_column(title, justify="left" if title == "kept" else "right", overflow="fold")
        for option in found.options:
            amounts = (option.uncached_usd, option.write_usd, option.read_usd, option.usd, option.usd_per_call)
            table.add_row(option.lifetime, f"{option.calls:,}", *map(_dollars, amounts), _calls(option.break_even))
        say(table)
    say(_verdict(reuse, found), markup=False)
    if settings.prompt_cache == "off":
        say("reports.prompt_cache is off: nothing is cached.", style="yellow", markup=False)


def _dollars(usd: Decimal) -> str:
    return f"${exact(usd)}"


def _calls(break_even: int | None) -> str:
    return "never" if break_even is None else f"{break_even} calls"


def _verdict(reuse: Reuse, found: Caching) -> str:
    expected = f"{reuse.within_5m:,} calls within 5 minutes and {reuse.within_1h:,} within an hour"
    if found.reason == "too_short":
        return "Not cached: it is shorter than the model's minimum."
    if found.reason == "unknown_model":
        return "Not cached: the fewest tokens that this model caches are not known."
    if found.reason == "too_few_calls":
        return f"Not cached: {expected} are too few."
    return f"Cached for {found.chosen}: cheapest for each of {expected}."
