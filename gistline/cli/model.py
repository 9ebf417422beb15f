"""``gistline model``: bring, quantise, build, prove and serve detectors."""

from __future__ import annotations

from collections.abc import Mapping

import click

from gistline.cli.lazy import Entry, LazyGroup

MODELS: Mapping[str, Entry] = {
    "add": Entry("gistline.cli.models.add", "Take an ONNX detector into the registry.", "add"),
    "quantise": Entry("gistline.cli.models.quantise", "Make an INT8 detector out of an FP32 one.", "quantise"),
    "build": Entry("gistline.cli.models.build", "Build a detector's engine for this machine's GPU.", "build"),
    "passport": Entry("gistline.cli.models.passport", "Measure a detector against its FP32 twin.", "passport"),
    "list": Entry("gistline.cli.models.list", "Every detector of the registry, and which is served.", "list_all"),
    "show": Entry("gistline.cli.models.show", "One detector: facts, passports, who serves it.", "show"),
    "promote": Entry("gistline.cli.models.promote", "Let every worker serve a detector, from now on.", "promote"),
    "rollback": Entry("gistline.cli.models.rollback", "Serve again what was served before.", "rollback"),
}


@click.group("model", cls=LazyGroup, table=MODELS)
def command() -> None:
    """Detectors: take one in, quantise it, measure what that cost, and let the workers serve it.

    Models live in the database, so every machine of the fleet serves the same bytes. No worker serves one that was not
    measured against its FP32 twin on the hardware it runs on.
    """
