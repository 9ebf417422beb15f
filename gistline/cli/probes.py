"""What a machine has, found out without loading any of it into this process."""

from __future__ import annotations

import csv
import hashlib
import io
import json
import os
import platform
import shutil
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from enum import StrEnum
from importlib.metadata import PackageNotFoundError, version
from importlib.util import find_spec
from pathlib import Path

import onnx
from google.protobuf.message import DecodeError  # type: ignore[import-untyped]

from gistline.detection.model_file import BUNDLED, bundled_path, load_model
from gistline.embedded import postgres, redis
from gistline.errors import GistlineError
from gistline.settings import Settings
from gistline.storage import migrate

CPUINFO = Path("/proc/cpuinfo")
INT8_FLAGS = ("avx512_vnni", "avx_vnni", "amx_int8", "i8mm", "asimddp")
"""Instructions that multiply and add 8-bit integers: x86's three, then Arm's two."""
BF16_FLAGS = ("avx512_bf16", "amx_bf16", "bf16")
FIRST_INT8_CAPABILITY = (7, 2)
"""Tensor cores compute in INT8 from compute capability 7.2 (Xavier) and 7.5 (Turing) on; 7.0 (Volta) cannot."""


class State(StrEnum):
    """``missing`` stops the product from working; ``absent`` is something that it can do without."""

    OK = "ok"
    ABSENT = "absent"
    MISSING = "missing"


@dataclass(frozen=True, slots=True)
class Check:
    """One thing looked at: what was found, and what cures it where it is missing."""

    name: str
    state: State
    found: str
    cure: str = ""


def examine(settings: Settings) -> Iterator[Check]:
    """Look at hardware, runtimes, servers and data files, one after the other."""
    yield _python()
    yield cpu(CPUINFO.read_text() if CPUINFO.exists() else "")
    yield from _gpus()
    yield _runtime("openvino", "openvino", State.MISSING, cure="Run 'pip install openvino'.")
    optional = "Only for NVIDIA GPUs: 'pip install gistline[gpu]'."
    yield _runtime("tensorrt", "tensorrt-cu13", State.ABSENT, cure=optional)
    yield _runtime("pycuda", "pycuda", State.ABSENT, cure=optional)
    yield _database(settings.database.url.get_secret_value())
    yield _redis(settings.redis.url.get_secret_value())
    yield _model(settings)
    yield _checksums()
    yield _ranks()


def cpu(cpuinfo: str) -> Check:
    """Model, usable cores and the instructions that matter, from the text of ``/proc/cpuinfo``."""
    fields: dict[str, str] = {}
    for line in cpuinfo.splitlines():
        name, _, value = line.partition(":")
        fields.setdefault(name.strip().lower(), value.strip())
    flags = set(fields.get("flags", fields.get("features", "")).split())
    model = fields.get("model name") or platform.processor() or platform.machine()
    int8 = [flag for flag in INT8_FLAGS if flag in flags]
    bf16 = [flag for flag in BF16_FLAGS if flag in flags]
    found = f"{model}, {_cores()} cores, INT8 by {' '.join(int8) or 'none'}, BF16 by {' '.join(bf16) or 'none'}"
    if int8:
        return Check("cpu", State.OK, found)
    return Check("cpu", State.ABSENT, found, "Needs no cure: INT8 runs here too, but gains less over FP32.")


def gpu(row: list[str]) -> Check:
    """One line of nvidia-smi: name, compute capability, memory, driver."""
    name, capability, memory, driver = (cell.strip() for cell in row)
    found = f"{name}, compute capability {capability}, {memory}, driver {driver}"
    major, _, minor = capability.partition(".")
    if (int(major), int(minor or 0)) >= FIRST_INT8_CAPABILITY:
        return Check("gpu", State.OK, f"{found}, INT8 tensor cores")
    return Check("gpu", State.ABSENT, f"{found}, no INT8 tensor cores", "FP16 or the CPU is the better choice here.")


def _python() -> Check:
    return Check("python", State.OK, platform.python_version())


def _cores() -> int:
    return len(os.sched_getaffinity(0)) if sys.platform == "linux" else os.cpu_count() or 1


def _gpus() -> Iterator[Check]:
    program = shutil.which("nvidia-smi")
    if program is None:
        yield Check("gpu", State.ABSENT, "no nvidia-smi, so no NVIDIA GPU", "None is needed.")
        return
    query = "--query-gpu=name,compute_cap,memory.total,driver_version"
    try:
        answer = _output([program, query, "--format=csv,noheader"])
    except (OSError, subprocess.SubprocessError) as error:
        yield Check(
            "gpu", State.ABSENT, f"nvidia-smi fails: {error}", "Mend the driver, or do without: none is needed."
        )
        return
    for row in csv.reader(io.StringIO(answer)):
        yield gpu(row)


def _runtime(module: str, package: str, otherwise: State, *, cure: str) -> Check:
    """Import in another process: some runtimes are slow to load, and a broken one may end the process."""
    if find_spec(module) is None:
        return Check(module, otherwise, "not installed", cure)
    try:
        _output([sys.executable, "-c", f"import {module}"])
        return Check(module, State.OK, version(package))
    except PackageNotFoundError:
        return Check(module, State.OK, "version unknown")
    except subprocess.SubprocessError as error:
        said = (getattr(error, "stderr", None) or str(error)).strip().splitlines()
        return Check(module, otherwise, f"cannot be imported: {said[-1]}", cure)


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
