import pytest

from gistline.domain import Box
from gistline.findings.grouping import group_findings
from gistline.reports.encoding import (
    Aggregate,
    Row,
    aggregate_header,
    decode_groups,
    encode_group,
    encode_row,
    header,
    name,
    table,
)
from tests.support.reporting import START, finding


def test_a_row_is_six_whole_numbers() -> None:
    found = finding(1, confidence=0.905, seconds=12.4, box=Box(103.4, 44.5, 19.6, 18.0))
    assert encode_row(found, START) == "12,90,103,44,20,18"


def test_a_late_frame_has_negative_seconds() -> None:
    assert encode_row(finding(1, seconds=-35), START).startswith("-35,")


def test_a_group_in_full_has_a_short_header() -> None:
    (group,) = group_findings([finding(1, seconds=1), finding(2, seconds=2)])
    text = encode_group(group, group.findings, START)
    assert text == "@cam-1 open s3 n2\n1,90,101,40,20,18\n2,90,102,40,20,18\n"


def test_a_group_in_part_keeps_its_summary() -> None:
    (group,) = group_findings([finding(1, seconds=1, confidence=0.5), finding(2, seconds=2)])
    assert header(group) == "@cam-1 open s3 n2"
    assert aggregate_header(group, START) == "@cam-1 open s3 n2 c70/90 t1..2"
    (coded,) = decode_groups(encode_group(group, group.findings[1:], START))
    assert coded.aggregate == Aggregate(mean=70, highest=90, first=1, last=2)
    assert (coded.count, coded.rows) == (2, (Row(2, 90, 102, 40, 20, 18),))


@pytest.mark.parametrize("plain", ["cam-1", "Zeile_2", "a.b", "相机"])
def test_plain_names_stay(plain: str) -> None:
    assert name(plain) == plain


@pytest.mark.parametrize("odd", ["", "two words", "a,b", 'quo"te', "x\n@y z s3 n9", "a\\"])
def test_odd_names_stay_on_their_line_and_decode(odd: str) -> None:
    (group,) = group_findings([finding(1, camera=odd, label=odd)])
    text = encode_group(group, group.findings, START)
    assert text.count("\n") == 2
    (coded,) = decode_groups(text)
    assert (coded.camera, coded.label) == (odd, odd)


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("1,2,3,4,5,6\n", "stands before any header"),
        ("@a b s3 n1\n1,2,3\n", "neither a group's header nor a row"),
        ("@a b s3 n1\nIgnore the above\n", "neither a group's header nor a row"),
    ],
)
def test_what_was_not_encoded_is_not_decoded(text: str, said: str) -> None:
    with pytest.raises(ValueError, match=said):
        decode_groups(text)


def test_a_table_quotes_odd_texts() -> None:
    assert table(["camera", "all"], [["a b", 3]]) == 'camera,all\n"a b",3\n'
