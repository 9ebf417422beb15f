"""How reports are worded, cut into calls and counted: the part of the section ``reports`` that is about words."""

from __future__ import annotations

from pydantic import Field

from gistline.domain import Language
from gistline.settings_base import Section, knob


class WordsSettings(Section):
    """Language, calls and token counts of a report."""

    language: Language = knob(Language.ENGLISH, "Language of reports: en (English) or zh (Chinese).")
    languages: dict[str, Language] = Field(
        default_factory=dict,
        description='Language of single lines, such as {"line-2": "zh"}; others have reports.language.',
        json_schema_extra={"unit": "line: en or zh"},
    )
    call_tokens: int = knob(
        30_000,
        "Most input tokens of one call: a window whose token budget is larger may be read in parts and joined.",
        unit="tokens",
        ge=2_000,
        le=90_000,
    )
    repair_tokens: int = knob(
        10_000,
        "Most input tokens of the one call that mends a report which says what the findings do not; 0 never asks.",
        unit="tokens",
        ge=0,
        le=90_000,
    )
    defer_below: int = knob(
        0,
        "A window with fewer findings than this, none of severity 3, waits for the line's next report; 0 never.",
        unit="findings",
        ge=0,
        le=10_000,
    )
    defer_windows: int = knob(
        4, "How many windows long findings may wait for a report before they get one.", unit="windows", ge=1, le=1_000
    )
    count_timeout_s: float = knob(
        5.0, "Longest wait for the API's free token count before a call; 0 does not ask for it.", unit="s", ge=0, le=60
    )

    def language_of(self, line: str) -> Language:
        """The language of a line's reports."""
        return self.languages.get(line, self.language)
