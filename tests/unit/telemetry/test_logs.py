"""Log lines for people and for programs: fields, masks, tracebacks."""

from __future__ import annotations

import json
import logging
import sys
import threading
from concurrent.futures import ThreadPoolExecutor
from contextvars import copy_context
from typing import Any
from uuid import UUID

import pytest

from gistline.errors import NotFound
from gistline.settings import Settings
from gistline.settings_observability import LogSettings
from gistline.settings_report import secrets_of
from gistline.telemetry.logs import JsonFormatter, Mask, TextFormatter, add_fields, log_fields, set_up_logging

FRAME = UUID("0190a0b0-0000-7000-8000-000000000001")


def record(message: str, *arguments: object, **more: Any) -> logging.LogRecord:
    made = logging.LogRecord(
        "gistline.test", logging.WARNING, __file__, 1, message, arguments, more.pop("exc_info", None)
    )
    made.__dict__.update(more)
    return made


def as_json(one: logging.LogRecord, *secrets: str) -> dict[str, Any]:
    line = JsonFormatter("worker-detect", Mask(secrets)).format(one)
    assert "\n" not in line
    found: dict[str, Any] = json.loads(line)
    return found


def test_an_object_has_the_fixed_names_first_and_the_fields_beside_them() -> None:
    with log_fields(frame=[FRAME], window=None, batch="b1"), log_fields(task="gistline.detect_frames"):
        found = as_json(record("%d frames", 3, fields={"camera": "cam-7", "message": "forged"}))
    assert list(found)[:6] == ["time", "level", "logger", "message", "service", "pid"]
    assert found["time"].endswith("Z")
    assert (found["level"], found["message"], found["service"]) == ("warning", "3 frames", "worker-detect")
    assert {name: found[name] for name in list(found)[6:]} == {
        "frame": [str(FRAME)],
        "batch": "b1",
        "task": "gistline.detect_frames",
        "camera": "cam-7",
    }
    assert "batch" not in as_json(record("outside"))


def test_many_ids_are_cut_and_counted() -> None:
    with log_fields(frame=[UUID(int=number) for number in range(20)]):
        assert as_json(record("x"))["frame"][-1] == "and 4 more"


def test_a_field_found_late_is_seen_from_other_threads_of_the_same_context() -> None:
    with log_fields(path="/v1/frames"), ThreadPoolExecutor(1) as pool:
        pool.submit(copy_context().run, add_fields, camera="cam-7").result()
        assert as_json(record("x"))["camera"] == "cam-7"
    add_fields(camera="nobody listens")
    assert "camera" not in as_json(record("x"))


def test_an_error_of_ours_brings_its_ids_and_its_traceback() -> None:
    try:
        raise NotFound("No such frame.", frame=FRAME)
    except NotFound:
        found = as_json(record("failed", exc_info=sys.exc_info()))
    assert found["frame"] == str(FRAME)
    assert found["exception"].endswith("NotFound: No such frame.")


def test_text_shows_the_fields_at_the_end_of_the_line() -> None:
    with log_fields(frame=[FRAME], task="t"):
        line = TextFormatter(Mask(())).format(record("later"))
    assert line.endswith(f"WARNING gistline.test: later [frame={FRAME} task=t]")


def test_no_line_shows_a_secret() -> None:
    settings = Settings.model_validate(
        {
            "database": {"url": "postgresql://u@db/one", "password": "hunter2/%"},
            "anthropic_api_key": "sk-of-mine",
            "redis": {"url": "redis://cache:6379/0"},
        }
    )
    secrets = secrets_of(settings)
    camera_key, llm_key = "gl_" + "A" * 43, "sk-ant-api03-" + "b" * 40
    said = record(
        "%s and %s with %s",
        "hunter2/%",
        {"key": "sk-of-mine"},
        f"{camera_key} {llm_key}",
        fields={"url": "hunter2%2F%25"},
    )
    for line in (JsonFormatter("api", Mask(secrets)).format(said), TextFormatter(Mask(secrets)).format(said)):
        for secret in ("hunter2", "sk-of-mine", "A" * 20, "b" * 20):
            assert secret not in line
        assert "gl_***" in line


def test_a_short_secret_does_not_mask_ordinary_words() -> None:
    assert Mask(["one"])("one by one") == "one by one"


@pytest.mark.parametrize("form", ["text", "json"])
def test_a_process_logs_in_the_form_that_the_settings_ask_for(
    form: str, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    root = logging.getLogger()
    monkeypatch.setattr(root, "handlers", [])
    monkeypatch.setattr(root, "level", root.level)
    monkeypatch.setattr(sys, "excepthook", sys.excepthook)
    monkeypatch.setattr(threading, "excepthook", threading.__excepthook__)
    set_up_logging(LogSettings.model_validate({"format": form, "level": "warning"}), service="api", secrets=["hunter2"])
    logging.getLogger("x").info("not this")
    logging.getLogger("x").warning("this hunter2")
    sys.excepthook(ValueError, ValueError("the end"), None)
    thread = threading.Thread(target=int, args=["hunter2"], name="gates")
    thread.start()
    thread.join()
    logging.captureWarnings(False)
    said = capsys.readouterr().err
    assert "not this" not in said
    assert "this ***" in said
    if form == "json":
        assert [json.loads(line)["level"] for line in said.splitlines()] == ["warning", "critical", "critical"]
        assert "the thread gates ends: invalid literal for int() with base 10: '***'" in said
        assert "hunter2" not in said
