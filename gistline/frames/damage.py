"""The one way the container readers refuse."""

from __future__ import annotations

from typing import NoReturn

from gistline.errors import ImageRejected

WHOLE = "Send the whole file."
UNTOUCHED = "Send the file as the camera wrote it."
ONE_FRAME = "Send each frame as an image of its own."


def refuse(kind: str, why: str, cure: str = UNTOUCHED) -> NoReturn:
    """Raise :class:`ImageRejected`: what is wrong with a file of this kind, and the cure."""
    raise ImageRejected(f"The {kind} {why}.", cure=cure)
