"""``gistline costs --savings``: from the images to what was paid, step by step."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime
from decimal import Decimal

from rich.table import Table
from sqlalchemy.orm import Session

from gistline.cli.output import console, print_json
from gistline.costs.savings import LEVELS, Savings
from gistline.storage.savings import LevelSums, level_sums

NAMES = (*LEVELS, "images_batch")


def show_savings(session: Session, since: datetime, *, as_json: bool) -> None:
    """Print the sum of all lines and models; as JSON each of them as well."""
    found = level_sums(session, since=since, names=NAMES)
    total = _savings(found)
    reports, plain = sum(one.reports for one in found), sum(one.plain for one in found)
    if as_json:
        rows = [{"line": one.line, "model": one.model, "reports": one.reports} | _row(one) for one in found]
        print_json({"rows": rows, "total": {"reports": reports, "undivided_reports": plain} | total.as_json()})
    elif not found:
        console().print("No report windows in this time.")
    else:
        _print(total, reports + plain)


def _row(sums: LevelSums) -> dict[str, object]:
    return _savings([sums]).as_json()


def _savings(found: Sequence[LevelSums]) -> Savings:
    levels = {name: sum((one.levels[name] for one in found), Decimal(0)) for name in NAMES}
    return Savings(
        levels=levels,
        paid=sum((one.paid for one in found), Decimal(0)),
        undivided=sum((one.plain_images - one.plain_paid for one in found), Decimal(0)),
    )


def _print(savings: Savings, reports: int) -> None:
    shown = Table(box=None, pad_edge=False)
    for title, side in (("step", "left"), ("saved", "right"), ("of the images", "right")):
        shown.add_column(title, justify="right" if side == "right" else "left", overflow="fold")
    for _, words, usd in savings.steps:
        shown.add_row(words, _dollars(usd), _share(usd, savings.images_usd))
    shown.add_row(
        "[bold]saved, net of every paid call",
        f"[bold]{_dollars(savings.total_usd)}",
        _share(savings.total_usd, savings.images_usd),
    )
    console().print(f"{reports} reports. Images at the cheapest: {_dollars(savings.images_usd)}", markup=False)
    console().print(shown)
    batched = _dollars(savings.levels["images_batch"].quantize(Decimal("0.000001")))
    against = f"The same images as a batch, up to a day later: {batched}; against those "
    console().print(f"{against}{_dollars(savings.against_batched_images_usd)} saved.", markup=False)


def _dollars(usd: Decimal) -> str:
    return f"{'-' if usd < 0 else ''}${abs(usd):.6f}"


def _share(usd: Decimal, of: Decimal) -> str:
    return f"{100 * usd / of:.2f} %" if of else "-"
