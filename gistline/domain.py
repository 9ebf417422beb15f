"""The words of the product, as frozen data: everything else in Gistline is written in these terms.

Imports nothing of ours and no third-party package, so every room may use it.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from decimal import Decimal
from enum import StrEnum
from typing import Any, NewType
from uuid import UUID

FrameId = NewType("FrameId", UUID)
WindowId = NewType("WindowId", UUID)
ReportId = NewType("ReportId", UUID)


class FrameState(StrEnum):
    """Life of an accepted frame; :data:`TRANSITIONS` says what may follow what."""

    PENDING = "pending"
    RUNNING = "running"
    INSPECTED = "inspected"
    FAILED = "failed"
    EXPIRED = "expired"


FINAL_STATES: frozenset[FrameState] = frozenset({FrameState.INSPECTED, FrameState.FAILED, FrameState.EXPIRED})

TRANSITIONS: Mapping[FrameState, frozenset[FrameState]] = {
    FrameState.PENDING: frozenset({FrameState.RUNNING, FrameState.INSPECTED, FrameState.FAILED, FrameState.EXPIRED}),
    FrameState.RUNNING: frozenset({FrameState.PENDING, FrameState.INSPECTED, FrameState.FAILED}),
    FrameState.INSPECTED: frozenset(),
    FrameState.FAILED: frozenset({FrameState.PENDING}),
    FrameState.EXPIRED: frozenset(),
}
"""What may follow what; the database refuses everything else, and every frame begins as pending.

A pending frame can end at once: a worker that outlived its lease writes its result first. A failed one comes back only
when somebody retries its dead letter.
"""


class Language(StrEnum):
    """Languages that reports are written in."""

    ENGLISH = "en"
    CHINESE = "zh"


class DeadLetterKind(StrEnum):
    """Why a frame was given up: its worker died with it too often, or it could not be inspected."""

    QUARANTINED = "quarantined"
    FAILED = "failed"


class DeadLetterResolution(StrEnum):
    """What somebody decided about a frame that was given up."""

    RETRIED = "retried"
    DISCARDED = "discarded"


class VerdictKind(StrEnum):
    """What a sorting gate does with the part that the frame shows."""

    OK = "ok"
    NG = "ng"
    REINSPECT = "reinspect"


class Feedback(StrEnum):
    """What an operator thinks of a finding, having seen the part."""

    CORRECT = "correct"
    INCORRECT = "incorrect"
    INCONCLUSIVE = "inconclusive"


class Placement(StrEnum):
    """Where in a report's prompt a finding was counted; every finding of a window has exactly one."""

    ROW = "row"
    AGGREGATE = "aggregate"
    TOTALS = "totals"
    DEFERRED = "deferred"


class Role(StrEnum):
    """What a person or a program may do; each may do what the ones before it may."""

    VIEWER = "viewer"
    OPERATOR = "operator"
    ADMIN = "admin"


@dataclass(frozen=True, slots=True)
class Caller:
    """Who asks, other than a camera: name, role, and the production lines it may see (None: all of them)."""

    id: int
    name: str
    role: Role
    lines: frozenset[str] | None = None

    def may(self, least: Role) -> bool:
        """Whether the role is ``least`` or a higher one."""
        order = list(Role)
        return order.index(self.role) >= order.index(least)

    def sees(self, line: str) -> bool:
        """Whether what belongs to this production line is shown."""
        return self.lines is None or line in self.lines

    @property
    def actor(self) -> str:
        """How the audit names the caller: ``person anna``, ``program erp``."""
        return f"{type(self).__name__.lower()} {self.name}"


@dataclass(frozen=True, slots=True)
class Person(Caller):
    """Somebody who has signed in."""


@dataclass(frozen=True, slots=True)
class Program(Caller):
    """A program of the customer's, known by its key."""


@dataclass(frozen=True, slots=True)
class Box:
    """Axis-aligned rectangle in pixels of the original image; ``x``, ``y`` is its upper left corner."""

    x: float
    y: float
    w: float
    h: float

    @property
    def centre(self) -> tuple[float, float]:
        """Centre ``(x, y)`` in pixels of the original image."""
        return self.x + self.w / 2, self.y + self.h / 2


@dataclass(frozen=True, slots=True)
class Detection:
    """One object that a detector saw: class name, confidence in [0, 1] and its box."""

    label: str
    confidence: float
    box: Box


@dataclass(frozen=True, slots=True)
class Verdict:
    """Decision about one frame and, in one sentence, the rule that made it."""

    kind: VerdictKind
    reason: str


@dataclass(frozen=True, slots=True)
class EngineInfo:
    """What really runs: taken from the compiled engine, not from the request that made it.

    ``precision`` names what most of the convolutions execute in (``"INT8"``, ``"BF16"``, ``"FP32"``);
    ``int8_convolutions`` of ``convolutions`` is how many do so in INT8. ``weights_sha256`` is the digest
    of the model file. ``input_size`` is ``(height, width)`` in pixels. ``layer_precisions`` counts the convolutions
    by the precision that each executes in, most frequent first.
    """

    model: str
    weights_sha256: str
    runtime: str
    device: str
    precision: str
    labels: tuple[str, ...]
    input_size: tuple[int, int]
    convolutions: int
    int8_convolutions: int
    layer_precisions: tuple[tuple[str, int], ...] = ()


@dataclass(frozen=True, slots=True)
class TokenUsage:
    """Tokens of one LLM call, as billed. ``input_tokens`` is the uncached remainder only (Anthropic's meaning)."""

    input_tokens: int = 0
    output_tokens: int = 0
    cache_read_tokens: int = 0
    cache_write_5m_tokens: int = 0
    cache_write_1h_tokens: int = 0

    @property
    def total_input_tokens(self) -> int:
        """All tokens that went in: uncached, read from the cache and written to it."""
        return self.input_tokens + self.cache_read_tokens + self.cache_write_5m_tokens + self.cache_write_1h_tokens


@dataclass(frozen=True, slots=True)
class ImageSize:
    """Width and height of an image in pixels."""

    width: int
    height: int


@dataclass(frozen=True, slots=True)
class Finding:
    """A stored detection with the place and time a report speaks of.

    ``finding_id`` is the database key; ``captured_at`` is timezone-aware UTC; ``severity`` is 1 (cosmetic) to 3
    (the part is lost). ``image`` is the size of the frame that ``box`` lies in, None where it is not known.
    """

    finding_id: int
    frame_id: FrameId
    camera: str
    line: str
    label: str
    confidence: float
    box: Box
    severity: int
    captured_at: datetime
    image: ImageSize | None = None


@dataclass(frozen=True, slots=True)
class FindingGroup:
    """All findings of one camera and one class in a report window, in canonical order; never empty.

    ``severity`` is the gravest of its findings, the confidences are shares in [0, 1], ``first`` and ``last`` are the
    earliest and latest capture.
    """

    camera: str
    label: str
    findings: tuple[Finding, ...]
    severity: int
    mean_confidence: float
    max_confidence: float
    first: datetime
    last: datetime


@dataclass(frozen=True, slots=True)
class FrameCounts:
    """How many frames of a window went which way; ``ng`` and ``reinspect`` are verdicts on inspected frames."""

    inspected: int = 0
    ng: int = 0
    reinspect: int = 0
    failed: int = 0
    expired: int = 0

    @property
    def total(self) -> int:
        """Frames that reached an end: inspected, failed and expired."""
        return self.inspected + self.failed + self.expired


@dataclass(frozen=True, slots=True)
class PriceVector:
    """The price list of one model as it was applied, with the version of the data it came from.

    ``rates`` maps a rate's name (``"input_mtok"``, US dollars per million tokens) to its price in decimal text, or a
    tiered rate's to ``{"base": ..., "tiers": [{"start": tokens, "price": ...}]}``: above ``start`` input tokens the
    whole request pays the tier's price.
    """

    model: str
    source: str
    source_version: str
    rates: dict[str, Any]


@dataclass(frozen=True, slots=True)
class Money:
    """An exact amount in US dollars and whether anybody was really billed."""

    usd: Decimal
    simulated: bool


class PassportVerdict(StrEnum):
    """Whether an engine may serve: ``unproven`` was never measured and serves only where the settings allow that."""

    PASSED = "passed"
    FAILED = "failed"
    UNPROVEN = "unproven"


@dataclass(frozen=True, slots=True)
class Estimate:
    """A measured share with its 95 % bootstrap interval."""

    value: float
    low: float
    high: float


@dataclass(frozen=True, slots=True)
class Comparison:
    """One metric of an engine beside its FP32 reference, on the same images.

    All are shares of 1; ``loss`` is reference minus engine, paired, so its interval is far narrower than the difference
    of the other two suggests.
    """

    engine: Estimate
    reference: Estimate
    loss: Estimate


@dataclass(frozen=True, slots=True)
class ClassComparison:
    """One class: how many labelled ``boxes`` it has on how many ``images``, and its average precisions."""

    label: str
    boxes: int
    images: int
    map50: Comparison
    map50_95: Comparison


@dataclass(frozen=True, slots=True)
class Measurement:
    """What an engine and its reference were measured to be worth on one labelled set.

    ``engine_fps`` and ``reference_fps`` are frames a second of both, taking turns on the same decoded images, with pre-
    and postprocessing. ``resamples`` and ``seed`` fix the bootstrap.
    """

    labelled_name: str
    labelled_sha256: str
    images: int
    boxes: int
    map33: Comparison
    map50: Comparison
    map50_95: Comparison
    classes: tuple[ClassComparison, ...]
    engine_fps: float
    reference_fps: float
    resamples: int
    seed: int


@dataclass(frozen=True, slots=True)
class PassportLimits:
    """What an engine may lose, in points of 100, and what it must reach. Field by field the settings ``passport.*``."""

    max_loss: float
    max_loss50: float
    max_class_loss: float
    max_class_loss50: float
    least_map50: float
    least_boxes: int
    proven: bool


@dataclass(frozen=True, slots=True)
class Judgement:
    """A verdict with its reasons; ``undecided`` names what the labels are too few to decide."""

    verdict: PassportVerdict
    reasons: tuple[str, ...] = ()
    undecided: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Passport:
    """Evidence that an engine is worth serving on the hardware where it was measured.

    ``machine`` names that hardware as far as it decides what the engine computes: the same file rounds and saturates
    otherwise on a CPU of the same name with other instructions.
    ``reference`` is the FP32 engine it was held against (the engine's own file when that is FP32). ``measurement`` is
    None for an unproven engine. ``versions`` name the libraries, ``hardware`` the machine. ``judgement`` was made with
    ``limits``, which were in force then.
    """

    id: UUID
    engine: EngineInfo
    machine: str
    reference: EngineInfo | None
    calibration_sha256: str | None
    measurement: Measurement | None
    limits: PassportLimits
    judgement: Judgement
    versions: dict[str, str]
    hardware: dict[str, str]
    measured_at: datetime
