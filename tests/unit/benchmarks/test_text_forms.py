"""The forms that ours are held against are what they are called, and ours stay as short as promised."""

import csv
import io
from dataclasses import replace

import pytest

from benchmarks.packing import window
from benchmarks.text_forms import as_csv, as_toon, flat
from gistline.reports.encoding import encode_group
from gistline.reports.forms import FULLY_COUNTED, as_indented_json, estimate_pieces
from gistline.reports.tokens import TokenCounter
from tests.support.reporting import finding, some_findings


def test_toon_names_its_fields_once() -> None:
    found = [finding(1, camera="cam-1"), finding(2, camera="cam: 2", label="pin-hole")]
    assert as_toon(found) == (
        "findings[2]{class,confidence,camera,time,x,y,w,h}:\n"
        '  open,0.9,cam-1,"2026-11-23T08:00:00Z",101,40,20,18\n'
        '  pin-hole,0.9,"cam: 2","2026-11-23T08:00:00Z",102,40,20,18\n'
    )


@pytest.mark.parametrize("name", ["-cam", "12", "1.5e3", "true", "null", "", " a", "a ", "a,b", 'a"b', "[a]", "a\nb"])
def test_toon_quotes_what_could_be_read_otherwise(name: str) -> None:
    row = as_toon([finding(1, camera=name)]).split("\n", 1)[1]
    assert row.startswith('  open,0.9,"')


def test_csv_reads_back() -> None:
    found = some_findings(30)
    rows = list(csv.DictReader(io.StringIO(as_csv(found))))
    assert rows == [{key: str(value) for key, value in row.items()} for row in flat(found)]


def test_a_finding_takes_at_most_14_6_tokens_in_grouped_rows() -> None:
    data = window(200, 7, cameras=4, classes=3)
    text = "".join(encode_group(group, group.findings, data.starts_at) for group in data.groups)
    assert TokenCounter().estimate(text) / 200 <= 14.6


def test_a_sample_stands_for_a_long_text() -> None:
    counter = TokenCounter()
    pieces = as_indented_json(replace(one, finding_id=key) for key, one in enumerate(some_findings(100) * 25))
    assert len(pieces) == 2_500 > FULLY_COUNTED
    counted = counter.estimate("".join(pieces))
    assert abs(estimate_pieces(pieces, counter) / counted - 1) < 0.01
    assert estimate_pieces(pieces[:1000], counter) == counter.estimate("".join(pieces[:1000]))
    assert estimate_pieces([], counter) == 0
