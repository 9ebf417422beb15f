"""With every fault of the twin switched on, the ledger and the provider's books agree to the last digit."""

from __future__ import annotations

from collections.abc import Iterator
from decimal import Decimal

import pytest
from pydantic import SecretStr

from gistline.settings import DatabaseSettings
from gistline.simulator.messages_api import FAULTS, Place
from gistline.storage.session import Sessions, close_database, open_database
from gistline.storage.tables import AttemptState, WindowState
from tests.books.run import Plan, run


@pytest.fixture
def sessions(database_url: str, clean_settings: object) -> Iterator[Sessions]:
    made = open_database(DatabaseSettings(url=SecretStr(database_url)))
    yield made
    close_database(made)


def test_the_ledger_equals_the_provider_s_books_whatever_goes_wrong(sessions: Sessions) -> None:
    found = run(sessions, Plan(seed=7, windows=14, every=0.7))
    assert found.account.complaints() == []
    assert set(found.states) <= {WindowState.WRITTEN, WindowState.FAILED}
    assert found.faults == {name for name, one in FAULTS.items() if Place.MESSAGES in one.places}
    paid = [pair.attempt.usd or Decimal(0) for pair in found.account.pairs if pair.attempt.state is AttemptState.PAID]
    unknown = sum((pair.entry.usd for pair in found.account.unknown if pair.entry), Decimal(0))
    assert sum(paid) + unknown == found.billed
    one = next(pair.attempt for pair in found.account.pairs if pair.attempt.state is AttemptState.PAID)
    one.usd = (one.usd or Decimal(0)) + Decimal("0.000001")
    assert [f"attempt {one.id} is booked at ${one.usd}" in said for said in found.account.complaints()] == [True]
