"""The API against requests made from its own description. Short here; ``make fuzz`` is the long form."""

from __future__ import annotations

import os
import sys
from pathlib import Path

import pytest

from gistline.domain import Role
from gistline.settings_access import AccessSettings
from tests.support.api import LINE, serving, settings_for
from tests.support.fuzzing import fuzz
from tests.support.rows import give_up, inspect, report, submit

EXAMPLES = int(os.environ.get("FUZZ_EXAMPLES", "2"))
LONG = "FUZZ_EXAMPLES" in os.environ
ONLY = "^/v1/" if LONG else "^/v1/(verdicts|reports|passports|frames/.frame_id.|dead-letters/.*)$"


@pytest.mark.long
def test_every_answer_is_as_described(database_url: str, clean_settings: Path) -> None:
    access = AccessSettings(program_rate=100_000)
    with serving(settings_for(database_url, clean_settings).model_copy(update={"access": access})) as api:
        report(api, LINE)
        with api.client() as camera:
            inspect(api, submit(camera, frame_key="good"))
            give_up(api, submit(camera, frame_key="bad"))
        found = fuzz(
            api.url,
            api.add_program("fuzz", Role.ADMIN),
            only=ONLY,
            examples=EXAMPLES,
            max_s=int(os.environ.get("FUZZ_SECONDS", "3000")) if LONG else 12,
        )
    sys.stdout.write(f"{found}\n")
    assert found.broken == []
    assert found.requests.total() >= 20


@pytest.mark.long
def test_a_camera_s_requests_are_answered_as_described(database_url: str, clean_settings: Path) -> None:
    access = AccessSettings(camera_rate=100_000)
    with serving(settings_for(database_url, clean_settings).model_copy(update={"access": access})) as api:
        with api.client() as camera:
            inspect(api, submit(camera, frame_key="good"))
        found = fuzz(
            api.url,
            api.key,
            reader=api.add_program("reader", Role.VIEWER),
            only="^/v1/frames$",
            examples=EXAMPLES,
            max_s=3_000 if LONG else 8,
        )
    sys.stdout.write(f"{found}\n")
    # A line of another camera, a moment to come, a key used for other bytes: refused for what no schema can say.
    assert [one for one in found.broken if "positive_data_acceptance" not in one] == []
    assert found.statuses[202] > 0
