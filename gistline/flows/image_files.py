"""Image files of a folder, and their pixels or why there are none."""

from __future__ import annotations

from pathlib import Path
from typing import Final

import numpy as np
from numpy.typing import NDArray

from gistline.errors import GistlineError, ImageRejected, ImageTooLarge, RequestRejected
from gistline.frames.decode import decode
from gistline.settings_frames import FrameSettings

SUFFIXES: Final = frozenset({".jpg", ".jpeg", ".png", ".bmp", ".webp", ".tif", ".tiff"})


def image_files(folder: Path) -> list[Path]:
    """Files under a folder whose names end like an image's, sorted.

    Raises:
        RequestRejected: there is no such folder, or no such file in it.

    """
    if not folder.is_dir():
        raise RequestRejected(f"{folder} is no folder.", cure="Name a folder of images.")
    found = sorted(path for path in folder.rglob("*") if path.suffix.lower() in SUFFIXES and path.is_file())
    if not found:
        raise RequestRejected(f"{folder} holds no images.", cure=f"Looked for: {', '.join(sorted(SUFFIXES))}.")
    return found


def read_pixels(path: Path, limits: FrameSettings) -> NDArray[np.uint8] | GistlineError:
    """uint8 ``[h, w]`` or ``[h, w, 3]`` of a file, or what is wrong with it."""
    try:
        return decode(path.read_bytes(), limits)
    except OSError as error:
        return ImageRejected(f"The file cannot be read: {error.strerror or error}.")
    except (ImageRejected, ImageTooLarge) as error:
        return error
