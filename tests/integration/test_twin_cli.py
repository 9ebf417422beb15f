"""``gistline twin`` as a process of its own, with the real SDK."""

from __future__ import annotations

import json
import signal
import subprocess
import sys
from decimal import Decimal
from pathlib import Path

import anthropic
import pytest

GISTLINE = str(Path(sys.executable).with_name("gistline"))


def test_the_command_serves_with_faults_and_keeps_its_books(tmp_path: Path) -> None:
    faults, books = tmp_path / "faults.toml", tmp_path / "books.jsonl"
    faults.write_text('[[script]]\nfault = "error_after_billing"\n')
    command = [GISTLINE, "twin", "--port", "0", "--faults", str(faults), "--books", str(books)]
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True) as program:
        assert program.stdout is not None
        url = program.stdout.readline().strip()
        with anthropic.Anthropic(api_key="any", base_url=url, max_retries=0) as client:
            for _ in range(2):
                try:
                    answer = client.messages.create(
                        model="claude-opus-5-5", max_tokens=99, messages=[{"role": "user", "content": "hello"}]
                    )
                except anthropic.InternalServerError as error:
                    lost = error.request_id
        program.send_signal(signal.SIGTERM)
        _, said = program.communicate(timeout=20)
    assert program.returncode == 0
    entries = [json.loads(line) for line in books.read_text().splitlines()]
    assert [entry["request_id"] for entry in entries] == [lost, answer._request_id]
    total = sum(Decimal(entry["usd"]) for entry in entries)
    assert f"2 calls, 2 billed: ${total:f}" in said


@pytest.mark.parametrize("wrong", ["missing.toml", "."])
def test_a_file_that_cannot_be_read_is_refused(wrong: str, tmp_path: Path) -> None:
    done = subprocess.run(
        [GISTLINE, "twin", "--port", "0", "--faults", str(tmp_path / wrong)],
        capture_output=True,
        text=True,
        check=False,
    )
    assert (done.returncode, "cannot be read" in done.stderr) == (2, True)
    assert done.stdout == ""
