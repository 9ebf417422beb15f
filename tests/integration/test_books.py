"""With every fault of the twin switched on, the ledger and the provider's books agree to the last digit."""

from __future__ import annotations

import json
from collections.abc import Iterator
from decimal import Decimal

import pytest
from pydantic import SecretStr

from gistline.cli.main import run as command_line
from gistline.settings import DatabaseSettings
from gistline.simulator.messages_api import FAULTS, Place
from gistline.storage.session import Sessions, close_database, open_database
from tests.books.run import Plan, run


@pytest.fixture
def sessions(database_url: str, clean_settings: object) -> Iterator[Sessions]:
    made = open_database(DatabaseSettings(url=SecretStr(database_url)))
    yield made
    close_database(made)


def test_the_ledger_equals_the_provider_s_books_whatever_goes_wrong(
    sessions: Sessions, database_url: str, capsys: pytest.CaptureFixture[str]
) -> None:
    found = run(sessions, Plan(seed=7, windows=14, every=0.7))
    assert found.complaints() == []
    assert found.faults == {name for name, one in FAULTS.items() if Place.MESSAGES in one.places}
    assert found.before.paid < found.billed < found.before.paid + found.before.held  # some answers were lost
    asked = ["--set", f"database.url={database_url}", "--set", "redis.url=redis://127.0.0.1:1/0"]
    assert command_line([*asked, "costs", "--json"]) == 0
    shown = json.loads(capsys.readouterr().out)
    assert Decimal(shown["total"]["billed_usd"]) == found.billed
    assert shown["held_usd"] == "0"


def test_the_ledger_equals_the_books_where_half_of_all_goes_by_batch(sessions: Sessions) -> None:
    found = run(sessions, Plan(seed=4, windows=8, every=0.4, patient=0.7))
    assert found.complaints() == []
    assert found.by_batch > 3


def test_a_micro_dollar_is_seen(sessions: Sessions) -> None:
    found = run(sessions, Plan(seed=3, windows=2, every=0.0))
    assert found.complaints() == []
    one = found.account.pairs[0].attempt
    one.usd = (one.usd or Decimal(0)) + Decimal("0.000001")
    (said,) = found.complaints()
    assert f"attempt {one.id} is booked at ${one.usd}" in said
