import json
from typing import Any

import pytest

from gistline.domain import TokenUsage
from gistline.errors import AnswerUnusable
from gistline.reports.answer import read_text, read_usage


def body(**changes: Any) -> str:
    message = {
        "content": [
            {"type": "thinking", "thinking": "hm"},
            {"type": "text", "text": "# A"},
            {"type": "text", "text": "b"},
        ],
        "stop_reason": "end_turn",
        "usage": {"input_tokens": 10, "output_tokens": 4},
    }
    return json.dumps({**message, **changes})


def test_the_text_blocks_are_the_report() -> None:
    written = read_text(body())
    assert (written.text, written.usage, written.cut_off) == ("# A\n\nb", TokenUsage(10, 4), False)


def test_all_kinds_of_input_tokens_are_read() -> None:
    usage = {
        "input_tokens": 1,
        "output_tokens": 2,
        "cache_read_input_tokens": 3,
        "cache_creation_input_tokens": 9,
        "cache_creation": {"ephemeral_5m_input_tokens": 4, "ephemeral_1h_input_tokens": 5},
    }
    found = read_usage(body(usage=usage))
    assert found == TokenUsage(1, 2, 3, 4, 5)
    assert found.total_input_tokens == 13


def test_cache_writes_without_a_lifetime_are_five_minute_ones() -> None:
    usage = {"input_tokens": 1, "output_tokens": 2, "cache_creation_input_tokens": 9, "cache_creation": None}
    assert read_usage(body(usage=usage)) == TokenUsage(1, 2, 0, 9, 0)


@pytest.mark.parametrize("raw", ["", "no json", "[]", "{}", '{"usage": {}}', body(usage={"input_tokens": "many"})])
def test_a_body_without_usage_bills_nothing_that_is_known(raw: str) -> None:
    assert read_usage(raw) is None
    with pytest.raises(AnswerUnusable, match="no message"):
        read_text(raw)


def test_a_report_cut_off_says_so() -> None:
    written = read_text(body(stop_reason="max_tokens"))
    assert written.cut_off


@pytest.mark.parametrize(
    "changes", [{"stop_reason": "refusal"}, {"content": []}, {"content": [{"type": "text", "text": " "}]}]
)
def test_no_report_is_refused_for_good(changes: dict[str, Any]) -> None:
    with pytest.raises(AnswerUnusable, match="wrote no report"):
        read_text(body(**changes))
