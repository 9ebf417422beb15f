"""Figures that are found out at a scrape, but not at every one."""

from __future__ import annotations

import time
from collections.abc import Sequence

import pytest
from prometheus_client import CollectorRegistry

from gistline.errors import StorageUnavailable
from gistline.telemetry import paced
from gistline.telemetry.paced import PATIENCE, Family, Part, Reading, paced_registry

FAMILIES = {"depth": Family("gauge", "How deep.", ("kind",)), "spent": Family("counter", "How much.")}


class Source:
    def __init__(self) -> None:
        self.asked = 0
        self.away = False
        self.takes_s = 0.0

    def read(self) -> Sequence[Reading]:
        self.asked += 1
        time.sleep(self.takes_s)
        if self.away:
            raise StorageUnavailable("away")
        return [Reading("depth", self.asked, ("a",)), Reading("spent", 2.5)]


@pytest.fixture
def impatient(monkeypatch: pytest.MonkeyPatch) -> None:
    """Every scrape is a new look, however long a busy machine took for the last."""
    monkeypatch.setattr(paced, "PATIENCE", 0)


def registry_of(source: Source, refresh_s: float) -> CollectorRegistry:
    return paced_registry(FAMILIES, [Part("queue", refresh_s, source.read)])


@pytest.mark.usefixtures("impatient")
def test_it_asks_again_only_when_it_is_time() -> None:
    source = Source()
    registry = registry_of(source, refresh_s=60)
    assert source.asked == 0, "not at its registration"
    for _ in range(3):
        assert registry.get_sample_value("depth", {"kind": "a"}) == 1
    assert registry.get_sample_value("spent_total") == 2.5
    assert source.asked == 1
    other = registry_of(source, refresh_s=0)
    source.asked = 0
    assert [other.get_sample_value("depth", {"kind": "a"}) for _ in range(2)] == [1, 2]


def test_a_look_that_takes_long_is_made_seldom() -> None:
    source = Source()
    source.takes_s = 0.01
    registry = registry_of(source, refresh_s=0)
    until = time.monotonic() + 0.1 * PATIENCE * source.takes_s
    while time.monotonic() < until:
        registry.get_sample_value("depth", {"kind": "a"})
    assert source.asked == 1
    assert (registry.get_sample_value("gistline_collection_duration_seconds", {"part": "queue"}) or 0) >= 0.01


@pytest.mark.usefixtures("impatient")
def test_figures_that_cannot_be_had_are_missing_rather_than_old(caplog: pytest.LogCaptureFixture) -> None:
    source = Source()
    registry = registry_of(source, refresh_s=0)
    success = ("gistline_collection_success", {"part": "queue"})
    assert registry.get_sample_value("depth", {"kind": "a"}) == 1
    assert registry.get_sample_value(*success) == 1
    source.away = True
    assert registry.get_sample_value("depth", {"kind": "a"}) is None
    assert registry.get_sample_value(*success) == 0
    assert "the figures of queue cannot be had: away" in caplog.text
    source.away = False
    assert (registry.get_sample_value("depth", {"kind": "a"}) or 0) > 1
