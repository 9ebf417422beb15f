"""The prompt that asks for a report to be put right: the data again, the draft, and what is wrong with it."""

from __future__ import annotations

import json
from collections.abc import Sequence

from gistline.domain import Language
from gistline.reports.prompt import WindowData, build_prompt, note
from gistline.reports.tokens import schema_ceiling

MOST_FAULTS = 20
"""Most faults that are listed; a report with more is wrong as a whole."""


def repair_texts(
    data: WindowData, language: Language, *, limit: int, draft: str, faults: Sequence[str]
) -> tuple[str, str]:
    """System and user prompt of at most ``limit`` tokens by the byte ceiling.

    The draft and the faults stand as JSON strings, so that they are text to the model, whatever they say.

    Raises:
        BudgetTooSmall: the totals, the draft and its faults do not fit.

    """
    wrong = "\n".join(json.dumps(fault, ensure_ascii=False) for fault in faults[:MOST_FAULTS])
    lead = note("repair", language) + f"{json.dumps(draft, ensure_ascii=False)}\n\n{wrong}\n\n"
    prompt = build_prompt(data, budget=limit, measure=schema_ceiling, language=language, lead=lead)
    return prompt.system, prompt.user
