"""Advisory locks are numbers in one space: two uses of one number would wait for each other."""

from __future__ import annotations

import re

from tests.support.processes import ROOT

NUMBER = re.compile(r"^(\w*LOCK)(?:: Final)? = ([\d_]+)$", re.MULTILINE)


def test_no_two_locks_have_one_number() -> None:
    found: dict[int, str] = {}
    for folder in ("gistline", "migrations"):
        for path in sorted((ROOT / folder).rglob("*.py")):
            for name, number in NUMBER.findall(path.read_text()):
                key = int(number.replace("_", ""))
                assert key not in found, f"{path.name}: {name} is {found[key]}"
                found[key] = f"{path.name}: {name}"
    assert len(found) > 8
