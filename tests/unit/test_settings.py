"""The settings tree: sources and their order, refusals, and what is told about each setting."""

from __future__ import annotations

import json
import tomllib
from pathlib import Path
from typing import Any

import pytest
from pydantic import BaseModel, SecretStr

from gistline.errors import SettingsError
from gistline.settings import Settings, load_settings
from gistline.settings_report import Knob, Origin, as_environment, as_toml, describe


@pytest.fixture(autouse=True)
def _clean(clean_settings: Path) -> None:
    """No test here sees the settings of the machine that runs it."""


def knobs(**arguments: Any) -> dict[str, Knob]:
    return {knob.name: knob for knob in describe(load_settings(**arguments), arguments)}


def test_every_setting_says_what_it_means() -> None:
    for knob in knobs().values():
        assert knob.sentence.endswith("."), knob.name
        assert knob.variable == "GISTLINE_" + knob.name.upper().replace(".", "__")
        if isinstance(knob.default, int | float) and not isinstance(knob.default, bool):
            assert " to " in knob.allowed, f"{knob.name} is a number without bounds"


def test_every_setting_is_told() -> None:
    def count(section: type[BaseModel]) -> int:
        kinds = [field.annotation for field in section.model_fields.values()]
        return sum(count(kind) if isinstance(kind, type) and issubclass(kind, BaseModel) else 1 for kind in kinds)

    assert len(knobs()) == count(Settings)


def test_no_default_is_a_working_secret() -> None:
    assert all(knob.default == "" for knob in knobs().values() if knob.secret)
    assert {name for name, knob in knobs().items() if knob.secret} >= {
        "database.url",
        "redis.url",
        "anthropic_api_key",
    }


def test_the_stronger_source_wins_and_is_named(clean_settings: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (clean_settings / "gistline.toml").write_text(
        "[api]\nport = 1\nmax_images = 2\n[fleet]\nbatch_size = 4\n[verdict.severities]\nscratch = 3\n"
    )
    monkeypatch.setenv("GISTLINE_API__PORT", "5")
    monkeypatch.setenv("GISTLINE_API__MAX_IMAGES", "6")
    monkeypatch.setenv("GISTLINE_REPORTS", '{"writer": "offline"}')
    found = knobs(api={"port": 7})
    assert {name: (knob.value, knob.origin) for name, knob in found.items() if knob.origin is not Origin.DEFAULT} == {
        "api.port": (7, Origin.ARGUMENT),
        "api.max_images": (6, Origin.ENVIRONMENT),
        "reports.writer": ("offline", Origin.ENVIRONMENT),
        "fleet.batch_size": (4, Origin.FILE),
        "verdict.severities": ({"scratch": 3}, Origin.FILE),
    }


def test_the_key_is_found_under_the_sdk_s_name_too(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("ANTHROPIC_API_KEY", "sk-test")
    knob = knobs()["anthropic_api_key"]
    assert (knob.value, knob.origin) == ("***", Origin.ENVIRONMENT)


def test_a_named_file_that_is_missing_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("GISTLINE_CONFIG", "elsewhere.toml")
    with pytest.raises(SettingsError, match=r"GISTLINE_CONFIG names elsewhere\.toml, which is no file"):
        load_settings()


@pytest.mark.parametrize(
    ("variable", "value", "said"),
    [
        ("GISTLINE_API__PORT", "70000", r"api\.port = '70000': .* less than or equal to 65535"),
        ("GISTLINE_REPORTS__TOKEN_BUDGET", "100", r"reports\.token_budget = '100': .* greater than or equal to 200"),
        ("GISTLINE_FRAMES__KEEP_KEYS_DAYS", "0.5", r"frames\.keep_keys_days = '0\.5': "),
        ("GISTLINE_ACCESS__MIN_PASSWORD", "hunter2", r"access\.min_password = \*\*\*: "),
        ("GISTLINE_FLEET__HEARTBEAT_S", "30", "less than or equal to 5"),
        ("GISTLINE_API__PROT", "1", r"api\.prot = '1': Extra inputs are not permitted"),
        ("GISTLINE_DETECTON__MODEL", "x", "GISTLINE_DETECTON__MODEL names no setting"),
        ("GISTLINE_DETECTION__PRECISION", "int4", r"detection\.precision = 'int4'"),
        ("GISTLINE_VERDICT__SEVERITIES", "{", "cannot be read"),
    ],
)
def test_wrong_values_are_named_with_what_is_allowed(
    monkeypatch: pytest.MonkeyPatch, variable: str, value: str, said: str
) -> None:
    monkeypatch.setenv(variable, value)
    with pytest.raises(SettingsError, match=said) as caught:
        load_settings()
    assert caught.value.cure


def test_a_broken_file_is_named(clean_settings: Path) -> None:
    (clean_settings / "gistline.toml").write_text("[api\n")
    with pytest.raises(SettingsError, match="cannot be read") as caught:
        load_settings()
    assert "gistline.toml" in caught.value.cure


def test_no_error_shows_a_secret() -> None:
    with pytest.raises(SettingsError) as caught:
        load_settings(database={"url": {"password": "hunter2"}}, anthropic_api_key=["hunter2"])
    assert "hunter2" not in str(caught.value)


def test_a_secret_is_told_by_no_description(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("GISTLINE_DATABASE__URL", "postgresql://u:hunter2@db/one")
    described = describe(load_settings(redis={"url": "redis://:hunter2@cache"}))
    assert "hunter2" not in str(described) + as_toml(described)


def test_the_toml_file_loads_as_what_it_was_written_from(clean_settings: Path) -> None:
    settings = load_settings(
        data_dir=Path('odd "name"'),
        api={"port": 0},
        detection={"min_confidence": 0.5},
        verdict={"severities": {"pin-hole": 3, 'a "b"': 1}},
        frames={"keep": "all"},
    )
    text = as_toml(describe(settings))
    (clean_settings / "gistline.toml").write_text(text)
    assert load_settings() == settings
    assert "# Port that the API listens on; 0 takes a free one.\n# (0 to 65535; GISTLINE_API__PORT)\nport = 0\n" in text


def test_the_toml_file_of_the_defaults_sets_nothing() -> None:
    def values(table: dict[str, object]) -> list[object]:
        inner = [value for value in table.values() if isinstance(value, dict)]
        return [value for value in table.values() if value not in inner] + [one for t in inner for one in values(t)]

    assert values(tomllib.loads(as_toml(describe(load_settings())))) == []


def test_the_environment_carries_every_value_in_the_clear(monkeypatch: pytest.MonkeyPatch) -> None:
    settings = load_settings(
        anthropic_api_key="sk-test",
        database={"url": SecretStr("postgresql://u:p@db/one")},
        verdict={"severities": {"open": 1}, "ng_confidence": 0.25},
        frames={"keep": "nothing"},
    )
    variables = as_environment(settings)
    assert variables["GISTLINE_DATABASE__URL"] == "postgresql://u:p@db/one"
    assert json.loads(variables["GISTLINE_VERDICT__SEVERITIES"]) == {"open": 1}
    for name, value in variables.items():
        monkeypatch.setenv(name, value)
    assert load_settings() == settings
