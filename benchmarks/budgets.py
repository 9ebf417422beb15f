"""The proof of the ceiling at length: ``python -m benchmarks.budgets [--schedules 10000] [--first 0]``.

Each schedule is a seeded interleaving of workers that buy, by calls and by batches, die and come back late, and of
people who change budgets and clear up holds (``tests/support/budget_schedules.py``). Any overshoot, leaked hold or cent
that the provider's books and the ledger do not agree on stops it with the schedule's number. ``--record FILE`` appends
a line of JSON for every hundred. ``--mutants`` plants one fault at a time in the product and counts the schedules until
it is found. ``--share`` measures what holds cost: the part of a cap that is left unspent when the first report is
refused.
"""

from __future__ import annotations

import argparse
import gc
import json
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from datetime import UTC, datetime
from decimal import Decimal
from pathlib import Path

from benchmarks.packing import window
from gistline.costs.ceiling import dearest
from gistline.costs.pricing import price_usage, price_vector
from gistline.domain import Language, TokenUsage, WindowId
from gistline.domain_money import BudgetPeriod, BudgetScope
from gistline.embedded.postgres import postgres
from gistline.errors import BudgetExhausted
from gistline.flows import budgets as flows
from gistline.reports.offline import compose
from gistline.reports.prompt import build_prompt
from gistline.reports.tokens import TokenCounter, ceiling, schema_ceiling
from gistline.settings import ReportSettings
from gistline.storage import ledger, migrate
from gistline.storage.budget_book import BudgetKey
from gistline.storage.budgets import Purchase, budget_states, enter
from gistline.storage.tables import AttemptState
from tests.support.budget_mutants import MUTANTS
from tests.support.budget_schedules import LINE, Tally, World
from tests.support.proof_provider import MODEL

NOW = datetime(2026, 11, 26, tzinfo=UTC)
QUICK = {"fsync": "off", "synchronous_commit": "off", "full_page_writes": "off"}
"""A power cut is none of the faults."""
CHUNK = 100
MOST_SCHEDULES = 300
SITE = BudgetKey(BudgetScope.SITE, "", BudgetPeriod.DAY)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--schedules", type=int, default=10_000, help="how many")
    parser.add_argument("--first", type=int, default=0, help="number of the first")
    parser.add_argument("--record", type=Path, help="file that takes a line of JSON for every hundred")
    parser.add_argument("--mutants", action="store_true", help="plant faults that must be found instead")
    parser.add_argument("--share", action="store_true", help="measure what holds cost instead")
    given = parser.parse_args()
    with _world() as world:
        if given.share:
            measure_share(world)
        elif given.mutants:
            hunt(world)
        else:
            prove(world, range(given.first, given.first + given.schedules), given.record)


def prove(world: World, seeds: range, record: Path | None) -> None:
    """Run the schedules; any that fails raises."""
    total, began = Tally(), time.perf_counter()
    for first in range(seeds.start, seeds.stop, CHUNK):
        chunk = range(first, min(first + CHUNK, seeds.stop))
        found, since = sum((world.run(seed) for seed in chunk), Tally()), time.perf_counter()
        total += found
        if record is not None:
            line = {"first": chunk.start, "last": chunk[-1], "seconds": round(since - began), **asdict(found)}
            with record.open("a") as file:
                file.write(json.dumps(line) + "\n")
        print(f"{since - began:7.0f} s  {total}", flush=True)
    print("0 overshoots, 0 leaked holds, ledger and bills equal to the last digit")


def hunt(world: World) -> None:
    """Print for each planted fault how many schedules it took to find it, and by what."""
    for mutant in MUTANTS:
        found = mutant.hunt(world, range(MOST_SCHEDULES))
        print(f"{mutant.name:60}  {'NOT FOUND' if found is None else f'{found.schedules:4}  {found.by}'}", flush=True)


def measure_share(world: World) -> None:
    """Buy reports of a usual size until one is refused, under caps of so many reports, and print what is left."""
    size = _usual()
    print(f"a report of {size.usage} costs ${size.usd}, ${size.promised} is held for it")
    print("cap (reports)  outcomes lost  bought  unspent at the first refusal  of it held for lost outcomes")
    for reports in (10, 100, 1_000):
        for lost in (0, 100, 20):
            bought, unspent, held = _share(world, size, reports, lost)
            often = f"1 in {lost}" if lost else "none"
            print(f"{reports:13}  {often:>13}  {bought:6}  {unspent:28.2%}  {held:30.2%}", flush=True)


@dataclass(frozen=True)
class Size:
    """A report's tokens, what they cost and what is held for them."""

    usage: TokenUsage
    usd: Decimal
    promised: Decimal


def _usual() -> Size:
    """A report of the default settings: a full prompt on 2,000 findings, counted by the estimate."""
    data, given, counter = window(2_000, 7, cameras=4, classes=3), ReportSettings(), TokenCounter()
    prompt = build_prompt(data, budget=given.token_budget, measure=ceiling).text
    written = counter.estimate(compose(data, Language.ENGLISH).model_dump_json())
    usage = TokenUsage(counter.estimate(prompt), written)
    promised = dearest(MODEL, input_tokens=schema_ceiling(prompt), output_tokens=given.max_output_tokens, at=NOW)
    return Size(usage, price_usage(usage, MODEL, at=NOW).usd, promised)


def _share(world: World, size: Size, reports: int, lost: int) -> tuple[int, Decimal, Decimal]:
    """Reports bought, share of the cap unspent then, and the share of it that lost outcomes hold."""
    with world.quiet.begin() as session:
        world.empty(session)
    cap = size.usd * reports
    flows.set_budget(world.quiet, SITE, cap)
    bought = 0
    while (attempt_id := _open(world, size.promised)) is not None:
        bought += 1
        if lost and bought % lost == 0:
            ended = ledger.Settlement(AttemptState.UNKNOWN)
        else:
            ended = ledger.Settlement(AttemptState.PAID, usage=size.usage, usd=size.usd)
        with world.quiet.begin() as session:
            ledger.settle_attempt(session, attempt_id, ended)
    with world.quiet() as session:
        (state,) = budget_states(session)
    return bought, 1 - state.settled_usd / cap, state.held_usd / cap


def _open(world: World, promised: Decimal) -> int | None:
    new = ledger.NewAttempt(
        window_id=WindowId(world.windows[0]),
        call="report",
        writer="anthropic",
        model=MODEL,
        simulated=False,
        body_sha256="",
        price=price_vector(MODEL, at=datetime.now(UTC)),
        purchase=Purchase(LINE, {}, promised),
    )
    try:
        with world.quiet.begin() as session:
            enter(session)
            return ledger.open_attempt(session, new)
    except BudgetExhausted:
        return None


@contextmanager
def _world() -> Iterator[World]:
    """A PostgreSQL of its own."""
    with tempfile.TemporaryDirectory(prefix="gistline-budgets-") as name:
        folder = Path(name)
        with postgres(folder / "data", folder / "log", options=QUICK) as url:
            migrate.upgrade(url)
            gc.freeze()  # a fifth of the time went into looking through what is imported
            gc.set_threshold(50_000)
            world = World(url)
            try:
                yield world
            finally:
                world.close()


if __name__ == "__main__":
    main()
