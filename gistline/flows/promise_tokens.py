"""Promise how many tokens a request will at most be billed, by the best source there is, and hold it to that after.

Three sources, in order: the API's own free count of this very request; the bound learned from what requests of the
same model, template and language were billed; the ceiling by bytes. A count is kept by the digest of the request, so a
request that is sent again is not counted again. Whatever a request was really billed is recorded, and where that is
more than promised, or further from what was expected than chance takes it, an alarm is kept and logged.
"""

from __future__ import annotations

import hashlib
import logging
import math
from dataclasses import dataclass
from enum import StrEnum

from sqlalchemy.orm import Session

from gistline.domain import Language, TokenUsage
from gistline.flows.report_tools import ReportTools
from gistline.reports.request import Request
from gistline.reports.tokens import DRIFT, Bound, Learned, Sample, learn, schema_ceiling
from gistline.storage import token_record
from gistline.storage.session import transaction

log = logging.getLogger(__name__)

COUNT_MARGIN = 1.01
"""The API calls its count an estimate that may differ by a small amount."""


class Source(StrEnum):
    """Where a promise comes from."""

    COUNTED = "counted"
    LEARNED = "learned"
    CEILING = "ceiling"


@dataclass(frozen=True, slots=True)
class Template:
    """What requests share whose tokens go by the same rule: their fixed text (``name`` and its digest), language."""

    name: str
    language: Language


@dataclass(frozen=True, slots=True)
class Promise:
    """``tokens`` is what will at most be billed, ``expected`` (None: nobody knows) what probably will."""

    tokens: int
    source: Source
    expected: float | None


def template_of(kind: str, fixed: str, names: str, language: Language) -> Template:
    """The template of a call.

    ``kind`` is its name without a number, ``fixed`` the text that all its requests share. Names in other scripts than
    the Latin one take more tokens for each byte, so windows that have such ``names`` learn apart.
    """
    digest = hashlib.sha256(fixed.encode()).hexdigest()[:8]
    return Template(f"{kind}-{digest}" + ("" if names.isascii() else "-wide"), language)


def bound_of(session: Session, template: Template, tools: ReportTools) -> Bound:
    """The learned bound where it is trusted, else the ceiling. The offline writer's counts teach nothing."""
    if tools.writer.simulated:
        return schema_ceiling
    record = token_record.latest_samples(session, tools.writer.model, template.name, template.language)
    return learn([Sample(one.request_bytes, one.tokens) for one in record]) or schema_ceiling


def promise_tokens(request: Request, bound: Bound, tools: ReportTools) -> Promise:
    """The promise for a request about to be sent; asks the API for its count where there is one."""
    size = len(request.text.encode())
    counted = _counted(request, tools)
    if counted is not None:
        return Promise(math.ceil(counted * COUNT_MARGIN), Source.COUNTED, counted)
    if isinstance(bound, Learned):
        return Promise(bound.of_bytes(size), Source.LEARNED, bound.expected(size))
    return Promise(schema_ceiling.of_bytes(size), Source.CEILING, None)


def record_tokens(
    request: Request, template: Template, promise: Promise, usage: TokenUsage, tools: ReportTools
) -> token_record.Drift | None:
    """Learn from what a request was billed; the alarm that it raised, if it did. A request is recorded once."""
    if tools.writer.simulated:
        return None
    billed = usage.total_input_tokens
    sample = token_record.NewSample(
        body_sha256=request.sha256,
        model=tools.writer.model,
        template=template.name,
        language=template.language,
        request_bytes=len(request.text.encode()),
        tokens=billed,
        promised=promise.tokens,
        expected=promise.expected,
        source=promise.source.value,
    )
    drift = _drift(promise, billed)
    with transaction(tools.sessions) as session:
        if not token_record.add_sample(session, sample) or drift is None:
            return None
        kept = token_record.add_drift(session, sample, drift)
    log.warning(
        "token drift: %s %s %s was billed %d input tokens, %.1f %% off (promised at most %d, source %s)",
        sample.model,
        sample.template,
        sample.language.value,
        billed,
        100 * drift,
        promise.tokens,
        promise.source.value,
    )
    return kept


def _counted(request: Request, tools: ReportTools) -> int | None:
    if not tools.settings.count_timeout_s or tools.writer.simulated:
        return None
    model = tools.writer.model
    with transaction(tools.sessions) as session:
        known = token_record.known_count(session, request.sha256, model)
    if known is not None:
        return known
    counted = tools.writer.count(request, timeout_s=tools.settings.count_timeout_s)
    if counted is not None:
        with transaction(tools.sessions) as session:
            token_record.keep_count(session, request.sha256, model, counted)
    return counted


def _drift(promise: Promise, billed: int) -> float | None:
    """How far the bill is off, as a share; None while that is no alarm."""
    if promise.expected:
        off = billed / promise.expected - 1
        if abs(off) > DRIFT:
            return off
    return billed / promise.tokens - 1 if billed > promise.tokens else None
