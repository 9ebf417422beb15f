from __future__ import annotations

import pytest

from gistline.detection.layouts import Layout, LayoutKind, Shape, look, recognise
from gistline.errors import ModelRejected

V8, V5, V10 = LayoutKind.ANCHOR_FREE, LayoutKind.OBJECTNESS, LayoutKind.END_TO_END
SQUARE = (640, 640)
WIDE = (384, 1280)


@pytest.mark.parametrize(
    ("shape", "classes", "size", "expected"),
    [
        ((1, 84, 8400), 80, SQUARE, Layout(V8, 80, 8400)),
        (("batch", 10, "anchors"), 6, SQUARE, Layout(V8, 6)),
        ((1, 10, 10080), 6, WIDE, Layout(V8, 6, 10080)),
        ((16, 25200, 85), 80, SQUARE, Layout(V5, 80, 25200)),
        (("batch", "anchors", 11), 6, SQUARE, Layout(V5, 6)),
        ((1, 300, 6), 80, SQUARE, Layout(V10, 80, 300)),
        (("batch", 300, 6), 6, SQUARE, Layout(V10, 6, 300)),
        # Six values, where the number of classes allows two layouts: the number of predictions tells.
        ((1, 25200, 6), 1, SQUARE, Layout(V5, 1, 25200)),
        ((1, 300, 6), 1, SQUARE, Layout(V10, 1, 300)),
        ((1, 30240, 6), 1, WIDE, Layout(V5, 1, 30240)),
        ((1, 6, 8400), 2, SQUARE, Layout(V8, 2, 8400)),
        ((1, 300, 6), 2, SQUARE, Layout(V10, 2, 300)),
        ((1, 6, 6), 2, SQUARE, Layout(V10, 2, 6)),
        # Heads with a fourth level, and the two levels of the tiny nets.
        ((1, 25500, 6), 1, SQUARE, Layout(V5, 1, 25500)),
        ((1, 6000, 6), 1, SQUARE, Layout(V5, 1, 6000)),
    ],
)
def test_recognised(shape: Shape, classes: int, size: tuple[int, int], expected: Layout) -> None:
    assert recognise(shape, classes, input_size=size) == expected


@pytest.mark.parametrize(
    ("shape", "classes"), [((1, "anchors", 6), 1), ((1, 1700, 6), 1), ((1, "n", "m"), 80), ((1, 7, 8), 3)]
)
def test_doubtful_until_said(shape: Shape, classes: int) -> None:
    with pytest.raises(ModelRejected):
        recognise(shape, classes, input_size=SQUARE)


@pytest.mark.parametrize("wished", [V5, V10])
def test_the_owner_s_word_settles_a_doubt(wished: LayoutKind) -> None:
    assert recognise((1, 1700, 6), 1, input_size=SQUARE, wished=wished).kind is wished
    with pytest.raises(ModelRejected, match="may be") as doubt:
        recognise((1, 1700, 6), 1, input_size=SQUARE)
    assert doubt.value.cure == "Say which: --layout v10 or v5."


@pytest.mark.parametrize(
    ("shape", "classes", "kind"),
    [((1, 8400, 84), 80, V8), ((1, 8400, 6), 2, V8), ((1, 11, 25200), 6, V5), ((1, 10080, 10), 6, V8)],
)
def test_exchanged_axes(shape: Shape, classes: int, kind: LayoutKind) -> None:
    size = WIDE if 10080 in shape else SQUARE
    seen = look(shape, classes, input_size=size)
    assert (seen.layout.kind, seen.transposed) == (kind, True)
    with pytest.raises(ModelRejected, match="axes exchanged"):
        recognise(shape, classes, input_size=size)


@pytest.mark.parametrize(
    ("shape", "classes"),
    [((1, 11, 8400), 6), ((1, 11, "anchors"), 6), ((1, 25200, 10), 6), ((1, "anchors", 10), 6), ((1, 9, 8400), 6)],
)
def test_one_class_name_too_few_or_many_is_no_other_layout(shape: Shape, classes: int) -> None:
    """A v8 with a name too few has a transposed v5's shape, a v5 with one too many a transposed v8's."""
    with pytest.raises(ModelRejected, match=r"does not fit 6 classes"):
        recognise(shape, classes, input_size=SQUARE)


def test_refusal_says_what_was_seen_and_what_is_understood() -> None:
    with pytest.raises(ModelRejected, match=r"\[1, 84, 8400\] does not fit 3 classes \(by its shape: 80 as") as refused:
        recognise((1, 84, 8400), 3, input_size=SQUARE)
    assert all(words in refused.value.cure for words in ("4 + n", "5 + n", "end-to-end"))
    with pytest.raises(ModelRejected, match=r"\[8400, 84\] has 2 axes"):
        recognise((8400, 84), 80)


def test_without_class_names_the_longer_axis_is_the_predictions() -> None:
    assert recognise((1, 84, 8400), None) == Layout(V8, 80, 8400)
    assert recognise((1, 25200, 85), None) == Layout(V5, 80, 25200)


def test_layout_fits_its_own_shape_only() -> None:
    assert Layout(V8, 2).fits((6, 17))
    assert Layout(V5, 2, 17).fits((17, 7))
    assert not Layout(V5, 2, 17).fits((18, 7))
    assert not Layout(V10, 2).fits((6, 17))
    assert not Layout(V8, 2).fits((1, 6, 17))
    assert [Layout(kind, 2).suppressed for kind in (V8, V5, V10)] == [False, False, True]
