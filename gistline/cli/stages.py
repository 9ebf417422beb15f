"""``gistline stages``: where the time of the last batches went."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict

import click
from rich.table import Table

from gistline.cli.database import database
from gistline.cli.output import console, print_json
from gistline.storage.batches import STAGES, StageSums, stage_sums
from gistline.storage.session import transaction


@click.command("stages")
@click.option("--minutes", type=click.FloatRange(0.1, 10_080), default=15.0, show_default=True, help="How far back.")
@click.option("--json", "as_json", is_flag=True, help="Print JSON.")
@click.pass_context
def command(context: click.Context, /, *, minutes: float, as_json: bool) -> None:
    """Mean milliseconds a frame in each stage, by worker.

    Stages of neighbouring batches overlap, so they add up to more than the time that passed: what bounds a worker is
    the greatest of them, as a rule 'infer'. 'queue' is the wait from acceptance to the claim; 'fetch' and 'decode' are
    summed over threads.
    """
    with database(context) as opened, transaction(opened.sessions) as session:
        found = stage_sums(session, minutes=minutes)
    if as_json:
        print_json([asdict(one) for one in found])
    elif found:
        console().print(_table(found))
    else:
        console().print(f"No batch in the last {minutes:g} minutes.")


def _table(found: Sequence[StageSums]) -> Table:
    table = Table("worker", caption="milliseconds a frame; stages of neighbouring batches overlap")
    for name in ("batches", "frames", "failed", "cameras", *STAGES, "longest queue", "commit a batch", "whole batch"):
        table.add_column(name, justify="right")
    for one in found:
        stages = [f"{getattr(one, f'{name}_ms'):.2f}" for name in STAGES]
        whole = [f"{one.queue_max_ms:.0f}", f"{one.commit_batch_ms:.1f}", f"{one.total_batch_ms:.0f}"]
        counts = [str(one.batches), str(one.frames), str(one.failed), f"{one.cameras:.1f}"]
        table.add_row(one.worker, *counts, *stages, *whole)
    return table
