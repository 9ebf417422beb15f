"""``gistline model passport MODEL``: measure an engine on this machine."""

from __future__ import annotations

from pathlib import Path

import click

from gistline.cli.database import Database
from gistline.cli.models.passport_table import as_json, print_passport
from gistline.cli.models.registry import registry
from gistline.cli.output import FAILED, errors, print_json
from gistline.domain import Passport, PassportVerdict
from gistline.errors import RequestRejected
from gistline.flows.measure_passport import MeasuringTools, measure_passport
from gistline.flows.trial_images import LabelledFiles
from gistline.storage.models import find_model
from gistline.storage.session import transaction


@click.command("passport")
@click.argument("model", metavar="NAME|SHA256")
@click.option(
    "--labelled", type=click.Path(path_type=Path), help="COCO file of labelled images. Default: rendered boards."
)
@click.option("--images", type=click.Path(path_type=Path), help="Their folder. Default: the COCO file's own.")
@click.option("--against", metavar="NAME|SHA256", help="FP32 model to hold it against. Default: its twin.")
@click.option("--json", "json_wanted", is_flag=True, help="Print JSON.")
@click.pass_context
def passport(
    context: click.Context,
    /,
    *,
    model: str,
    labelled: Path | None,
    images: Path | None,
    against: str | None,
    json_wanted: bool,
) -> None:
    """Measure a model's engine on this machine beside its FP32 twin, and store the result as its passport.

    Exits 1 when it fails the limits in force (settings passport.*). The newest passport of an engine counts.
    """
    if images is not None and labelled is None:
        raise RequestRejected("--images names a folder, but no labels.", cure="Add --labelled COCO.json.")
    files = LabelledFiles(labelled, images) if labelled else None
    with registry(context) as held:
        made = _measure(held, model, against, files)
        if json_wanted:
            print_json(as_json(made, held.settings))
        else:
            print_passport(made, held.settings)
    context.exit(0 if made.judgement.verdict is PassportVerdict.PASSED else FAILED)


def _measure(held: Database, model: str, against: str | None, files: LabelledFiles | None) -> Passport:
    with transaction(held.sessions) as session:
        found = find_model(session, model)
        twin = find_model(session, against) if against else None
    with errors().status(f"Measuring {found.name}"):
        return measure_passport(found, MeasuringTools(held.sessions, held.settings), files=files, against=twin)
