"""``gistline costs reprice``: what a time would have cost with another model."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from fractions import Fraction

import click
from rich.table import Table

from gistline.cli.database import database
from gistline.cli.output import console, print_json
from gistline.costs.pricing import Processing, context_window, known_models
from gistline.costs.reprice import MadeCall, Repriced, reprice
from gistline.errors import RequestRejected, SettingsError
from gistline.storage.savings import PaidCall, paid_calls, unpriced_calls
from gistline.storage.session import transaction

DAY = click.DateTime(["%Y-%m-%d"])
LAST_YEAR = 9998
"""The day after the last one must be a date too."""


@click.command("reprice")
@click.option("--model", required=True, help="The model to price with.")
@click.option("--from", "first", type=DAY, required=True, metavar="DATE", help="First day (UTC), such as 2026-11-01.")
@click.option("--to", "last", type=DAY, required=True, metavar="DATE", help="Last day (UTC), included.")
@click.option("--token-ratio", metavar="R", help="Tokens of this model for one of the model that was asked.")
@click.option("--json", "as_json", is_flag=True, help="Print JSON; amounts are decimal texts.")
@click.pass_context
def command(context: click.Context, /, **given: object) -> None:
    """What the calls of a time would have cost with another MODEL, from the tokens in the ledger.

    Each call keeps its date, its size (price tiers) and its kinds of tokens: cached ones are priced as cached, batches
    as batches. How much more or less the other model counts for the same text is an assumption, and is printed;
    --token-ratio states your own. Attempts that may have been billed without an answer have no tokens and are counted.
    """
    model, ratio = str(given["model"]), _ratio(context.params["token_ratio"])
    since, until = _days(context.params["first"], context.params["last"])
    _check(model)
    with database(context) as opened, transaction(opened.sessions) as session:
        paid = paid_calls(session, since=since, until=until)
        unknown = unpriced_calls(session, since=since, until=until)
    found = reprice(map(_made, paid), model, stated=ratio)
    if given["as_json"]:
        print_json(_as_json(model, found, unknown))
    else:
        _print(model, found, unknown)


def _made(call: PaidCall) -> MadeCall:
    processing: Processing = "batch" if call.batched else "standard"
    return MadeCall(call.model, call.usage, call.usd, call.sent_at, processing, simulated=call.simulated)


def _days(first: datetime, last: datetime) -> tuple[datetime, datetime]:
    if last < first:
        raise RequestRejected(f"The last day {last:%Y-%m-%d} is before the first, {first:%Y-%m-%d}.", cure="Swap them.")
    if last.year > LAST_YEAR:
        raise RequestRejected(
            f"The last day {last:%Y-%m-%d} is beyond the year {LAST_YEAR}.", cure="Give today, or any day before."
        )
    return first.replace(tzinfo=UTC), last.replace(tzinfo=UTC) + timedelta(days=1)


def _ratio(text: str | None) -> Fraction | None:
    if text is None:
        return None
    try:
        ratio = Fraction(text)
    except (ValueError, ZeroDivisionError):
        ratio = Fraction(0)
    if not 0 < ratio <= 10:
        raise RequestRejected(
            f"The token ratio {text!r} is none.", cure="Give a number above 0, up to 10, such as 1.24."
        )
    return ratio


def _check(model: str) -> None:
    try:
        context_window(model)
    except SettingsError as error:
        raise RequestRejected(error.message, cure=f"Choose one of {', '.join(known_models())}.") from error


def _as_json(model: str, found: Sequence[Repriced], unknown: int) -> dict[str, object]:
    usd, new_usd = _totals(found)
    rows = [
        {
            "asked": one.model,
            "simulated": one.simulated,
            "calls": one.calls,
            "batched": one.batched,
            "token_ratio": {"input": float(one.ratio.input), "output": float(one.ratio.output), "is": one.ratio.source},
            "tokens": asdict(one.usage),
            "usd": f"{one.usd:f}",
            "repriced_tokens": asdict(one.new_usage),
            "repriced_usd": f"{one.new_usd:f}",
            "too_long": one.too_long,
        }
        for one in found
    ]
    return {"model": model, "rows": rows, "usd": f"{usd:f}", "repriced_usd": f"{new_usd:f}", "unknown": unknown}


def _totals(found: Sequence[Repriced]) -> tuple[Decimal, Decimal]:
    return sum((one.usd for one in found), Decimal(0)), sum((one.new_usd for one in found), Decimal(0))


def _print(model: str, found: Sequence[Repriced], unknown: int) -> None:
    say = console().print
    if not found:
        say("No paid calls in this time.")
    table = Table(box=None, pad_edge=False)
    table.add_column("asked", overflow="fold")
    for title in ("calls", "batched", "tokens in", "out", "booked", f"with {model}"):
        table.add_column(title, justify="right", overflow="fold")
    for one in found:
        counts = (one.calls, one.batched, one.usage.total_input_tokens, one.usage.output_tokens)
        table.add_row(_asked(one), *(f"{count:,}" for count in counts), f"${one.usd:f}", f"${one.new_usd:f}")
    if found:
        say(table)
        usd, new_usd = _totals(found)
        change = f" ({100 * (new_usd - usd) / usd:+.1f} %)" if usd else ""
        say(f"Booked ${usd:f}, with {model} ${new_usd:f}{change}.", markup=False)
    for one in found:
        ratio = f"{float(one.ratio.input):.3f} tokens in, {float(one.ratio.output):.3f} out"
        say(f"{_asked(one)}: for one of its tokens {ratio}; {one.ratio.source}.", markup=False)
        if one.too_long:
            say(f"{one.too_long} calls to {one.model} would not fit into the context of {model}.", style="yellow")
    if unknown:
        say(f"{unknown} attempts without an answer are not priced: nobody knows their tokens.", style="yellow")


def _asked(one: Repriced) -> str:
    return f"{one.model} (simulated)" if one.simulated else one.model
