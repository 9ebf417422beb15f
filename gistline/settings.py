"""Every knob of the product in one frozen tree; each has a type, a unit, bounds and a sentence.

Sources, strongest first: arguments, environment (``GISTLINE_DETECTION__MIN_CONFIDENCE=0.4``; the variable of a secret
may end in ``_FILE`` and name a file that holds it), a TOML file (``gistline.toml`` in the working directory, or the
path in ``GISTLINE_CONFIG``), the defaults below. Nothing is read at import and there is no global instance: a door
calls :func:`load_settings` once and hands the tree on.
"""

from __future__ import annotations

import os
import re
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Annotated, Any, Literal

from pydantic import AliasChoices, Field, SecretStr, ValidationError, model_validator
from pydantic_settings import (
    BaseSettings,
    PydanticBaseSettingsSource,
    SettingsConfigDict,
    TomlConfigSettingsSource,
)
from pydantic_settings.exceptions import SettingsError as SourceError

from gistline.errors import SettingsError
from gistline.settings_access import AccessSettings
from gistline.settings_accuracy import AccuracySettings
from gistline.settings_acting import AlarmSettings, MqttSettings, VerdictChannelSettings
from gistline.settings_base import FILE, Environment, Section, knob, with_password
from gistline.settings_frames import FrameSettings
from gistline.settings_money import MoneySettings
from gistline.settings_observability import LogSettings, MetricsSettings, TracingSettings
from gistline.settings_words import WordsSettings

CONFIG_VARIABLE = "GISTLINE_CONFIG"
CAMERA_VARIABLES = {f"GISTLINE_CAMERA_{name}" for name in ("KEY", "KEY_FILE", "URL", "SOURCE")}
"""What ``gistline camera`` and the client read: a camera's own, not settings of the system."""
DEFAULT_CONFIG = Path("gistline.toml")
SECRET_WORDS = ("key", "url", "password", "token", "authorization", "secret")
"""Settings with these in their name are shown in no error, unless they are numbers."""
NUMBER = re.compile(r"[-+]?[0-9.]{1,20}")


class DatabaseSettings(Section):
    """PostgreSQL: the truth."""

    url: SecretStr = knob(
        SecretStr(""), "SQLAlchemy or libpq URL of your PostgreSQL (14 or later); empty starts the embedded one."
    )
    password: SecretStr = knob(SecretStr(""), "Password for that URL when it holds none, such as one from a file.")
    pool_size: int = knob(5, "Connections that one process keeps open.", unit="connections", ge=1, le=100)
    connect_timeout_s: int = knob(5, "Wait for a connection before the database counts as down.", unit="s", ge=1, le=60)
    statement_timeout_s: int = knob(30, "Longest that one SQL statement may run.", unit="s", ge=1, le=3600)
    idle_timeout_s: int = knob(
        15,
        "Longest that a transaction may wait for its process, so that a frozen one lets go of what it has locked; "
        "keep it under statement_timeout_s.",
        unit="s",
        ge=1,
        le=3600,
    )

    _join = model_validator(mode="before")(with_password)


class RedisSettings(Section):
    """Redis: the bell."""

    url: SecretStr = knob(SecretStr(""), "URL of your Redis (6.2 or later); empty starts the embedded one.")
    password: SecretStr = knob(SecretStr(""), "Password for that URL when it holds none, such as one from a file.")
    send_timeout_s: float = knob(1.0, "Socket time-out of a process that only sends.", unit="s", ge=0.1, le=30)
    receive_timeout_s: float = knob(5.0, "Socket time-out of a worker that receives.", unit="s", ge=1, le=60)
    connect_timeout_s: float = knob(2.0, "Longest wait for a connection.", unit="s", ge=0.1, le=30)

    _join = model_validator(mode="before")(with_password)


class TensorRtSettings(Section):
    """Engines for NVIDIA GPUs; all but the device decide what is built, and are part of its file's key."""

    device: int = knob(0, "Index of the GPU, as CUDA counts.", ge=0, le=63)
    max_batch: int = knob(32, "Most images in one inference; a model with a batch of its own keeps that.", ge=1, le=256)
    opt_batch: int = knob(0, "Batch that the kernels are chosen for; 0 is max_batch.", unit="images", ge=0, le=256)
    workspace_mb: int = knob(4_096, "Memory that a kernel may use while it works.", unit="MiB", ge=64, le=262_144)
    builder_level: int = knob(
        3, "How hard the builder searches: 0 the quickest build, 5 the quickest engine.", ge=0, le=5
    )
    version_compatible: bool = knob(
        False, "Build for the whole major version, so that the lean runtime and later releases load it; may be slower."
    )
    build_at_start: bool = knob(True, "Build a missing engine before a worker is ready; off refuses to start instead.")
    cache_dir: Path = knob(Path(".data/engines"), "Folder of built engines, timing and calibration caches.")


class DetectionSettings(Section):
    """The detector."""

    model: str = knob("", "Path of an ONNX detector; empty takes the bundled circuit-board detector.")
    labels: str = knob("", "Path of the model's class names (YAML or text); empty takes those in the model file.")
    runtime: Literal["auto", "openvino", "tensorrt"] = knob(
        "auto", "What runs the model: openvino (CPU), tensorrt (NVIDIA GPU), auto (the GPU where there is one)."
    )
    precision: Literal["int8", "fp32"] = knob("int8", "Which of the bundled model's files runs.")
    streams: int = knob(0, "Inferences in flight at once on a CPU; 0 lets the runtime choose.", ge=0, le=64)
    min_confidence: float = knob(0.25, "Detections below this are dropped.", ge=0.001, le=1.0)
    nms_iou: float = knob(
        0.5, "Of two boxes of one class that overlap more, the weaker goes.", unit="IoU", ge=0.05, le=1.0
    )
    max_detections: int = knob(300, "Most detections kept of one frame, strongest first.", ge=1, le=3_000)
    tensorrt: TensorRtSettings = TensorRtSettings()


class RegistrySettings(Section):
    """Models in the database."""

    max_bytes: int = knob(200_000_000, "Largest model file that is taken in.", unit="bytes", ge=1_000, le=900_000_000)
    cache_dir: str = knob("", "Folder of models fetched from the database; empty is 'models' in data_dir.")


class PassportSettings(Section):
    """What an engine must prove before it serves (what the figures mean: docs/passport.md)."""

    required: bool = knob(True, "Serve no engine without a passing passport; off lets unproven ones serve, loudly.")
    measure_at_start: bool = knob(True, "A worker without a passport measures its engine before it takes work.")
    max_loss: float = knob(1.0, "mAP50-95 that an engine may lose to FP32.", unit="points of 100", ge=0, le=100)
    max_loss50: float = knob(1.0, "mAP50 that an engine may lose to FP32.", unit="points of 100", ge=0, le=100)
    max_class_loss: float = knob(
        3.0, "AP50-95 that a single class may lose to FP32.", unit="points of 100", ge=0, le=100
    )
    max_class_loss50: float = knob(
        3.0, "AP50 that a single class may lose to FP32.", unit="points of 100", ge=0, le=100
    )
    least_map50: float = knob(0.5, "mAP50 that an engine must reach, FP32 ones too.", ge=0.0, le=1.0)
    least_boxes: int = knob(20, "A class with fewer labelled boxes stays undecided.", unit="boxes", ge=1, le=100_000)
    proven: bool = knob(
        False, "Demand that the whole 95 % interval of a loss stays within its bound, not only the best estimate."
    )
    boards: int = knob(48, "Rendered boards that the bundled detector is measured on.", unit="boards", ge=8, le=5_000)
    labelled: str = knob("", "COCO file of your labelled images; empty measures on rendered boards.")
    images_dir: str = knob("", "Folder of those images; empty is the COCO file's own.")
    resamples: int = knob(1_000, "Bootstrap resamples behind an interval.", ge=200, le=20_000)
    wait_s: float = knob(
        900.0, "Longest wait for another process that measures the same engine.", unit="s", ge=1, le=7_200
    )


class VerdictSettings(Section):
    """From detections to OK, NG or re-inspect."""

    ng_confidence: float = knob(0.5, "A finding at or above this makes the frame NG.", ge=0.0, le=1.0)
    severities: dict[str, Annotated[int, Field(ge=1, le=3)]] = Field(
        default_factory=lambda: {"open": 3, "short": 3, "mousebite": 2, "spur": 2, "copper": 2, "pin-hole": 1},
        description="Severity of each class, 1 (cosmetic) to 3 (the part is lost); others count as 2.",
        json_schema_extra={"unit": "1..3"},
    )


class FleetSettings(Section):
    """The queue, its leases and its sweeps (figures: docs/architecture.md)."""

    batch_size: int = knob(32, "Most frames in one claim and one engine batch.", unit="frames", ge=1, le=256)
    fill_ms: float = knob(
        5.0, "Longest that a batch which is not full waits for more while another runs.", unit="ms", ge=0, le=1_000
    )
    drain_s: float = knob(5.0, "Longest that one message keeps a worker busy.", unit="s", ge=0.1, le=10)
    lease_s: float = knob(60.0, "A claimed frame not finished within this is given to another.", unit="s", ge=1, le=900)
    max_attempts: int = knob(2, "A frame whose worker died or failed this often is failed.", ge=1, le=20)
    retry_backoff_s: float = knob(2.0, "Wait before the second attempt; doubles each time.", unit="s", ge=0, le=600)
    sweep_interval_s: float = knob(1.0, "Pause between two sweeps.", unit="s", ge=0.2, le=60)
    ring_again_s: float = knob(4.0, "A frame pending this long without a bell is rung again.", unit="s", ge=0.5, le=300)
    ring_again_max_s: float = knob(16.0, "That pause doubles each time, up to this.", unit="s", ge=0.5, le=3_600)
    bell_frames: int = knob(16, "Most frame ids in one message.", unit="frames", ge=1, le=256)
    detect_visibility_s: int = knob(60, "Unacknowledged detect messages return after this.", unit="s", ge=5, le=3600)
    report_visibility_s: int = knob(900, "Unacknowledged report messages return after this.", unit="s", ge=30, le=14400)
    max_bells: int = knob(
        1_000,
        "Messages waiting in a queue above which no more are sent; the sweep rings later.",
        unit="messages",
        ge=10,
        le=100_000,
    )
    loaders: int = knob(4, "Threads that fetch and decode frames while the engine runs.", unit="threads", ge=1, le=64)
    heartbeat_s: float = knob(
        3.0,
        "Pause between two signs of life of a worker; one that is silent for 15 s counts as gone.",
        unit="s",
        ge=0.2,
        le=5,
    )
    fair_rate: float = knob(
        10.0,
        "A camera that sends faster than this for long waits behind itself, not before other cameras.",
        unit="frames/s",
        ge=0.01,
        le=10_000,
    )
    report_concurrency: int = knob(2, "Reports written at once by one report worker.", ge=1, le=64)


class ApiSettings(Section):
    """The HTTP door."""

    host: str = knob("127.0.0.1", "Address that the API listens on.")
    port: int = knob(8080, "Port that the API listens on; 0 takes a free one.", ge=0, le=65_535)
    processes: int = knob(1, "Processes that serve the port; about one a core that the API may take.", ge=1, le=64)
    max_images: int = knob(64, "Most images in one request.", unit="images", ge=1, le=1_000)
    max_request_bytes: int = knob(200_000_000, "Largest request body.", unit="bytes", ge=10_000, le=2_000_000_000)
    receive_timeout_s: float = knob(60.0, "Longest that one request body may take to arrive.", unit="s", ge=1, le=3_600)
    clock_skew_s: int = knob(300, "How far captured_at may lie ahead of this clock.", unit="s", ge=0, le=86_400)


class PressureSettings(Section):
    """What may wait before the API answers 429 with Retry-After."""

    max_depth: int = knob(
        20_000,
        "Frames that may wait. Beyond, cameras are refused that hold their share of them; at twice this, all are.",
        unit="frames",
        ge=1,
        le=10_000_000,
    )
    max_camera_depth: int = knob(10_000, "Frames of one camera that may wait.", unit="frames", ge=1, le=10_000_000)
    max_age_s: float = knob(
        600.0, "How long the oldest frame may have waited; 0 is no limit.", unit="s", ge=0, le=604_800
    )
    refresh_s: float = knob(0.5, "How old the reading of the queue may be.", unit="s", ge=0, le=60)
    min_free_bytes: int = knob(
        500_000_000, "Space kept free where frames are stored; with less the API answers 507.", unit="bytes", ge=0
    )
    max_arriving_bytes: int = knob(
        400_000_000, "Bytes of request bodies that one API process takes in at once.", unit="bytes", ge=1_000_000
    )


LEAST_TOKEN_BUDGET = 200
"""Tokens below which not even the instructions fit."""


class ReportSettings(WordsSettings, MoneySettings):
    """Windows, budgets and the writer."""

    window_minutes: int = knob(15, "Length of a report window, aligned to midnight UTC.", unit="min", ge=1, le=1_440)
    grace_s: float = knob(5.0, "Wait after a window's end before it closes.", unit="s", ge=0, le=3_600)
    token_budget: int = knob(
        6_000,
        "Most input tokens that a window's calls may take together: an upper bound, not an estimate.",
        unit="tokens",
        ge=LEAST_TOKEN_BUDGET,
        le=90_000,
    )
    max_output_tokens: int = knob(1_500, "Most tokens that one answer may take.", unit="tokens", ge=50, le=20_000)
    writer: Literal["auto", "anthropic", "offline"] = knob(
        "auto", "Who writes: anthropic (the LLM), offline (no network), auto (the LLM when there is a key)."
    )
    model: str = knob("claude-haiku-5-5", "Model that writes, and whose prices the offline writer quotes.")
    base_url: str = knob("", "Address of the Messages API; empty is the SDK's default.")
    timeout_s: float = knob(60.0, "Longest that one LLM call may take.", unit="s", ge=1, le=600)
    max_attempts: int = knob(5, "A window whose report failed this often is given up.", ge=1, le=50)
    lease_s: float = knob(
        300.0, "A report not written within this is given to another worker.", unit="s", ge=10, le=3600
    )
    retry_backoff_s: float = knob(5.0, "Wait before the second attempt; doubles each time.", unit="s", ge=0, le=3600)
    ring_again_s: float = knob(30.0, "A window due this long without a bell is rung again.", unit="s", ge=1, le=3600)


class Settings(BaseSettings):
    """The whole tree."""

    model_config = SettingsConfigDict(
        env_prefix="GISTLINE_", env_nested_delimiter="__", frozen=True, extra="forbid", populate_by_name=True
    )

    data_dir: Path = knob(Path(".data"), "Folder of the embedded servers, frames and logs.")
    anthropic_api_key: SecretStr = knob(
        SecretStr(""),
        "Key of the Messages API; without one the offline writer writes.",
        validation_alias=AliasChoices("anthropic_api_key", "ANTHROPIC_API_KEY", "GISTLINE_ANTHROPIC_API_KEY"),
    )
    database: DatabaseSettings = DatabaseSettings()
    redis: RedisSettings = RedisSettings()
    frames: FrameSettings = FrameSettings()
    detection: DetectionSettings = DetectionSettings()
    registry: RegistrySettings = RegistrySettings()
    passport: PassportSettings = PassportSettings()
    accuracy: AccuracySettings = AccuracySettings()
    verdict: VerdictSettings = VerdictSettings()
    fleet: FleetSettings = FleetSettings()
    api: ApiSettings = ApiSettings()
    pressure: PressureSettings = PressureSettings()
    reports: ReportSettings = ReportSettings()
    access: AccessSettings = AccessSettings()
    mqtt: MqttSettings = MqttSettings()
    verdicts: VerdictChannelSettings = VerdictChannelSettings()
    alarms: AlarmSettings = AlarmSettings()
    log: LogSettings = LogSettings()
    metrics: MetricsSettings = MetricsSettings()
    tracing: TracingSettings = TracingSettings()

    @classmethod
    def settings_customise_sources(
        cls,
        settings_cls: type[BaseSettings],
        init_settings: PydanticBaseSettingsSource,
        env_settings: PydanticBaseSettingsSource,
        dotenv_settings: PydanticBaseSettingsSource,
        file_secret_settings: PydanticBaseSettingsSource,
    ) -> tuple[PydanticBaseSettingsSource, ...]:
        """Arguments, then the environment with the files that it names, then the TOML file."""
        return init_settings, Environment(settings_cls), TomlConfigSettingsSource(settings_cls, toml_file=config_path())


def config_path() -> Path:
    """Path of the TOML file that would be read, whether it exists or not."""
    return Path(os.environ.get(CONFIG_VARIABLE) or DEFAULT_CONFIG)


def load_settings(**overrides: Any) -> Settings:
    """Read the settings once.

    Raises:
        SettingsError: a named file is missing or no TOML, or a value is unknown or out of bounds; names each one.

    """
    if os.environ.get(CONFIG_VARIABLE) and not config_path().is_file():
        raise SettingsError(
            f"{CONFIG_VARIABLE} names {config_path()}, which is no file.", cure="Create it or unset it."
        )
    _refuse_unknown_variables()
    try:
        return Settings(**overrides)
    except ValidationError as error:
        raise SettingsError(_explain(error), cure="'gistline settings' lists every name with its bounds.") from error
    except (SourceError, ValueError) as error:
        raise SettingsError(
            f"The settings cannot be read: {error}.", cure=f"Mend {config_path()} or the environment."
        ) from error


def _refuse_unknown_variables() -> None:
    """Pydantic ignores environment variables of the prefix that name no section; a typo there must not pass."""
    known = {CONFIG_VARIABLE, "GISTLINE_ANTHROPIC_API_KEY", *CAMERA_VARIABLES}
    sections = {f"GISTLINE_{name.upper()}" for name in Settings.model_fields}
    for variable in os.environ:
        if not variable.startswith("GISTLINE_") or variable in known:
            continue
        if variable.removesuffix(FILE).split("__")[0] not in sections | known:
            raise SettingsError(f"{variable} names no setting.", cure="'gistline settings' lists every name.")


def _explain(error: ValidationError) -> str:
    lines = []
    for problem in error.errors(include_url=False):
        name = ".".join(str(part) for part in problem["loc"])
        given = problem.get("input")
        secret = any(word in name for word in SECRET_WORDS) and not _is_number(problem["loc"], given)
        hidden = secret or isinstance(given, Mapping)
        shown = "***" if hidden else repr(given)
        lines.append(f"{name} = {shown}: {problem['msg']}")
    return "Wrong settings: " + "; ".join(lines) + "."


def _is_number(path: Sequence[str | int], given: object) -> bool:
    """Whether a setting of numbers was given one, which is no secret whatever the setting's name."""
    kind: Any = Settings
    for part in path:
        field = getattr(kind, "model_fields", {}).get(part)
        kind = field.annotation if field else None
    return kind in (int, float) and NUMBER.fullmatch(str(given)) is not None
