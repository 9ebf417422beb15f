"""Whatever the bytes: pixels of the stated size or one of two errors, and the cheap check agrees with the decoder."""

from __future__ import annotations

from collections.abc import Callable

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from gistline.errors import ImageRejected, ImageTooLarge
from gistline.frames.decode import decode, inspect_header, verify
from gistline.settings_frames import FrameSettings
from tests.support import images

LIMITS = FrameSettings(max_pixels=1_000_000, max_side=2_000, min_side=4)
SAMPLES = images.samples()
STARTS = (
    b"",
    b"\xff\xd8\xff",
    b"\x89PNG\r\n\x1a\n\0\0\0\rIHDR",
    b"BM",
    b"RIFF\x40\0\0\0WEBPVP8 ",
    b"RIFF\x40\0\0\0WEBPVP8L",
)


def verdict(check: Callable[[bytes, FrameSettings], object], data: bytes) -> str:
    """``"good"``, or which error came out; any other error fails the test."""
    try:
        check(data, LIMITS)
    except (ImageRejected, ImageTooLarge) as error:
        return type(error).__name__ if error.message and error.cure else "no reason"
    return "good"


def outcome(data: bytes) -> str:
    """What decoding comes to, once all three functions have told the same story."""
    found = verdict(decode, data)
    assert found in {"good", "ImageRejected", "ImageTooLarge"}
    assert verdict(verify, data) == found
    if found == "good":
        facts = inspect_header(data, LIMITS)
        assert decode(data, LIMITS).shape[:2] == (facts.height, facts.width)
    return found


@st.composite
def spoilt(draw: st.DrawFn) -> bytes:
    """A good file with a few changes, most of them near its start, where the headers are."""
    data = bytearray(SAMPLES[draw(st.sampled_from(sorted(SAMPLES)))])
    for _ in range(draw(st.integers(1, 6))):
        at = draw(st.one_of(st.integers(0, 64), st.integers(0, max(0, len(data) - 1))))
        change = draw(st.sampled_from(("flip", "set", "cut", "insert", "end")))
        if change == "flip" and at < len(data):
            data[at] ^= 1 << draw(st.integers(0, 7))
        elif change == "set":
            data[at : at + 4] = draw(
                st.sampled_from((b"\0\0\0\0", b"\xff\xff\xff\xff", b"\x7f\xff\xff\xff", b"\0\1\0\1"))
            )
        elif change == "cut":
            del data[at : at + draw(st.integers(1, 40))]
        elif change == "insert":
            data[at:at] = draw(st.binary(min_size=1, max_size=20))
        elif change == "end":
            del data[at:]
    found = bytes(data)
    return images.mend_checksums(found) if found[1:4] == b"PNG" and draw(st.booleans()) else found


@settings(max_examples=400, deadline=None, derandomize=True, suppress_health_check=list(HealthCheck))
@given(spoilt())
def test_spoilt_files(data: bytes) -> None:
    outcome(data)


@settings(max_examples=300, deadline=None, derandomize=True)
@given(st.sampled_from(STARTS), st.binary(max_size=300))
def test_random_bytes(start: bytes, rest: bytes) -> None:
    assert outcome(start + rest) != "good"


@pytest.mark.parametrize("name", SAMPLES)
def test_good_files_pass(name: str) -> None:
    assert outcome(SAMPLES[name]) == "good"
