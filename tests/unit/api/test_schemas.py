"""Fields of a frame: what is taken, what is not, and how times and money are written."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta, timezone
from decimal import Decimal

import pytest
from pydantic import BaseModel, ValidationError

from api.schemas import Dollars, FrameFields, Utc


@pytest.mark.parametrize(
    ("text", "moment"),
    [
        ("2026-11-23T10:11:12Z", datetime(2026, 11, 23, 10, 11, 12, tzinfo=UTC)),
        ("2026-11-23t10:11:12z", datetime(2026, 11, 23, 10, 11, 12, tzinfo=UTC)),
        ("2026-11-23 10:11:12.25+05:30", datetime(2026, 11, 23, 4, 41, 12, 250_000, tzinfo=UTC)),
        ("2026-11-23T10:11:12.123456789Z", datetime(2026, 11, 23, 10, 11, 12, 123_456, tzinfo=UTC)),
    ],
)
def test_times_of_rfc_3339(text: str, moment: datetime) -> None:
    assert FrameFields.model_validate({"captured_at": text}).captured_at == moment


@pytest.mark.parametrize(
    "text", ["2026-11-23T10:11:12", "2026-11-23", "10:11:12Z", "1763892672", 1763892672, "now", ""]
)
def test_other_times_are_refused(text: object) -> None:
    with pytest.raises(ValidationError, match="RFC 3339"):
        FrameFields.model_validate({"captured_at": text})


@pytest.mark.parametrize("name", ["a", "Größe 7/8", "部品", "x" * 200, "🙂"])
def test_names_may_hold_any_printable_text(name: str) -> None:
    assert FrameFields.model_validate({"frame_key": name}).frame_key == name


@pytest.mark.parametrize("name", ["", "x" * 201, "a\0", "a\n", "\t", "\u202e", "\ufffd", 7, ["x"]])
def test_other_names_are_refused(name: object) -> None:
    with pytest.raises(ValidationError):
        FrameFields.model_validate({"part_number": name})


def test_half_a_character_is_refused() -> None:
    with pytest.raises(ValidationError):
        FrameFields.model_validate_json('{"part_number": "\\ud800"}')


def test_unknown_fields_are_refused() -> None:
    with pytest.raises(ValidationError, match="camera_id"):
        FrameFields.model_validate({"camera_id": 1})


class Written(BaseModel):
    at: Utc
    usd: Dollars


def test_times_are_written_in_utc_and_money_exactly() -> None:
    moment = datetime(2026, 11, 23, 12, 0, tzinfo=timezone(timedelta(hours=2)))
    written = Written(at=moment, usd=Decimal("0.000000000001")).model_dump(mode="json")
    assert written == {"at": "2026-11-23T10:00:00Z", "usd": "0.000000000001"}
