"""A stored frame with its findings drawn in, for people."""

from __future__ import annotations

from dataclasses import dataclass

from gistline.detection.draw import draw, encode_png
from gistline.frames.decode import decode
from gistline.frames.store import FrameStore
from gistline.settings_frames import FrameSettings
from gistline.storage.run_totals import richest_frame
from gistline.storage.session import Sessions, transaction


@dataclass(frozen=True, slots=True)
class DrawnFrame:
    """PNG bytes, and whose frame it was."""

    camera: str
    findings: int
    png: bytes


def draw_richest_frame(sessions: Sessions, store: FrameStore, limits: FrameSettings) -> DrawnFrame | None:
    """Draw the kept frame that shows most; None when no frame with findings has been kept."""
    with transaction(sessions) as session:
        frame = richest_frame(session)
    if frame is None:
        return None
    image = decode(store.get(frame.sha256), limits)
    return DrawnFrame(frame.camera, len(frame.detections), encode_png(draw(image, frame.detections)))
