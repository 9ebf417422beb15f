"""The same findings in plainer forms than the prompt's, to say what its form is worth."""

from __future__ import annotations

import json
from collections.abc import Iterable, Sequence
from typing import Any

from gistline.domain import Finding
from gistline.reports.encoding import percent
from gistline.reports.tokens import TokenCounter

FULLY_COUNTED = 1_000
"""Pieces of a text up to which all of them are counted; of more, evenly spread ones are."""


def as_objects(findings: Iterable[Finding]) -> list[dict[str, Any]]:
    """Findings as a program would write them to JSON, no more finely rounded than in the prompt's rows."""
    return [
        {
            "class": finding.label,
            "bbox": [round(side) for side in (finding.box.x, finding.box.y, finding.box.w, finding.box.h)],
            "confidence": percent(finding.confidence) / 100,
            "camera": finding.camera,
            "time": f"{finding.captured_at:%Y-%m-%dT%H:%M:%SZ}",
        }
        for finding in findings
    ]


def as_indented_json(findings: Iterable[Finding]) -> list[str]:
    """Indented JSON of a list of findings, a piece for each."""
    pieces = [json.dumps(one, indent=2, ensure_ascii=False).replace("\n", "\n  ") for one in as_objects(findings)]
    return [f"  {piece},\n" for piece in pieces]


def estimate_pieces(pieces: Sequence[str], counter: TokenCounter) -> int:
    """Tokens of pieces that stand one behind the other.

    Of more than :data:`FULLY_COUNTED` every so many-th is counted, and the sum scaled by bytes.
    """
    step = -(-len(pieces) // FULLY_COUNTED) or 1
    sample = "".join(pieces[::step])
    counted = counter.estimate(sample)
    if step == 1:
        return counted
    return -(-counted * sum(len(piece.encode()) for piece in pieces) // len(sample.encode()))
