"""``gistline twin``: a local server that speaks the Messages API, to rehearse without a key."""

from __future__ import annotations

import signal
from contextlib import suppress
from pathlib import Path
from types import FrameType

import click

from gistline.cli.output import console, errors
from gistline.simulator.messages_api import FAULTS, Books, FaultPlan, MessagesServer, Twin, TwinClock, TwinOptions
from gistline.simulator.messages_api.faults import read_faults


@click.command("twin")
@click.option("--port", type=click.IntRange(0, 65535), default=8091, show_default=True, help="0 takes a free one.")
@click.option(
    "--faults", metavar="FILE", help="A file that says what goes wrong; 'every' for every fault, half of the time."
)
@click.option("--seed", type=int, help="Draws the faults and the order of batches' results; outranks the file's.")
@click.option("--books", type=click.Path(path_type=Path, dir_okay=False), help="Append each call's price to this file.")
@click.option(
    "--speed", type=click.FloatRange(0.01, 100_000), default=1.0, show_default=True, help="Twin seconds in a second."
)
@click.option(
    "--batch-seconds", type=click.FloatRange(0, 1e6), default=60.0, show_default=True, help="A batch takes this long."
)
@click.option("--list-faults", is_flag=True, help="Print what can go wrong, and do nothing.")
@click.pass_context
def command(context: click.Context, /, **given: object) -> None:
    """Serve the Messages API on 127.0.0.1 until Ctrl-C, without a model, a key or the network.

    Prints its address; set GISTLINE_REPORTS__BASE_URL to it, and ANTHROPIC_API_KEY to anything. Answers are made by
    rule and tokens are counted by rule: not Claude's. What it would have billed is at /twin/books.
    """
    if given["list_faults"]:
        for name, one in FAULTS.items():
            console().print(f"{name:22} {one.sentence} ({', '.join(sorted(one.places))})", markup=False)
        return
    with Books(context.params["books"]) as books:
        _serve(context.params["port"], _twin(context, books))


def _twin(context: click.Context, books: Books) -> Twin:
    faults, seed = context.params["faults"], context.params["seed"]
    return Twin(
        plan=read_faults(faults, seed=seed) if faults else FaultPlan(),
        books=books,
        clock=TwinClock(speed=context.params["speed"]),
        options=TwinOptions(batch_s=context.params["batch_seconds"], seed=seed or 0),
    )


def _serve(port: int, twin: Twin) -> None:
    def stop(_number: int, _frame: FrameType | None) -> None:
        raise KeyboardInterrupt

    signal.signal(signal.SIGTERM, stop)
    with suppress(KeyboardInterrupt), MessagesServer(port=port, twin=twin) as server:
        click.echo(server.url)
        server.wait()
    books = twin.books
    errors().print(f"{len(books.entries)} calls, {len(books.billed)} billed: ${books.usd:f}", markup=False)
