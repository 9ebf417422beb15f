"""Rules as people write them, checked: every wrong value is named with what is allowed."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Annotated, Any, Final, Literal

from pydantic import AfterValidator, BaseModel, ConfigDict, Field, ValidationError

from gistline.domain_acting import AlarmSeverity, RuleKind, Scope
from gistline.errors import RequestRejected

OUTPUTS: Final = ("webhook", "mqtt", "email", "log")
TARGETED: Final = ("webhook", "email")
"""Outputs that may name a target of their own behind a colon, such as ``email:anna@example.com``."""


class Params(BaseModel):
    """What a kind of rule may be told; unknown names are errors."""

    model_config = ConfigDict(frozen=True, extra="forbid")


class ClassParams(Params):
    """Findings of the scope's class: ``at_least`` of them within ``window_s`` (0: on one frame)."""

    min_confidence: float = Field(0.0, ge=0, le=1)
    at_least: int = Field(1, ge=1, le=100_000)
    window_s: int = Field(0, ge=0, le=86_400)


class SeverityParams(ClassParams):
    """The same for findings of this severity or worse, whatever their class."""

    min_severity: int = Field(3, ge=1, le=3)


class RateParams(Params):
    """Share of frames that are not OK among those of the last ``window_s``, if they are ``least_frames`` or more."""

    share: float = Field(0.1, gt=0, le=1)
    window_s: int = Field(600, ge=10, le=86_400)
    least_frames: int = Field(50, ge=1, le=1_000_000)
    per: Literal["camera", "line"] = "camera"


class RunParams(Params):
    """So many frames of one camera in a row that are not OK."""

    count: int = Field(5, ge=2, le=10_000)


class SecondsParams(Params):
    """So many seconds: of silence, or that the oldest frame waits."""

    seconds: int = Field(60, ge=1, le=604_800)


class CountParams(Params):
    """So many: open dead letters."""

    count: int = Field(1, ge=1, le=1_000_000)


class MissedParams(Params):
    """So many verdicts within ``window_s`` that no inspection made."""

    count: int = Field(1, ge=1, le=1_000_000)
    window_s: int = Field(300, ge=10, le=86_400)


class ShareParams(Params):
    """Share of a budget that is used: settled and held."""

    share: float = Field(0.8, gt=0, le=10)


class TokenParams(Params):
    """Share by which billed tokens differ from expected ones, among the drifts of the last ``window_s``."""

    share: float = Field(0.05, gt=0, le=10)
    window_s: int = Field(3_600, ge=60, le=604_800)


class AccuracyParams(Params):
    """What an engine may lose, shown by the whole 95 % interval, in the newest reviews not older than ``max_age_h``.

    ``lost`` in points of mAP50-95 since its passport; ``precision`` by operators and ``agreement`` with FP32 as shares.
    """

    lost: float = Field(1.0, ge=0, le=100)
    precision: float = Field(0.8, ge=0, le=1)
    agreement: float = Field(0.85, ge=0, le=1)
    max_age_h: float = Field(72.0, gt=0, le=8_760)


class DriftParams(Params):
    """A camera that drifted by more than ``psi``, and by more than chance, in so many ``reviews`` in a row."""

    psi: float = Field(0.2, ge=0, le=10)
    reviews: int = Field(2, ge=1, le=100)
    max_age_h: float = Field(72.0, gt=0, le=8_760)


PARAMS: Final[Mapping[RuleKind, type[Params]]] = {
    RuleKind.CLASS: ClassParams,
    RuleKind.SEVERITY: SeverityParams,
    RuleKind.NG_RATE: RateParams,
    RuleKind.CONSECUTIVE_NG: RunParams,
    RuleKind.SILENCE: SecondsParams,
    RuleKind.VERDICTS_MISSED: MissedParams,
    RuleKind.DEAD_LETTERS: CountParams,
    RuleKind.QUEUE_AGE: SecondsParams,
    RuleKind.BUDGET: ShareParams,
    RuleKind.TOKEN_DRIFT: TokenParams,
    RuleKind.ACCURACY: AccuracyParams,
    RuleKind.DRIFT: DriftParams,
}


def _outputs(given: tuple[str, ...]) -> tuple[str, ...]:
    for one in given:
        name, _, target = one.partition(":")
        if name not in OUTPUTS:
            raise ValueError(f"{one!r} is none of {', '.join(OUTPUTS)}")
        if target and name not in TARGETED:
            raise ValueError(f"{one!r}: only {' and '.join(TARGETED)} take a target of their own")
        if not target.isprintable():
            raise ValueError(f"the target of {name} holds a character that cannot be printed, such as a line break")
    return tuple(dict.fromkeys(given))


class Rule(BaseModel):
    """One rule. ``cooldown_s`` is the least time between two notices about the same scope; what it drops is counted."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    name: str = Field(pattern=r"^[a-z0-9][a-z0-9._-]{0,62}$")
    kind: RuleKind
    severity: AlarmSeverity = AlarmSeverity.WARNING
    line: str | None = None
    camera: str | None = None
    label: str | None = None
    params: dict[str, Any] = Field(default_factory=dict)
    cooldown_s: int = Field(300, ge=0, le=604_800)
    outputs: Annotated[tuple[str, ...], AfterValidator(_outputs)] = ("log",)
    enabled: bool = True

    @property
    def scope(self) -> Scope:
        """Where it looks."""
        return Scope(self.line, self.camera, self.label)

    @property
    def told(self) -> Any:
        """Its params with defaults filled in, as the class of its kind."""
        return PARAMS[self.kind](**self.params)


def check_rule(given: Mapping[str, Any]) -> Rule:
    """Make a rule of what somebody wrote.

    Raises:
        RequestRejected: a value is unknown or out of bounds; each is named with what is allowed.

    """
    try:
        rule = Rule(**given)
    except ValidationError as error:
        raise RequestRejected(_explain(error, ""), cure="See docs/alarms.md for every field.") from error
    kind = PARAMS[rule.kind]
    try:
        params = kind(**rule.params)
    except ValidationError as error:
        allowed = ", ".join(kind.model_fields) or "nothing"
        raise RequestRejected(
            _explain(error, "params."), cure=f"A rule of kind {rule.kind.value} takes {allowed}."
        ) from error
    if rule.kind is RuleKind.CLASS and not rule.label:
        raise RequestRejected(
            f"Rule {rule.name!r} is of kind class and names none.", cure="Give it a label, such as --label short."
        )
    if rule.label and rule.kind not in (RuleKind.CLASS, RuleKind.SEVERITY):
        raise RequestRejected(
            f"Rule {rule.name!r} has label {rule.label!r}, but {rule.kind.value} does not look at classes.",
            cure="Leave the label out.",
        )
    if rule.kind is RuleKind.ACCURACY and (rule.line or rule.camera):
        raise RequestRejected(
            f"Rule {rule.name!r} is of kind accuracy, which looks at a whole engine.",
            cure="Leave line and camera out; kind drift looks at cameras.",
        )
    return rule.model_copy(update={"params": params.model_dump()})


def _explain(error: ValidationError, prefix: str) -> str:
    lines = [
        f"{prefix}{'.'.join(str(part) for part in problem['loc'])} = {problem.get('input')!r}: {problem['msg']}"
        for problem in error.errors(include_url=False)
    ]
    return "; ".join(lines) + "."
