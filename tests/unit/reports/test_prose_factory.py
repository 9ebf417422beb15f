"""Factory prose over several windows: what is true passes, what is false does not, and every number is looked at.

The sentences are in tests/prose, each true one with a lie made from it. How many the checker flagged and missed at its
first try of each half is in docs/reports.md.
"""

from __future__ import annotations

import re

import pytest

from gistline.domain import Language
from tests.support.prose import WINDOWS, Sentence, read, read_prose

FIGURE = re.compile(r"`[^`]*`|\d+:\d\d(?::\d\d)?|(?<![A-Za-z-])(?P<figure>\d+(?:,\d{3})*(?:\.\d+)?)")
IMPOSSIBLE = "977"
FILES = ("first",)


def flagged(said: Sentence, language: Language) -> bool:
    return bool(read(said.text, WINDOWS[said.window], language).unsupported)


@pytest.mark.parametrize("language", Language)
@pytest.mark.parametrize("file", FILES)
def test_what_is_true_passes(file: str, language: Language) -> None:
    assert [one.text for one in read_prose(file, language) if one.true and flagged(one, language)] == []


@pytest.mark.parametrize("language", Language)
@pytest.mark.parametrize("file", FILES)
def test_what_is_false_does_not(file: str, language: Language) -> None:
    assert [one.text for one in read_prose(file, language) if not one.true and not flagged(one, language)] == []


@pytest.mark.parametrize("language", Language)
@pytest.mark.parametrize("file", FILES)
def test_no_figure_of_a_true_sentence_goes_unread(file: str, language: Language) -> None:
    """Each of its figures in turn replaced by one that is true of nothing."""
    spoilt = [
        Sentence(one.window, one.text[: figure.start()] + IMPOSSIBLE + one.text[figure.end() :], true=False)
        for one in read_prose(file, language)
        for figure in FIGURE.finditer(one.text)
        if one.true and figure["figure"]
    ]
    assert len(spoilt) > 60
    assert [one.text for one in spoilt if not flagged(one, language)] == []
