"""What a machine has, found out without loading any of it into this process."""

from __future__ import annotations

import hashlib
import json
import platform
import subprocess
import sys
from collections.abc import Iterator
from importlib.util import find_spec
from pathlib import Path

import onnx
from google.protobuf.message import DecodeError  # type: ignore[import-untyped]

from gistline.cli import buying_probe, hardware_probes, serving_probe
from gistline.cli.checks import Check, State
from gistline.detection import hardware
from gistline.detection.model_file import BUNDLED, bundled_path, load_model
from gistline.embedded import postgres, redis
from gistline.errors import GistlineError
from gistline.settings import Settings
from gistline.storage import migrate

_CPU_ABILITIES = "print('finds', *openvino.Core().get_property('CPU', 'OPTIMIZATION_CAPABILITIES'))"


def examine(settings: Settings) -> Iterator[Check]:
    """Look at hardware, runtimes, servers and data files, one after the other."""
    yield _python()
    yield from hardware_probes.examine(settings)
    optional = "Only for NVIDIA GPUs: 'pip install gistline[gpu]'."
    yield _runtime("openvino", State.MISSING, cure="Run 'pip install openvino'.", ask=_CPU_ABILITIES)
    yield _runtime("tensorrt", State.ABSENT, cure=optional)
    yield _runtime("pycuda", State.ABSENT, cure=optional)
    yield _database(settings.database.url.get_secret_value())
    yield _redis(settings.redis.url.get_secret_value())
    yield _model(settings)
    yield _checksums()
    yield from serving_probe.examine(settings)
    yield from buying_probe.examine(settings)
    yield _ranks()


def _python() -> Check:
    return Check("python", State.OK, platform.python_version())


def _runtime(module: str, otherwise: State, *, cure: str, ask: str = "") -> Check:
    """Import in another process: some runtimes are slow to load, and a broken one may end the process."""
    if find_spec(module) is None:
        return Check(module, otherwise, "not installed", cure)
    try:
        answer = _output([sys.executable, "-c", f"import {module}\n{ask}"]).strip()
    except subprocess.SubprocessError as error:
        said = (getattr(error, "stderr", None) or str(error)).strip().splitlines()
        return Check(module, otherwise, f"cannot be imported: {said[-1]}", cure)
    number = hardware.libraries()[module] or "version unknown"
    return Check(module, State.OK, f"{number}, {answer}" if answer else number)


def _database(url: str) -> Check:
    try:
        if not url:
            return Check("postgres", State.OK, f"embedded {postgres.server_version(postgres.find_binaries())}")
        current, head = migrate.current(url), migrate.head()
    except GistlineError as error:
        return Check("postgres", State.MISSING, error.message, error.cure)
    except Exception as error:  # noqa: BLE001 - whatever keeps a database from answering is this check's finding
        return Check(
            "postgres", State.MISSING, f"does not answer: {error}".splitlines()[0], "Check GISTLINE_DATABASE__URL."
        )
    if current == head:
        return Check("postgres", State.OK, f"answers, tables at {head}")
    return Check(
        "postgres", State.MISSING, f"tables at {current or 'none'}, needed {head}", "Run 'gistline db upgrade'."
    )


def _redis(url: str) -> Check:
    try:
        if url:
            return Check("redis", State.OK, f"answers, version {redis.ask_version(url)}")
        binary = redis.find_binary()
        return Check("redis", State.OK, f"embedded {redis.server_version(binary)} ({binary.name})")
    except GistlineError as error:
        return Check("redis", State.MISSING, error.message, error.cure)


def _model(settings: Settings) -> Check:
    try:
        model = load_model(settings.detection)
    except GistlineError as error:
        return Check("model", State.MISSING, error.message, error.cure)
    quantised = f"{model.quantised_convolutions} of {model.convolutions} convolutions quantised"
    return Check(
        "model", State.OK, f"{model.name}, {len(model.labels)} classes, {quantised}, sha256 {model.sha256[:12]}"
    )


def _checksums() -> Check:
    """The INT8 file is the one of the passport, and was made from the FP32 file beside it."""
    again = "Install Gistline again."
    try:
        paths = {precision: bundled_path(precision) for precision in BUNDLED}
        passport = json.loads(paths["fp32"].with_suffix(".json").read_text())
        expected = {"int8": passport["int8"]["sha256"], "fp32": _source_digest(paths["int8"])}
    except GistlineError as error:
        return Check("weights", State.MISSING, error.message, error.cure)
    except (OSError, ValueError, KeyError, DecodeError) as error:
        return Check("weights", State.MISSING, f"the bundled detector's papers cannot be read: {error!r}", again)
    wrong = [path.name for precision, path in paths.items() if _digest(path) != expected[precision]]
    if wrong:
        return Check("weights", State.MISSING, f"{', '.join(wrong)} is not the file that was released", again)
    return Check("weights", State.OK, f"{', '.join(path.name for path in paths.values())} are as released")


def _source_digest(quantised: Path) -> str:
    """SHA-256 of the FP32 file that an INT8 file was made from, as it says itself."""
    properties = {entry.key: entry.value for entry in onnx.load(str(quantised)).metadata_props}
    return str(properties["gistline.source_sha256"])


def _digest(path: Path) -> str:
    return hashlib.sha256(path.read_bytes()).hexdigest()


def _ranks() -> Check:
    from gistline.reports.tokens import RANKS, TokenCounter

    try:
        TokenCounter()
    except (GistlineError, OSError) as error:
        return Check("tokens", State.MISSING, str(error), "Install Gistline again.")
    return Check("tokens", State.OK, f"{RANKS} is the file that tiktoken pins")


def _output(argv: list[str]) -> str:
    return subprocess.run(argv, check=True, capture_output=True, text=True, timeout=60).stdout
