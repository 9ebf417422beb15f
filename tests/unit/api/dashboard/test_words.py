"""The catalogues hold the same texts in every language, and the templates use them all."""

from __future__ import annotations

import re
from pathlib import Path
from string import Formatter

import pytest

from api.dashboard.words import LANGUAGES, choose, words_of
from gistline.domain import Feedback, FrameState, PassportVerdict, Placement, Role, VerdictKind
from gistline.domain_accuracy import Advice, ReviewKind, ReviewVerdict
from gistline.storage.tables import AttemptState, ServingAction, WindowState

FOLDER = Path(__file__).parents[4] / "api" / "dashboard"
ENGLISH = words_of("en").texts
MADE: dict[str, set[str]] = {
    "role.": set(Role),
    "verdict.": set(VerdictKind),
    "feedback.": set(Feedback),
    "frame_state.": set(FrameState),
    "window.": set(WindowState),
    "attempt.": set(AttemptState),
    "placement.": set(Placement),
    "serving.": set(ServingAction),
    "passport.": set(PassportVerdict),
    "review_kind.": set(ReviewKind),
    "review_verdict.": set(ReviewVerdict),
    "advice.": set(Advice),
}
"""Beginnings of keys that templates complete with a state: every state needs its text."""


def places(text: str) -> set[str]:
    return {name for _, name, _, _ in Formatter().parse(text) if name is not None}


def used() -> tuple[set[str], set[str]]:
    """Whole keys in templates and code, and beginnings that are completed there."""
    sources = "".join(path.read_text() for path in [*FOLDER.rglob("*.html"), *FOLDER.glob("*.py")])
    whole = set(re.findall(r"""["']([a-z_]+\.[a-z_0-9]+)["']""", sources))
    begun = set(re.findall(r"""(?:t\(["']|f["'])([a-z_]+\.)(?:["'] ~|\{)""", sources))
    return whole & ENGLISH.keys(), begun


@pytest.mark.parametrize("language", LANGUAGES)
def test_no_text_lacks_a_language(language: str) -> None:
    texts = words_of(language).texts
    assert texts.keys() == ENGLISH.keys()
    assert all(text.strip() for text in texts.values())
    assert {key: places(text) for key, text in texts.items()} == {key: places(text) for key, text in ENGLISH.items()}


def test_every_key_that_is_asked_for_exists() -> None:
    sources = "".join(path.read_text() for path in [*FOLDER.rglob("*.html"), *FOLDER.glob("*.py")])
    asked = set(re.findall(r"""\bt\(["']([a-z_]+\.[a-z_0-9]+)["']""", sources))
    assert len(asked) > 100
    assert asked <= ENGLISH.keys()


def test_no_text_is_left_over() -> None:
    whole, begun = used()
    left = {key for key in ENGLISH if key not in whole and not key.startswith(tuple(begun))}
    assert not left


def test_every_state_has_its_text() -> None:
    for beginning, states in MADE.items():
        assert {beginning + state for state in states} <= ENGLISH.keys()


def test_a_missing_text_or_value_is_no_blank() -> None:
    words = words_of("en")
    with pytest.raises(KeyError):
        words("no.such_key")
    with pytest.raises(KeyError):
        words("unit.s", wrong=1)


@pytest.mark.parametrize(
    ("header", "language"),
    [
        ("", "en"),
        ("zh-CN,zh;q=0.9,en;q=0.8", "zh"),
        ("de-DE,de;q=0.9,zh;q=0.5,en;q=0.4", "zh"),
        ("en;q=0.1,zh;q=0.2", "zh"),
        ("zh;q=0,en;q=0.1", "en"),
        ("fr", "en"),
        ("zh;q=nonsense", "en"),
        (";;;,,q=1" * 100, "en"),
    ],
)
def test_the_language_that_the_browser_likes_best(header: str, language: str) -> None:
    assert choose(header) == language
