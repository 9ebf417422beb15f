"""Secrets by file, and passwords beside the URLs that they belong to."""

from __future__ import annotations

from pathlib import Path

import pytest

from gistline.errors import SettingsError
from gistline.settings import load_settings
from gistline.settings_report import Origin, as_environment, describe


@pytest.fixture(autouse=True)
def _clean(clean_settings: Path) -> None:
    """No test here sees the settings of the machine that runs it."""


def test_a_secret_is_read_from_the_file_that_is_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    secret = tmp_path / "secret"
    secret.write_text(" s3cret \n")
    monkeypatch.setenv("GISTLINE_FRAMES__S3_SECRET_ACCESS_KEY_FILE", str(secret))
    monkeypatch.setenv("ANTHROPIC_API_KEY_FILE", str(secret))
    settings = load_settings()
    assert settings.frames.s3_secret_access_key.get_secret_value() == " s3cret ", "only the last line break is dropped"
    assert settings.anthropic_api_key.get_secret_value() == " s3cret "
    told = {knob.name: knob for knob in describe(settings)}
    assert (told["frames.s3_secret_access_key"].value, told["frames.s3_secret_access_key"].origin) == (
        "***",
        Origin.ENVIRONMENT,
    )


def test_an_empty_name_is_no_file(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("GISTLINE_ANTHROPIC_API_KEY_FILE", "")
    assert not load_settings().anthropic_api_key.get_secret_value()


def test_a_file_that_is_missing_is_named_with_its_variable(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("GISTLINE_DATABASE__URL_FILE", "/nowhere/url")
    with pytest.raises(SettingsError, match="GISTLINE_DATABASE__URL_FILE names /nowhere/url, which cannot be read: No"):
        load_settings()


def test_value_and_file_at_once_are_refused_without_being_shown(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "url").write_text("redis://:hunter2@cache")
    monkeypatch.setenv("GISTLINE_REDIS__URL_FILE", str(tmp_path / "url"))
    monkeypatch.setenv("GISTLINE_REDIS__URL", "redis://:hunter3@cache")
    with pytest.raises(SettingsError, match="GISTLINE_REDIS__URL and GISTLINE_REDIS__URL_FILE are both set") as caught:
        load_settings()
    assert "hunter" not in str(caught.value)


def test_only_secrets_come_from_files(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "port").write_text("1")
    monkeypatch.setenv("GISTLINE_API__PORT_FILE", str(tmp_path / "port"))
    with pytest.raises(SettingsError, match=r"api\.port_file"):
        load_settings()


@pytest.mark.parametrize(
    ("url", "whole"),
    [
        (
            "postgresql://gistline@postgres:5432/gistline",
            "postgresql://gistline:p%40ss%2Fw%3Ard@postgres:5432/gistline",
        ),
        ("postgresql://gistline:p%40ss%2Fw%3Ard@db/one?sslmode=require", None),
        ("", None),
    ],
)
def test_the_password_goes_into_the_url_once(url: str, whole: str | None, monkeypatch: pytest.MonkeyPatch) -> None:
    settings = load_settings(database={"url": url, "password": "p@ss/w:rd"}, redis={"url": "redis://cache:6379/0"})
    assert settings.database.url.get_secret_value() == (whole or url)
    assert settings.redis.url.get_secret_value() == "redis://cache:6379/0"
    for name, value in as_environment(settings).items():
        monkeypatch.setenv(name, value)
    assert load_settings() == settings, "a child process gets the same"


def test_a_redis_url_takes_its_password_without_a_user() -> None:
    settings = load_settings(redis={"url": "rediss://cache:6379/0", "password": "hunter2"})
    assert settings.redis.url.get_secret_value() == "rediss://:hunter2@cache:6379/0"


def test_two_different_passwords_are_refused_without_being_shown() -> None:
    with pytest.raises(SettingsError, match="two different passwords") as caught:
        load_settings(redis={"url": "redis://:hunter2@cache", "password": "hunter3"})
    assert "hunter" not in str(caught.value)
