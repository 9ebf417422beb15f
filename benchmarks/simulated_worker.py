"""A detect worker with a simulated engine: ``python -m benchmarks.simulated_worker``.

All but the engine is the product's own worker. The engine's speed comes from ``SIMULATED_BATCH_MS`` and
``SIMULATED_FRAME_MS``, its findings a frame from ``SIMULATED_FINDINGS``; none of them is a setting of the product.
"""

from __future__ import annotations

import os
import sys

from gistline.detection.model_file import ModelFile
from gistline.settings import DetectionSettings, load_settings
from gistline.simulator.engine import SimulatedDetector, Speed
from workers.__main__ import run_detect, set_up_logging

BATCH_MS = "SIMULATED_BATCH_MS"
FRAME_MS = "SIMULATED_FRAME_MS"
FINDINGS = "SIMULATED_FINDINGS"


def environment(speed: Speed, findings: float) -> dict[str, str]:
    """Variables that make a worker simulate this engine."""
    return {BATCH_MS: str(speed.batch_s * 1000), FRAME_MS: str(speed.frame_s * 1000), FINDINGS: str(findings)}


def open_simulated(_model: ModelFile, _settings: DetectionSettings) -> SimulatedDetector:
    """Opened like a real engine."""
    given = {
        name: float(os.environ.get(name, default)) for name, default in ((BATCH_MS, 0), (FRAME_MS, 0), (FINDINGS, 0.5))
    }
    return SimulatedDetector(Speed(given[BATCH_MS] / 1000, given[FRAME_MS] / 1000), given[FINDINGS])


if __name__ == "__main__":
    set_up_logging(os.environ.get("SIMULATED_LOG_LEVEL", "info"))
    sys.exit(run_detect(load_settings(), open_simulated))
