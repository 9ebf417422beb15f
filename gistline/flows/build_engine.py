"""Build a detector's engine for this machine's GPU, and look at what was built."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from gistline.detection.model_file import load_model
from gistline.detection.preprocess import letterbox
from gistline.detection.tensorrt_calibrator import Calibration
from gistline.detection.tensorrt_progress import Progress
from gistline.domain import EngineInfo
from gistline.errors import GistlineError
from gistline.flows.image_files import image_files, read_pixels
from gistline.settings import Settings
from gistline.settings_frames import FrameSettings


@dataclass(frozen=True, slots=True)
class Built:
    """A file, what runs in it, layers that only change formats, seconds, and whether it was built just now."""

    path: Path
    info: EngineInfo
    reformats: int
    seconds: float
    fresh: bool

    def as_json(self) -> dict[str, Any]:
        """All of it, in plain types."""
        return asdict(self) | {"path": str(self.path)}


def build_engine(
    settings: Settings, *, progress: Progress, calibration: Path | None = None, force: bool = False
) -> Built:
    """Build the engine of the model that the settings name, unless it is there.

    Args:
        settings: model, GPU, batches and folder.
        progress: told how far it is, in [0, 1], and the phase.
        calibration: folder of frames for TensorRT's own calibrator.
        force: build what the hardware check calls silly, and build anew what is there.

    Raises:
        EngineUnavailable: no GPU, no TensorRT or too little memory.
        ModelRejected: the file is missing or does not fit, or TensorRT does not take it.
        HardwareUnfit: the build would be silly on this GPU.
        RequestRejected, ImageRejected, ImageTooLarge: the folder, or one of its files.

    """
    # Loaded here, not at import: it pulls in what only a machine with a GPU uses.
    from gistline.detection.tensorrt_engine import build_engine_file

    model = load_model(settings.detection)
    images = None if calibration is None else _read(calibration, settings.frames, model.input_size)
    made = build_engine_file(
        model, settings=settings.detection.tensorrt, progress=progress, calibration=images, force=force
    )
    return Built(made.path, made.info, made.reformats, made.seconds, made.fresh)


def _read(folder: Path, limits: FrameSettings, input_size: tuple[int, int]) -> Calibration:
    """Frames of a folder, scaled at once: hundreds of whole ones would fill the memory."""
    images = []
    for path in image_files(folder):
        pixels = read_pixels(path, limits)
        if isinstance(pixels, GistlineError):
            raise pixels
        images.append(letterbox(pixels, input_size)[0])
    return Calibration(images)
