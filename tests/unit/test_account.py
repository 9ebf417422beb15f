"""The system user that PostgreSQL runs as under root."""

from __future__ import annotations

import pwd
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from gistline.embedded import account

USERADD = """#!/bin/sh
cd {folder} || exit 1
mkdir busy || exit 4
echo "$@" >> calls
sleep 0.2
touch made
rmdir busy
"""


def test_those_who_start_at_once_make_one_user(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    program, root = tmp_path / "useradd", pwd.getpwnam("root")
    program.write_text(USERADD.format(folder=tmp_path))
    program.chmod(0o755)
    monkeypatch.setenv("PATH", str(tmp_path), prepend=":")

    def look(name: str) -> pwd.struct_passwd:
        if not (tmp_path / "made").exists():
            raise KeyError(name)
        return root

    monkeypatch.setattr(pwd, "getpwnam", look)
    with ThreadPoolExecutor(4) as threads:
        found = list(threads.map(lambda _: account._system_user(), range(4)))
    assert found == [root] * 4
    assert len((tmp_path / "calls").read_text().splitlines()) == 1
