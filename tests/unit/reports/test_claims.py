"""What a model claims beside its sentences: it helps where words are unknown, and it can't talk a lie into truth."""

from __future__ import annotations

import pytest

from gistline.domain import ImageSize, Language
from gistline.reports.check import Checked, check
from gistline.reports.draft import Claim, Draft, Measure, Place, Statement
from gistline.reports.render import render
from tests.support.reporting import some_findings, window_data

DATA = window_data(some_findings(24, image=ImageSize(640, 640)))
ENGLISH, CHINESE = Language.ENGLISH, Language.CHINESE


def claim(said: str, measure: Measure = Measure.COUNT, camera: str = "", defect: str = "") -> Claim:
    return Claim(said=said, measure=measure, camera=camera, defect=defect)


def checked(text: str, *claims: Claim, language: Language = ENGLISH, places: tuple[Place, ...] = ()) -> Checked:
    said = Statement(text=text, numbers=claims)
    plain = Statement(text="-", numbers=())
    draft = Draft(headline=said, happened=(), places=places, cause=plain, check_first=(), confidence="low")
    return check(render(draft, DATA, language), DATA)


UNHEARD_OF = "7 suspicious `open` spots came up on `cam-0`."
UNHEARD_OF_ZH = "`cam-0`上7点可疑的`open`。"


@pytest.mark.parametrize(("text", "language"), [(UNHEARD_OF, ENGLISH), (UNHEARD_OF_ZH, CHINESE)])
def test_a_number_in_unknown_words_is_decided_by_its_claim(text: str, language: Language) -> None:
    true = claim("7", camera="cam-0", defect="open")
    assert checked(text, language=language).unsupported != ()
    assert checked(text, true, language=language).unsupported == ()


@pytest.mark.parametrize(
    "wrong",
    [
        claim("7", camera="cam-1", defect="spur"),  # true, and about another group
        claim("7", camera="cam-0", defect=""),  # not that many
        claim("7", defect="open"),  # leaves out the camera that the clause names
        claim("7", Measure.HIGHEST, "cam-0", "open"),  # of another kind
        claim("8", camera="cam-0", defect="open"),  # about another number
        claim("7", camera="cam-0", defect="scratch"),  # of a class that does not exist
        claim("7", Measure.CAMERAS, "cam-0", "open"),
        claim("seven hundred", camera="cam-0", defect="open"),
    ],
)
@pytest.mark.parametrize(("text", "language"), [(UNHEARD_OF, ENGLISH), (UNHEARD_OF_ZH, CHINESE)])
def test_a_claim_that_does_not_fit_decides_nothing(text: str, language: Language, wrong: Claim) -> None:
    assert checked(text, wrong, language=language).unsupported != ()


@pytest.mark.parametrize(
    ("lie", "cover"),
    [
        ("`cam-0`: 8 x `open`.", claim("8", camera="cam-0")),
        ("`cam-1`: 7 x `open`.", claim("7", camera="cam-0", defect="open")),
        ("`cam-0` is worst, with 24 findings.", claim("24")),
        ("`cam-0`: `open` since 08:05:12.", claim("08:05:12", Measure.LAST, "cam-0", "open")),
        ("`cam-0`: 7 scratches.", claim("7", camera="cam-0", defect="open")),
        ("`cam-0` shows 8 scratches.", claim("8", camera="cam-0")),
        ("`cam-0`: confidence up to 29%.", claim("29%", Measure.SHARE, "", "open")),
        ("`cam-0`: 83 seconds of `open`.", claim("83", Measure.HIGHEST, "cam-0", "open")),
    ],
)
def test_a_true_claim_does_not_cover_a_lie(lie: str, cover: Claim) -> None:
    assert checked(lie, cover).unsupported != ()


@pytest.mark.parametrize(
    ("lie", "cover"),
    [
        ("`cam-0`：8处`open`。", claim("8", camera="cam-0")),
        ("`cam-1`：7处`open`。", claim("7", camera="cam-0", defect="open")),
        ("`cam-0`最严重，有24处缺陷。", claim("24")),
        ("`cam-0`的`open`从08:05:12开始。", claim("08:05:12", Measure.LAST, "cam-0", "open")),
        ("`cam-0`有8条划痕。", claim("8", camera="cam-0")),
        ("`cam-0`的`open`持续83秒。", claim("83", Measure.HIGHEST, "cam-0", "open")),
    ],
)
def test_a_true_claim_does_not_cover_a_chinese_lie(lie: str, cover: Claim) -> None:
    assert checked(lie, cover, language=CHINESE).unsupported != ()


def test_a_true_sentence_beside_a_false_claim_is_named() -> None:
    found = checked("`cam-0`: 7 x `open`.", claim("7", camera="cam-1", defect="open")).unsupported
    assert [one.said for one in found] == ["7 x"]


def test_a_clause_of_its_own_is_cleared_up_by_its_claim() -> None:
    text = "`cam-0` leads with 8 findings, and `spur` is the most frequent class with 7."
    assert checked(text).unsupported != ()
    assert checked(text, claim("7", defect="spur")).unsupported == ()
    assert checked(text.replace("with 7", "with 6"), claim("6", defect="spur")).unsupported != ()


@pytest.mark.parametrize(
    ("text", "said", "lie"),
    [
        ("Findings come at 96 per hour.", "96", "97"),
        ("`cam-0` has 7 times as many `open` as `short`.", "7", "8"),
        ("5 of 120 frames are NG (4.2%).", "4.2%", "5.2%"),
    ],
)
def test_no_claim_is_asked_of_what_no_measure_can_claim(text: str, said: str, lie: str) -> None:
    beside = claim(said, Measure.SHARE if "%" in said else Measure.COUNT)
    assert checked(text, beside).unsupported == ()
    assert checked(text.replace(said, lie), claim(lie, beside.measure)).unsupported != ()


def test_places_are_filled_in_by_us_and_invented_ones_are_named() -> None:
    real, unreal = Place(camera="cam-0", defect="open"), Place(camera="cam-0", defect="scratch")
    report = checked("-", places=(real, unreal))
    assert [one.said for one in report.unsupported] == ["`scratch`"]
    told = [text for text, _ in report.lines]
    assert "`cam-0`: 7 x `open` (severity 3), from 08:00:39 to 08:05:12, confidence up to 83%" in told


def test_a_model_s_words_stay_on_their_line_and_make_no_markup() -> None:
    draft = Draft(
        headline=Statement(text="# Two\n\n# headlines\u2028<script>", numbers=()),
        happened=(Statement(text="[click](http://somewhere) ![x](y)", numbers=()),),
        places=(),
        cause=Statement(text="-", numbers=()),
        check_first=(),
        confidence="low",
    )
    first, _, body = render(draft, DATA, ENGLISH).markdown.partition("\n")
    assert first == "# Two # headlines &lt;script>"
    assert "](" not in body
