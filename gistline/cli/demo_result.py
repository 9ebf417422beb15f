"""What a demo run came to, as one JSON object or as a table with the report's text."""

from __future__ import annotations

from dataclasses import dataclass
from decimal import Decimal
from pathlib import Path
from typing import Any

from rich.console import Console
from rich.markdown import Markdown
from rich.panel import Panel
from rich.table import Table

from gistline.cli.demo_feed import Outcome
from gistline.domain import FrameState, VerdictKind
from gistline.errors import EngineUnavailable
from gistline.flows.draw_frame import DrawnFrame, draw_richest_frame
from gistline.flows.measure_engine import kept_frames_rate
from gistline.frames.store import open_store
from gistline.settings import Settings
from gistline.storage.run_totals import (
    FrameTotals,
    ReportTotals,
    finding_total,
    frame_totals,
    last_engine,
    latest_report,
    report_totals,
    verdict_totals,
)
from gistline.storage.session import Sessions, transaction
from gistline.storage.tables import EngineRow, ReportRow


@dataclass(frozen=True, slots=True)
class DemoResult:
    """Everything that the demo prints, read back from the database."""

    outcome: Outcome
    frames: FrameTotals
    findings: int
    verdicts: dict[VerdictKind, int]
    report_totals: ReportTotals
    report: ReportRow | None
    engine: EngineRow
    engine_fps: float
    picture: Path | None
    drawn: DrawnFrame | None

    @property
    def inspected(self) -> int:
        """Frames that were looked at."""
        return self.frames.by_state.get(FrameState.INSPECTED, 0)

    @property
    def reports(self) -> int:
        """Reports written."""
        return self.report_totals.count

    @property
    def fleet_fps(self) -> float:
        """Frames a second from the first row accepted to the last one finished, submission included."""
        first, last = self.frames.first_accepted, self.frames.last_finished
        if first is None or last is None or last <= first:
            return 0.0
        return self.frames.finished / (last - first).total_seconds()

    @property
    def saving_ratio(self) -> float:
        """Share of the images' cheapest price that the report saves: 1 - cost / baseline."""
        baseline = self.report_totals.image_usd
        return float(1 - self.report_totals.cost_usd / baseline) if baseline else 0.0

    def as_json(self) -> dict[str, Any]:
        """The object that ``--json`` prints; money in dollars, rates in frames a second."""
        totals = self.report_totals
        return {
            "frames": {
                "submitted": self.outcome.submitted,
                "accepted": self.frames.accepted,
                "inspected": self.inspected,
                "failed": self.frames.by_state.get(FrameState.FAILED, 0),
            },
            "findings": self.findings,
            "verdicts": {kind.value: count for kind, count in self.verdicts.items()},
            "reports": self.reports,
            "tokens": {"input": totals.input_tokens, "output": totals.output_tokens},
            "cost_usd": float(totals.cost_usd),
            "cost_simulated": totals.simulated,
            "image_baseline": {"tokens": totals.image_tokens, "usd": float(totals.image_usd)},
            "saving_ratio": round(self.saving_ratio, 4),
            "engine": {
                "runtime": self.engine.runtime,
                "precision": self.engine.precision,
                "weights_sha256": self.engine.weights_sha256,
            },
            "rates": {"fleet_fps": round(self.fleet_fps, 1), "engine_fps": round(self.engine_fps, 1)},
        }


def read_result(settings: Settings, sessions: Sessions, *, outcome: Outcome, output: Path) -> DemoResult:
    """Read the run back from the database, draw a frame, time the bare engine, write the picture and the report.

    Raises:
        EngineUnavailable: no frame was inspected.

    """
    with transaction(sessions) as session:
        engine, report = last_engine(session), latest_report(session)
        read: dict[str, Any] = {
            "frames": frame_totals(session),
            "findings": finding_total(session),
            "verdicts": verdict_totals(session),
            "report_totals": report_totals(session),
        }
    if engine is None:
        raise EngineUnavailable("No frame was inspected.", cure=f"See the logs in {settings.data_dir / 'logs'}.")
    store = open_store(settings)
    drawn = draw_richest_frame(sessions, store, settings.frames)
    picture = _write(output / "annotated.png", drawn.png) if drawn else None
    if report is not None:
        _write(output / "report.md", report.body.encode())
    rate = kept_frames_rate(sessions, store, settings)
    return DemoResult(
        outcome=outcome, report=report, engine=engine, engine_fps=rate, picture=picture, drawn=drawn, **read
    )


def print_result(result: DemoResult) -> None:
    """Table, report and picture's path on standard output."""
    shown = Console(highlight=False)
    shown.print(_table(result))
    if result.report is not None:
        shown.print(Panel(Markdown(result.report.body), title="The report", title_align="left"))
    if result.picture is not None and result.drawn is not None:
        shown.print(
            f"Annotated frame of {result.drawn.camera} with {result.drawn.findings} findings: {result.picture}",
            markup=False,
            soft_wrap=True,
        )


def _table(result: DemoResult) -> Table:
    table = Table(show_header=False, title="Gistline demo", title_justify="left")
    totals, verdicts = result.report_totals, result.verdicts
    kind = "simulated: what this call would cost" if totals.simulated else "billed"
    rows = {
        "frames": f"{result.outcome.submitted} submitted, {result.frames.accepted} accepted, "
        f"{result.inspected} inspected, {result.frames.by_state.get(FrameState.FAILED, 0)} failed",
        "findings": f"{result.findings}",
        "verdicts": ", ".join(f"{verdicts[kind]} {kind.value}" for kind in VerdictKind),
        "engine": f"{result.engine.model}, {result.engine.precision} on {result.engine.device} "
        f"({result.engine.runtime}; {result.engine.int8_convolutions} of {result.engine.convolutions} "
        "convolutions in INT8)",
        "rates": f"fleet {result.fleet_fps:.0f} frames/s from first accepted to last inspected; bare engine "
        f"{result.engine_fps:.0f} frames/s",
        "report": f"{totals.input_tokens} tokens in, {totals.output_tokens} out: {_usd(totals.cost_usd)} ({kind})",
        "the images instead": f"{totals.image_tokens} tokens: {_usd(totals.image_usd)} at the cheapest",
        "saved": f"{result.saving_ratio:.1%}",
    }
    for name, value in rows.items():
        table.add_row(name, value)
    return table


def _usd(amount: Decimal) -> str:
    return f"${amount:.6f}"


def _write(path: Path, data: bytes) -> Path:
    path.write_bytes(data)
    return path
