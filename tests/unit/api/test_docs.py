"""The page about the API names what the API has."""

from __future__ import annotations

import json
import re
from pathlib import Path

import pytest

from api import frames, problems
from api.schemas import FrameFields
from gistline import errors
from gistline.settings import Settings
from gistline.settings_report import describe
from tests.support import reference

PAGE = (Path(__file__).parents[3] / "docs" / "api.md").read_text()


def test_the_made_parts_of_every_page_are_those_of_the_program() -> None:
    assert reference.stale() == [], "run 'make docs'"


def test_a_part_that_is_out_of_date_is_noticed() -> None:
    page = f"<!-- made: {'problems'} -->\nold\n<!-- end -->\n"
    assert "| `not-found` | 404 | no |" in reference.renewed(page)


@pytest.mark.parametrize("kind", problems.ANSWERED)
def test_every_problem_is_in_the_table(kind: type[errors.GistlineError]) -> None:
    body = json.loads(bytes(problems.problem(kind("x")).body))
    assert f"| `{body['type'].rpartition(':')[2]}` | {body['status']} |" in PAGE


def test_every_field_is_in_the_table() -> None:
    assert all(f"| `{name}` |" in PAGE for name in FrameFields.model_fields)
    assert frames.router.prefix in PAGE


def test_every_setting_that_is_named_exists(clean_settings: Path) -> None:
    known = {knob.name for knob in describe(Settings(data_dir=clean_settings))}
    named = set(re.findall(r"`((?:frames|api)\.[a-z0-9_]+)", PAGE))
    assert named
    assert named <= known
