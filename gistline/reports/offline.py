"""The report writer that needs no network: the same data, put into fixed sentences.

Every count it writes comes from the window's totals or from a group of them. It reports the tokens that the same
prompt and its own text take, so that its cost is what the same call would cost; nobody is billed.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from datetime import datetime

from gistline.domain import Finding, FindingGroup, FrameCounts
from gistline.reports.answer import Attempt, Outcome, read_usage
from gistline.reports.prompt import WindowData
from gistline.reports.request import Request
from gistline.reports.tokens import TokenCounter
from gistline.settings import ReportSettings

PLACES = 8
"""Most camera-and-class groups that the report names one by one; the rest is summed up."""


class OfflineWriter:
    """Writes by rule; deterministic."""

    name = "offline"
    simulated = True

    def __init__(self, settings: ReportSettings) -> None:
        self.model = settings.model
        self._counter = TokenCounter()

    def write(self, request: Request, *, book: Callable[[Attempt], None]) -> str:
        """Answer by rule and book it as one attempt; see :class:`Writer`."""
        body = request.offline()
        answer = json.dumps(
            {
                "model": self.model,
                "content": [{"type": "text", "text": body}],
                "stop_reason": "end_turn",
                "usage": {
                    "input_tokens": self._counter.estimate(request.text),
                    "output_tokens": self._counter.estimate(body),
                },
            }
        )
        book(Attempt(Outcome.PAID, usage=read_usage(answer), answer=answer))
        return answer

    def close(self) -> None:
        """Nothing to let go of."""


def compose(data: WindowData) -> str:
    """The report on a window as Markdown: headline, what happened, where and since when, what to check, counts."""
    if not data.groups:
        return quiet_report(data)
    worst = data.groups[0]
    parts = [
        f"# {_code(data.line)}: {len(worst.findings)} x {_code(worst.label)} on {_code(worst.camera)}",
        f"**What happened.** {_frames(data)} {_sum_up(data)}",
        "**Where and since when (UTC).**\n\n" + "\n".join(_places(data)),
        f"**Check first.** {_advice(worst)}",
        f"**Counts.** By class: {_counts(data.totals.by_label)}. By camera: {_counts(data.totals.by_camera)}. "
        f"All: {data.totals.findings}.",
    ]
    return "\n\n".join(parts)


def quiet_report(data: WindowData) -> str:
    """The one-line report on a window in which nothing was found; no LLM is asked for it."""
    return f"No findings on line {_code(data.line)}. {_frames(data)}"


def _frames(data: WindowData) -> str:
    frames = data.totals.frames
    return (
        f"From {data.starts_at:%Y-%m-%d %H:%M:%S} to {data.ends_at:%Y-%m-%d %H:%M:%S} UTC "
        f"{_many(frames.inspected, 'frame')} {'was' if frames.inspected == 1 else 'were'} inspected: "
        f"{frames.ng} NG, {frames.reinspect} to re-inspect.{_losses(frames)}"
    )


def _losses(frames: FrameCounts) -> str:
    if not frames.failed and not frames.expired:
        return ""
    return f" Not inspected: {frames.failed} failed, {frames.expired} expired."


def _sum_up(data: WindowData) -> str:
    totals = data.totals
    return (
        f"Found: {_many(totals.findings, 'finding')} of {_many(len(totals.by_label), 'class', 'classes')} "
        f"on {_many(len(totals.by_camera), 'camera')}."
    )


def _places(data: WindowData) -> list[str]:
    lines = [_place(group) for group in data.groups[:PLACES]]
    rest = data.groups[PLACES:]
    if rest:
        hidden = sum(len(group.findings) for group in rest)
        lines.append(f"- {_many(len(rest), 'further group')} with {_many(hidden, 'finding')}: see the counts.")
    return lines


def _place(group: FindingGroup) -> str:
    when = f"at {_clock(group.first)}"
    if len(group.findings) > 1:
        when = f"from {_clock(group.first)} to {_clock(group.last)}"
    return (
        f"- {_code(group.camera)}: {len(group.findings)} x {_code(group.label)} (severity {group.severity}), {when}, "
        f"confidence up to {group.max_confidence:.0%}"
    )


def _advice(worst: FindingGroup) -> str:
    surest = max(worst.findings, key=_sureness)
    x, y = surest.box.centre
    return (
        f"Camera {_code(worst.camera)}, class {_code(worst.label)}: the surest one lies around x {x:.0f}, y {y:.0f} px "
        f"({_clock(surest.captured_at)})."
    )


def _sureness(finding: Finding) -> tuple[float, int]:
    return finding.confidence, -finding.finding_id


def _counts(counted: Mapping[str, int]) -> str:
    return ", ".join(f"{_code(key)} {count}" for key, count in counted.items())


def _many(count: int, one: str, several: str = "") -> str:
    return f"{count} {one if count == 1 else several or one + 's'}"


def _clock(moment: datetime) -> str:
    return f"{moment:%H:%M:%S}"


def _code(text: str) -> str:
    """A name as Markdown code, on one line and without backticks of its own."""
    return f"`{' '.join(text.replace('`', ' ').split())}`"
