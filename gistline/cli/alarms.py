"""``gistline alarms``: rules, the alarms that they raised, and whom their notices reached."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict
from typing import Any

import click

from gistline.alarms.rules import OUTPUTS
from gistline.cli.actor import actor
from gistline.cli.database import database
from gistline.cli.output import OK, console, print_json
from gistline.domain_acting import AlarmSeverity, DeliveryState, RuleKind
from gistline.flows.alarm_rules import add_rule, decide_deliveries, remove_rule, set_rule, try_rule
from gistline.storage.alarm_rules import StoredRule, list_rules
from gistline.storage.alarms import Alarm, Delivery, list_alarms, list_deliveries
from gistline.storage.session import transaction


@click.group("alarms")
def command() -> None:
    """Rules raise alarms; each notice goes out by webhook, MQTT, e-mail or log until it has arrived."""


def _fields(function: Any) -> Any:
    """Options that ``add`` and ``set`` share."""
    options = (
        click.option(
            "--severity", type=click.Choice([one.value for one in AlarmSeverity]), help="How much it matters."
        ),
        click.option("--line", help="Only this production line."),
        click.option("--camera", help="Only this camera."),
        click.option("--label", help="Only this class (rules of kind class and severity)."),
        click.option(
            "--param", "pairs", multiple=True, metavar="NAME=VALUE", help="What the kind of rule may be told."
        ),
        click.option("--cooldown-s", type=int, help="Least seconds between two notices about the same scope."),
        click.option(
            "--output", "outputs", multiple=True, metavar="|".join(OUTPUTS), help="Where notices go; repeatable."
        ),
    )
    for option in reversed(options):
        function = option(function)
    return function


@command.command("add")
@click.argument("name")
@click.option("--kind", type=click.Choice([one.value for one in RuleKind]), required=True, help="What it looks at.")
@_fields
@click.pass_context
def add(context: click.Context, /, *, name: str, kind: str, **given: Any) -> None:
    """Add a rule, such as: gistline alarms add shorts --kind class --label short --output webhook."""
    with database(context) as opened:
        rule = add_rule(opened.sessions, {"name": name, "kind": kind, **_given(given)}, by=actor())
    console().print(f"Rule {rule.name} is looked at from now on: {rule.kind.value} {rule.params}.", markup=False)


@command.command("set")
@click.argument("name")
@_fields
@click.option("--enable/--disable", "enabled", default=None, help="Whether it is looked at.")
@click.pass_context
def change(context: click.Context, /, *, name: str, enabled: bool | None, **given: Any) -> None:
    """Change a rule; what is not named stays."""
    changes = _given(given) | ({} if enabled is None else {"enabled": enabled})
    if not changes:
        raise click.UsageError("Name at least one field to change.")
    with database(context) as opened:
        rule = set_rule(opened.sessions, name, changes, by=actor())
    console().print(f"Rule {rule.name}: {rule.model_dump(mode='json')}", markup=False)


@command.command("remove")
@click.argument("name")
@click.pass_context
def remove(context: click.Context, /, *, name: str) -> None:
    """Remove a rule; its alarms end and can still be read."""
    with database(context) as opened:
        remove_rule(opened.sessions, name, by=actor())
    console().print(f"Rule {name} is gone.", markup=False)


@command.command("test")
@click.argument("name")
@click.pass_context
def test(context: click.Context, /, *, name: str) -> None:
    """Send a notice marked TEST by every output of a rule; 'alarms deliveries list' shows how it went."""
    with database(context) as opened:
        ids = try_rule(opened.sessions, name, by=actor())
    for one in ids:
        console().print(f"{one} waits for a report worker to deliver it.")


@command.command("list")
@click.option("--json", "as_json", is_flag=True, help="Print JSON.")
@click.pass_context
def list_command(context: click.Context, /, *, as_json: bool) -> None:
    """Rules, how many alarms of each fire, and how many notices its cooldown held back."""
    with database(context) as opened, transaction(opened.sessions) as session:
        rules = list_rules(session)
    if as_json:
        print_json([asdict(one) for one in rules])
        return
    for one in rules:
        _print_rule(one)
    if not rules:
        console().print("No rules. 'gistline alarms add --help' says how to make one.")


@command.command("fired")
@click.option("--firing", is_flag=True, help="Only those that are not over.")
@click.option("--limit", type=click.IntRange(1, 10_000), default=50, show_default=True, help="Most alarms shown.")
@click.option("--json", "as_json", is_flag=True, help="Print JSON.")
@click.pass_context
def fired(context: click.Context, /, *, firing: bool, limit: int, as_json: bool) -> None:
    """Alarms, newest first; times are UTC."""
    with database(context) as opened, transaction(opened.sessions) as session:
        found = list_alarms(session, limit=limit, firing=firing)
    if as_json:
        print_json([asdict(one) for one in found])
        return
    for one in found:
        _print_alarm(one)
    if not found:
        console().print("No alarms.")


@command.group("deliveries")
def deliveries() -> None:
    """Notices on their way; what failed too often or for good is dead until somebody decides."""


@deliveries.command("list")
@click.option(
    "--state", "states", multiple=True, type=click.Choice([one.value for one in DeliveryState]), help="Only these."
)
@click.option("--limit", type=click.IntRange(1, 10_000), default=50, show_default=True, help="Most deliveries shown.")
@click.option("--json", "as_json", is_flag=True, help="Print JSON.")
@click.pass_context
def list_deliveries_command(context: click.Context, /, *, states: Sequence[str], limit: int, as_json: bool) -> None:
    """Deliveries, newest first; times are UTC."""
    with database(context) as opened, transaction(opened.sessions) as session:
        found = list_deliveries(session, limit=limit, states=[DeliveryState(one) for one in states])
    if as_json:
        print_json([asdict(one) for one in found])
        return
    for one in found:
        _print_delivery(one)
    if not found:
        console().print("No deliveries.")


def _decision(name: str, state: DeliveryState, about: str) -> click.Command:
    @click.command(name, help=about)
    @click.argument("ids", nargs=-1, type=click.UUID)
    @click.option("--all", "every", is_flag=True, help="All dead ones.")
    @click.pass_context
    def decide(context: click.Context, /, *, ids: Sequence[Any], every: bool) -> int:
        if bool(ids) == every:
            raise click.UsageError("Name deliveries by their ids, or give --all.")
        with database(context) as opened:
            changed = decide_deliveries(opened.sessions, None if every else ids, state, by=actor())
        console().print(f"{len(changed)} deliveries are {state.value} now.")
        left = [one for one in ids if one not in changed]
        for one in left:
            console().print(f"{one} is not one that can be: see 'gistline alarms deliveries list'.")
        return 1 if left else OK

    return decide


deliveries.add_command(_decision("retry", DeliveryState.PENDING, "Try dead deliveries again, as if they were new."))
deliveries.add_command(_decision("discard", DeliveryState.DISCARDED, "Let dead or waiting deliveries go."))


def _given(options: dict[str, Any]) -> dict[str, Any]:
    """What was named on the command line, as fields of a rule."""
    pairs = options.pop("pairs")
    outputs = options.pop("outputs")
    fields = {name: value for name, value in options.items() if value is not None}
    if outputs:
        fields["outputs"] = list(outputs)
    if pairs:
        fields["params"] = dict(_pair(one) for one in pairs)
    return fields


def _pair(text: str) -> tuple[str, str]:
    name, equals, value = text.partition("=")
    if not equals:
        raise click.BadParameter(f"{text!r} is not NAME=VALUE, such as count=5.")
    return name.strip(), value.strip()


def _print_rule(one: StoredRule) -> None:
    fields = one.fields
    scope = " ".join(f"{name} {fields[name]}" for name in ("line", "camera", "label") if fields[name]) or "everywhere"
    told = "".join(f", {name}={value}" for name, value in fields["params"].items())
    # A webhook's own address may be a secret.
    outputs = " ".join(name if name.startswith("email") else name.partition(":")[0] for name in fields["outputs"])
    state = f"{one.firing} firing, {one.held_back} notices held back" if fields["enabled"] else "off"
    console().print(
        f"{fields['name']}  {AlarmSeverity(fields['severity'])}  {RuleKind(fields['kind'])} {scope}{told}  "
        f"cooldown {fields['cooldown_s']} s  to {outputs}: {state}",
        markup=False,
    )


def _print_alarm(one: Alarm) -> None:
    end = f", over at {one.resolved_at:%H:%M:%S}" if one.resolved_at else ""
    held = f", {one.held_back} notices held back" if one.held_back else ""
    console().print(
        f"{one.fired_at:%Y-%m-%d %H:%M:%S}  {one.severity}  {one.rule}  {one.state}{end}  x{one.count}{held}: "
        f"{one.text}",
        markup=False,
    )


def _print_delivery(one: Delivery) -> None:
    why = f": {one.error}" if one.error else ""
    told = f"{one.notice['subject']} ({one.notice['event']})"
    console().print(
        f"{one.id}  {one.created_at:%Y-%m-%d %H:%M:%S}  {one.output}  {one.state} after {one.attempts} attempts  "
        f"{told}{why}",
        markup=False,
    )
