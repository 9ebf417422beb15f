"""``gistline alarms`` and ``gistline gate`` as people type them."""

from __future__ import annotations

import json
import threading
from pathlib import Path
from typing import Any
from uuid import UUID

import pytest

from gistline.cli.main import run
from gistline.cli.output import BAD_INPUT, FAILED, OK
from gistline.outputs.mqtt import Message
from gistline.outputs.verdict_message import WATCHING
from tests.support.broker import listening, own_broker


@pytest.fixture(autouse=True)
def _database(clean_settings: Path, database_url: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("GISTLINE_DATABASE__URL", database_url)
    monkeypatch.setenv("GISTLINE_REDIS__URL", "redis://127.0.0.1:9/0")


def printed(capsys: pytest.CaptureFixture[str], *argv: str) -> Any:
    assert run([*argv, "--json"]) == OK
    return json.loads(capsys.readouterr().out)


def test_a_rule_from_its_making_to_its_end(capsys: pytest.CaptureFixture[str]) -> None:
    add = ["alarms", "add", "shorts", "--kind", "class", "--label", "short", "--param", "at_least=2"]
    assert run([*add, "--output", "log", "--output", "email:anna@plant.example", "--severity", "critical"]) == OK
    assert run(add) == BAD_INPUT, "the name is taken"
    assert run(["alarms", "set", "shorts", "--param", "at_least=0"]) == BAD_INPUT
    assert "params.at_least = '0'" in capsys.readouterr().err
    assert run(["alarms", "set", "shorts", "--cooldown-s", "60", "--camera", "cam-1"]) == OK
    capsys.readouterr()
    (rule,) = printed(capsys, "alarms", "list")
    assert rule["fields"]["params"] == {"at_least": 2, "window_s": 0, "min_confidence": 0.0}
    assert (rule["fields"]["camera"], rule["fields"]["cooldown_s"]) == ("cam-1", 60)
    assert run(["alarms", "test", "shorts"]) == OK
    assert run(["alarms", "list"]) == OK
    shown = capsys.readouterr().out
    assert "email:anna@plant.example" in shown
    found = printed(capsys, "alarms", "deliveries", "list")
    assert sorted((one["output"], one["state"]) for one in found) == [("email", "pending"), ("log", "pending")]
    assert run(["alarms", "deliveries", "discard", found[0]["id"]]) == OK
    assert run(["alarms", "deliveries", "discard", found[0]["id"]]) == FAILED, "it has an end"
    assert run(["alarms", "deliveries", "retry"]) == BAD_INPUT
    assert run(["alarms", "remove", "shorts"]) == OK
    assert run(["alarms", "remove", "shorts"]) == BAD_INPUT
    capsys.readouterr()
    assert printed(capsys, "alarms", "list") == []
    (alarm,) = printed(capsys, "alarms", "fired")
    assert (alarm["rule"], alarm["state"]) == ("shorts", "resolved")


def test_the_gate_says_what_it_would_do(
    capsys: pytest.CaptureFixture[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with own_broker(tmp_path) as broker, listening(broker, "none") as helper:
        monkeypatch.setenv("GISTLINE_MQTT__URL", broker.url)
        stop = threading.Event()

        def play() -> None:
            beat = {"state": WATCHING, "interval_ms": 200, "last_seq": {}}
            number = 0
            while not stop.wait(0.05):
                helper.link.publish(Message("gistline/heartbeat", json.dumps(beat).encode(), retain=True))
                number += 1
                if number % 3:  # every third one does not come
                    told = {
                        "seq": number,
                        "camera": "cam-1",
                        "verdict": "ok",
                        "reason": "no findings",
                        "part_number": "P",
                    }
                    topic = "gistline/verdicts/line-1/cam-1"
                    helper.link.publish(Message(topic, json.dumps(told | {"frame_id": str(UUID(int=1))}).encode()))

        thread = threading.Thread(target=play)
        thread.start()
        code = run(["gate", "--camera", "cam-1", "--gap-ms", "100", "--count", "8", "--seconds", "20", "--json"])
        stop.set()
        thread.join()
    assert code == OK
    done = [json.loads(line) for line in capsys.readouterr().out.splitlines()]
    assert done[0]["why"] == "open: the watch is alive"
    parts = {one["seq"]: one["kind"] for one in done if one["camera"]}
    assert all(kind == ("ok" if seq % 3 else "ng") for seq, kind in parts.items())
    assert set(parts.values()) == {"ok", "ng"}


def test_a_gate_that_hears_nothing_ends_closed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("GISTLINE_MQTT__URL", "mqtt://127.0.0.1:9")
    assert run(["gate", "--seconds", "0.3"]) == FAILED
