"""Choices by what a release of TensorRT has, with the names of the real ones."""

from __future__ import annotations

import ast
import logging
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from gistline.detection import tensorrt_api
from gistline.detection.layouts import Layout, LayoutKind
from gistline.detection.model_file import ModelFile
from gistline.detection.tensorrt_api import OPTIONAL, USED, LogBook, Typing, choose_typing, make_logger, read_features
from gistline.errors import EngineUnavailable, ModelRejected
from tests.support.tensorrt_names import RELEASES, members
from tests.support.twin_tensorrt import TwinTensorRt

FILES = sorted(Path(tensorrt_api.__file__).parent.glob("tensorrt_*.py"))
KINDS = {
    "builder": "Builder",
    "config": "IBuilderConfig",
    "network": "INetworkDefinition",
    "parser": "OnnxParser",
    "error": "ParserError",
    "profile": "IOptimizationProfile",
    "pixels": "ITensor",
    "runtime": "Runtime",
    "engine": "ICudaEngine",
    "_engine": "ICudaEngine",
    "_context": "IExecutionContext",
    "inspector": "EngineInspector",
    "severity": "ILogger.Severity",
    "kinds": "NetworkDefinitionCreationFlag",
}
"""What variables of these names hold wherever TensorRT's objects are handled."""

MODEL = ModelFile(
    name="pcb.onnx",
    sha256="ab" * 32,
    labels=("open", "short"),
    input_size=(64, 64),
    convolutions=4,
    quantised_convolutions=0,
    content=b"onnx",
    layout=Layout(LayoutKind.ANCHOR_FREE, 2, 84),
)
QUANTISED = replace(MODEL, quantised_convolutions=3)
HALF = replace(QUANTISED, float16=True)


def flat(table: Any) -> set[str]:
    return {f"{kind}.{name}" for kind, names in table.items() for name in names}


@pytest.mark.parametrize("release", RELEASES)
def test_every_release_has_every_name_that_is_used_unasked(release: str) -> None:
    assert flat(USED) - members(release) == set()


def test_what_is_asked_for_first_is_what_some_release_lacks() -> None:
    lacking = {name for release in RELEASES for name in flat(OPTIONAL) - members(release)}
    assert lacking == flat(OPTIONAL)


def test_no_file_uses_a_name_that_is_not_in_the_tables() -> None:
    known, seen = flat(USED) | flat(OPTIONAL), set()
    for path in FILES:
        for node in ast.walk(ast.parse(path.read_text())):
            if isinstance(node, ast.Attribute):
                holder = node.value
                name = getattr(holder, "attr", getattr(holder, "id", ""))
                in_module = isinstance(holder, ast.Attribute) and getattr(holder.value, "id", "") == "trt"
                kind = name if in_module else KINDS.get(name)
                if kind in {known_name.rpartition(".")[0] for known_name in known} and node.attr != "__init__":
                    seen.add(f"{kind}.{node.attr}")
    # Of our own class that shares a variable's name, and of Python's errors.
    ours = {"INetworkDefinition.close", "INetworkDefinition.layers", "ParserError.strerror"}
    assert seen - known == ours
    assert len(seen) > 30


@pytest.mark.parametrize(
    ("release", "flags", "strong", "calibrators", "explicit_batch", "monitor"),
    [
        ("8.6.1", True, False, True, True, False),
        ("10.0.1", True, True, True, False, True),
        ("10.16.1.11", True, True, True, False, True),
        ("11.4.0.106", False, True, False, False, True),
    ],
)
def test_features(
    release: str, flags: bool, strong: bool, calibrators: bool, explicit_batch: bool, monitor: bool
) -> None:
    found = read_features(TwinTensorRt(release))
    assert (found.flags, found.strong, found.calibrators) == (flags, strong, calibrators)
    assert (found.explicit_batch, found.monitor, found.version) == (explicit_batch, monitor, release)


def test_an_older_release_is_refused() -> None:
    twin = TwinTensorRt("8.6.1")
    twin.__version__ = "8.5.3.1"
    with pytest.raises(EngineUnavailable, match=r"8\.5\.3\.1 is too old"):
        read_features(twin)


@pytest.mark.parametrize(
    ("release", "model", "typing"),
    [
        ("8.6.1", MODEL, Typing(False, ("FP16",))),
        ("8.6.1", QUANTISED, Typing(False, ("INT8", "FP16"))),
        ("8.6.1", HALF, Typing(False, ("INT8", "FP16"))),
        ("10.16.1.11", MODEL, Typing(False, ("FP16",))),
        ("10.16.1.11", QUANTISED, Typing(False, ("INT8", "FP16"))),
        ("10.16.1.11", HALF, Typing(True)),
        ("11.4.0.106", MODEL, Typing(True)),
        ("11.4.0.106", QUANTISED, Typing(True)),
        ("11.4.0.106", HALF, Typing(True)),
    ],
)
def test_typing_follows_the_release_and_the_file(release: str, model: ModelFile, typing: Typing) -> None:
    assert choose_typing(read_features(TwinTensorRt(release)), model, calibrated=False) == typing


@pytest.mark.parametrize("release", RELEASES[:3])
def test_a_calibrator_is_for_files_without_scales(release: str) -> None:
    features = read_features(TwinTensorRt(release))
    assert choose_typing(features, MODEL, calibrated=True) == Typing(False, ("INT8", "FP16"))
    with pytest.raises(ModelRejected, match="quantised already"):
        choose_typing(features, QUANTISED, calibrated=True)


def test_release_11_has_no_calibrator() -> None:
    with pytest.raises(ModelRejected, match="has no calibrators") as caught:
        choose_typing(read_features(TwinTensorRt("11.4.0.106")), MODEL, calibrated=True)
    assert "quantise --target tensorrt" in caught.value.cure


def test_errors_are_kept_and_all_lines_logged(caplog: pytest.LogCaptureFixture) -> None:
    twin: Any = TwinTensorRt("11.4.0.106")
    book = LogBook()
    assert book.last == "TensorRT gave no reason."
    logger, severity = make_logger(twin, book), twin.ILogger.Severity
    with caplog.at_level(logging.DEBUG, "gistline.detection.tensorrt_api"):
        for kind, text in ((severity.WARNING, "slow"), (severity.ERROR, "bad\n"), (severity.INTERNAL_ERROR, "worse")):
            logger.log(kind, text)
    assert book.last == "bad | worse"
    assert [record.levelno for record in caplog.records] == [logging.WARNING, logging.ERROR, logging.ERROR]
    book.clear()
    assert "no reason" in book.last
