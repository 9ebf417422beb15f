"""The ``gistline`` command: a list of commands whose modules are imported only when they are called."""

from __future__ import annotations

import sys
import traceback
from collections.abc import Mapping, Sequence
from importlib.metadata import version

import click

from gistline.cli.invocation import Invocation, parse_overrides
from gistline.cli.lazy import Entry, LazyGroup
from gistline.cli.output import FAILED, INTERRUPTED, OK, exit_code, print_error
from gistline.errors import GistlineError

COMMANDS: Mapping[str, Entry] = {
    "demo": Entry("gistline.cli.demo", "Simulated cameras through the whole system, on this machine, in a minute."),
    "up": Entry("gistline.cli.up", "Run the API, the workers and, where none are named, the servers."),
    "detect": Entry("gistline.cli.detect", "Findings of image files, in this process, without any server."),
    "model": Entry("gistline.cli.model", "Detectors: take in, quantise, measure, promote, roll back."),
    "accuracy": Entry("gistline.cli.accuracy", "Engines in service, measured again: labels, FP32, opinions, drift."),
    "bench": Entry("gistline.cli.bench", "Latency and throughput of detectors, side by side."),
    "drain": Entry("gistline.cli.drain", "Take workers out: they finish what they hold, give back the rest and leave."),
    "stages": Entry("gistline.cli.stages", "Where the time of the last batches went: queue, decode, engine, commit."),
    "alarms": Entry("gistline.cli.alarms", "Alarm rules, alarms and their deliveries: webhook, MQTT, e-mail, log."),
    "gate": Entry("gistline.cli.gate", "An example of a sorting gate: what it would do with each part."),
    "metrics": Entry("gistline.cli.metrics", "Serve what the database knows of the fleet to Prometheus."),
    "health": Entry("gistline.cli.health", "Is a process of this machine ready? An exit code for container engines."),
    "cameras": Entry("gistline.cli.cameras", "Add cameras, list them, and change or revoke their keys."),
    "camera": Entry("gistline.cli.camera", "Beside a camera: send a folder, a video or a stream, losing nothing."),
    "keys": Entry("gistline.cli.keys", "Keys of programs that ask by the API: create, list, rotate, revoke."),
    "people": Entry("gistline.cli.people", "Who may sign in: add, list, change, disable."),
    "submit": Entry("gistline.cli.submit", "Send image files to a running API."),
    "ledger": Entry("gistline.cli.ledger", "Do the books agree? Nothing accepted is lost, nothing counted twice."),
    "dead-letters": Entry("gistline.cli.dead_letters", "Frames that were given up: list, retry, discard."),
    "reports": Entry("gistline.cli.reports", "Written reports, and what each is based on."),
    "costs": Entry("gistline.cli.costs", "What the reports cost, beside what sending the images would have."),
    "twin": Entry("gistline.cli.twin", "A local twin of the Messages API: rehearse without a key, with faults."),
    "budgets": Entry("gistline.cli.budgets", "Ceilings in dollars, by site, line or camera and by day or month."),
    "settings": Entry("gistline.cli.settings_cmd", "Every setting: value, origin, bounds, meaning."),
    "db": Entry("gistline.cli.db", "Bring the database's tables to this version."),
    "doctor": Entry("gistline.cli.doctor", "What this machine has, what is missing, and the cure."),
}


@click.group(cls=LazyGroup, table=COMMANDS, context_settings={"help_option_names": ["-h", "--help"]})
@click.option("--set", "pairs", multiple=True, metavar="NAME=VALUE", help="Change a setting, such as api.port=0.")
@click.option("--debug", is_flag=True, help="Show the traceback of an error.")
@click.version_option(version("gistline"), message="%(prog)s %(version)s")
@click.pass_context
def cli(context: click.Context, /, *, pairs: tuple[str, ...], debug: bool) -> None:
    """Camera frames in, the gist out, at a price known beforehand.

    \b
    Exit codes:
      0  done
      1  failed; the message says why and what cures it
      2  wrong usage or input: an unknown option, a setting out of bounds, no image
    """
    invocation = context.ensure_object(Invocation)
    invocation.debug = debug
    invocation.overrides = parse_overrides(pairs)


def run(argv: Sequence[str]) -> int:
    """Run one command line and return its exit code."""
    invocation = Invocation()
    try:
        result = cli.main(list(argv), prog_name="gistline", standalone_mode=False, obj=invocation)
    except click.Abort:
        return INTERRUPTED
    except click.ClickException as error:
        error.show()
        return error.exit_code
    except GistlineError as error:
        if invocation.debug:
            traceback.print_exc()
        print_error(error)
        return exit_code(error)
    except ImportError as error:
        if invocation.debug:
            traceback.print_exc()
        click.echo(f"Not everything is installed: {error}. Install Gistline again.", err=True)
        return FAILED
    return result if isinstance(result, int) else OK


def main() -> None:
    """Entry point of the installed script."""
    sys.exit(run(sys.argv[1:]))
