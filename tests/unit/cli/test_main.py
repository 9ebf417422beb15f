"""The command line as its user meets it: help without loading anything, exit codes, errors with their cure."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import click
import pytest
from click.testing import CliRunner

from gistline.cli.invocation import parse_overrides
from gistline.cli.main import COMMANDS, cli, run
from gistline.cli.output import exit_code
from gistline.errors import (
    GistlineError,
    ImageRejected,
    ImageTooLarge,
    NotFound,
    RequestRejected,
    SettingsError,
    StorageUnavailable,
    WriterFailed,
)
from tests.support.processes import ROOT

HEAVY = ("openvino", "cv2", "numpy", "onnx", "sqlalchemy", "celery", "fastapi", "anthropic", "tiktoken", "redis")

pytestmark = pytest.mark.usefixtures("clean_settings")


def test_help_lists_every_command_and_the_exit_codes() -> None:
    result = CliRunner().invoke(cli, ["--help"], prog_name="gistline")
    assert result.exit_code == 0
    for name, entry in COMMANDS.items():
        assert f"\n  {name} " in result.output
        assert entry.sentence.split()[0] in result.output
    assert "2  wrong usage or input" in result.output


def test_help_imports_nothing_heavy() -> None:
    script = f"""
import sys
from gistline.cli.main import run
run(["--help"])
print([name for name in {HEAVY!r} if name in sys.modules])
"""
    done = subprocess.run([sys.executable, "-c", script], cwd=ROOT, check=True, capture_output=True, text=True)
    assert done.stdout.splitlines()[-1] == "[]"


@pytest.mark.parametrize("name", COMMANDS)
def test_every_command_has_help(name: str) -> None:
    result = CliRunner().invoke(cli, [name, "--help"], prog_name="gistline")
    assert result.exit_code == 0, result.output
    assert result.output.startswith(f"Usage: gistline {name}")


@pytest.mark.parametrize("name", COMMANDS)
def test_every_option_of_every_command_says_what_it_does(name: str) -> None:
    found = cli.get_command(click.Context(cli), name)
    assert found is not None
    context = click.Context(found)
    members = (
        [found.get_command(context, one) for one in found.list_commands(context)]
        if isinstance(found, click.Group)
        else [found]
    )
    for command in members:
        assert command is not None
        assert command.help, command.name
        assert [option.name for option in command.params if isinstance(option, click.Option) and not option.help] == []


@pytest.mark.parametrize(
    ("error", "code"),
    [
        (SettingsError("s"), 2),
        (ImageRejected("i"), 2),
        (ImageTooLarge("i"), 2),
        (RequestRejected("r"), 2),
        (NotFound("n"), 2),
        (StorageUnavailable("s"), 1),
        (WriterFailed("w"), 1),
        (GistlineError("g"), 1),
    ],
)
def test_bad_input_exits_2_and_failure_exits_1(error: GistlineError, code: int) -> None:
    assert exit_code(error) == code


@pytest.mark.parametrize(
    "argv", [["no-such-command"], ["settings", "--no-such-option"], ["--set", "portless", "settings"]]
)
def test_wrong_usage_exits_2(argv: list[str], capsys: pytest.CaptureFixture[str]) -> None:
    assert run(argv) == 2
    captured = capsys.readouterr()
    assert "Error" in captured.err
    assert captured.out == ""


def test_an_error_shows_message_and_cure_but_no_traceback(capsys: pytest.CaptureFixture[str]) -> None:
    assert run(["--set", "api.port=70000", "settings"]) == 2
    error = capsys.readouterr().err
    assert "api.port = '70000'" in error
    assert "'gistline settings' lists every name" in error
    assert "Traceback" not in error


def test_debug_shows_the_traceback(capsys: pytest.CaptureFixture[str]) -> None:
    assert run(["--debug", "--set", "api.port=70000", "settings"]) == 2
    assert "Traceback" in capsys.readouterr().err


def test_the_version_is_the_package_s(capsys: pytest.CaptureFixture[str]) -> None:
    assert run(["--version"]) == 0
    assert capsys.readouterr().out.startswith("gistline 0.")


@pytest.mark.parametrize(
    ("pairs", "tree"),
    [
        ((), {}),
        (("api.port=0", "api.host=::1", "data_dir=x=y"), {"api": {"port": "0", "host": "::1"}, "data_dir": "x=y"}),
        (('verdict.severities={"open": 3}',), {"verdict": {"severities": {"open": 3}}}),
        (("API.Port=0",), {"api": {"port": "0"}}),
    ],
)
def test_settings_as_arguments(pairs: tuple[str, ...], tree: dict[str, object]) -> None:
    assert parse_overrides(pairs) == tree


@pytest.mark.parametrize("pairs", [("port",), ("=1",), ("a=1", "a.b=2"), ("verdict.severities={open}",)])
def test_arguments_that_are_no_settings(pairs: tuple[str, ...]) -> None:
    with pytest.raises(click.BadParameter):
        parse_overrides(pairs)


def test_settings_as_json_tell_value_and_origin(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("GISTLINE_DATABASE__URL", "postgresql://u:hunter2@db/one")
    assert run(["--set", "api.port=0", "settings", "--json"]) == 0
    output = capsys.readouterr().out
    found = {knob["name"]: knob for knob in json.loads(output)}
    assert (found["api.port"]["value"], found["api.port"]["origin"]) == (0, "argument")
    assert (found["database.url"]["value"], found["database.url"]["origin"]) == ("***", "environment")
    assert "hunter2" not in output


def test_settings_for_readers_and_as_toml(capsys: pytest.CaptureFixture[str]) -> None:
    assert run(["settings", "api.port"]) == 0
    shown = capsys.readouterr().out
    assert "api.port = 8080" in shown
    assert "[default]" in shown
    assert "Allowed: 0 to 65535." in shown
    assert "api.host" not in shown
    assert run(["settings", "--toml"]) == 0
    assert "# port = 8080" in capsys.readouterr().out


def test_an_unknown_prefix_is_refused(capsys: pytest.CaptureFixture[str]) -> None:
    assert run(["settings", "colour"]) == 2
    assert "'colour'" in capsys.readouterr().err


def test_the_installed_script_runs(tmp_path: Path) -> None:
    script = Path(sys.executable).with_name("gistline")
    done = subprocess.run([script, "--version"], cwd=tmp_path, check=True, capture_output=True, text=True)
    assert done.stdout.startswith("gistline ")
