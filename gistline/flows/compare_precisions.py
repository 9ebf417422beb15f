"""Is INT8 faster on this very machine: the bundled detector in FP32 and INT8, in turns, and the figure kept."""

from __future__ import annotations

import json
from dataclasses import asdict, dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Final

from gistline.detection import hardware
from gistline.detection.bench import Stage
from gistline.detection.model_file import bundled_path, read_model
from gistline.flows.bench_engines import BenchPlan, bench_engines, rendered_images
from gistline.settings import Settings

FILE: Final = "int8-speed.json"
_PLAN: Final = BenchPlan(stages=(Stage.DETECT,), batches=(0,), rounds=5, turn_s=0.4)
"""Two seconds each, in turns of 0.4 s, every stream busy."""


@dataclass(frozen=True, slots=True)
class PrecisionSpeed:
    """INT8 over FP32: ``ratio`` is the median of the rounds, ``low`` and ``high`` their extremes.

    Rates are images a second from pixels to boxes. ``subject`` says what was measured on what, and ``measured_at`` when
    (ISO 8601, UTC).
    """

    ratio: float
    low: float
    high: float
    fp32_rate: float
    int8_rate: float
    subject: str
    measured_at: str


def compare_precisions(settings: Settings) -> PrecisionSpeed:
    """Measure the CPU, and keep the figure in the data folder.

    Raises:
        ModelRejected: a bundled model is missing or does not fit.
        EngineUnavailable: the runtime cannot be loaded, or failed.

    """
    on_cpu = settings.model_copy(update={"detection": settings.detection.model_copy(update={"runtime": "openvino"})})
    pair = [(precision, read_model(bundled_path(precision))) for precision in ("fp32", "int8")]
    fp32, int8 = bench_engines(pair, rendered_images(8), _PLAN, on_cpu)
    cell = int8.cells[0]
    found = PrecisionSpeed(
        ratio=cell.ratio.median,
        low=cell.ratio.low,
        high=cell.ratio.high,
        fp32_rate=fp32.cells[0].rate.median,
        int8_rate=cell.rate.median,
        subject=_subject(),
        measured_at=datetime.now(UTC).isoformat(timespec="seconds"),
    )
    settings.data_dir.mkdir(parents=True, exist_ok=True)
    _path(settings).write_text(json.dumps(asdict(found), indent=2) + "\n")
    return found


def last_comparison(settings: Settings) -> PrecisionSpeed | None:
    """The figure kept for this CPU, runtime and model; None where none was measured or the file is not one of ours."""
    try:
        found = PrecisionSpeed(**json.loads(_path(settings).read_text()))
    except (OSError, ValueError, TypeError):
        return None
    return found if found.subject == _subject() else None


def _subject() -> str:
    """CPU, cores, runtime and weights: a figure holds as long as all are the same."""
    cpu, weights = hardware.cpu(), read_model(bundled_path("int8")).sha256
    return f"{weights[:12]} by OpenVINO {hardware.libraries()['openvino']} on {cpu.model}, {cpu.cores} cores"


def _path(settings: Settings) -> Path:
    return settings.data_dir / FILE
