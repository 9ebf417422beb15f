"""A TensorRT of one release that has the names of the real one and no others, and builds nothing but notes.

Its classes are made from the table of names in ``tests/support/tensorrt_names.py``, so code that uses a name which that
release has not fails here as it would there. A plan is JSON that says how it was asked for.
"""

from __future__ import annotations

import json
from enum import IntEnum
from types import SimpleNamespace
from typing import Any

from tests.support.tensorrt_names import members

DEFAULT_LAYERS: list[Any] = [
    {"Name": f"conv_{i}", "LayerType": "CaskConvolution", "Inputs": [{"Format/Datatype": kind}]}
    for i, kind in enumerate(("Row major Int8 format", "Row major Int8 format", "Row major Int8 format", "Half"))
]


def names_of(release: str, kind: str) -> list[str]:
    """Members of one class."""
    return sorted(name.rpartition(".")[2] for name in members(release) if name.rpartition(".")[0] == kind)


def _enum_of(kind: str, names: list[str]) -> Any:
    make: Any = IntEnum
    return make(kind, names, start=0)


class _Strict:
    """An object with the members of one class of one release; reading or setting another is an AttributeError."""

    _allowed: set[str]
    _kind: str

    def __init__(self, release: str, kind: str, **values: Any) -> None:
        object.__setattr__(self, "_allowed", {*names_of(release, kind)})
        object.__setattr__(self, "_kind", kind)
        for name, value in values.items():
            if name in self._allowed:
                object.__setattr__(self, name, value)

    def __setattr__(self, name: str, value: Any) -> None:
        if name not in self._allowed:
            raise AttributeError(f"{self._kind} has no {name}")
        object.__setattr__(self, name, value)


class TwinTensorRt:
    """The module. ``notes`` collects what a build was asked for; ``fails`` makes one step fail."""

    def __init__(self, release: str, *, fails: str = "", shape: tuple[int, ...] = (-1, 3, 64, 64)) -> None:
        self.__version__ = release
        self.fails, self.shape = fails, shape
        self.layers: list[Any] = DEFAULT_LAYERS
        self.answers: tuple[int, ...] = (6, 84)
        self.builds, self.notes = 0, dict[str, Any]()
        for kind in ("BuilderFlag", "NetworkDefinitionCreationFlag", "MemoryPoolType", "ProfilingVerbosity"):
            self._enum(kind)
        for kind in ("LayerInformationFormat", "TensorIOMode", "DataType"):
            self._enum(kind)
        severity = _enum_of("Severity", names_of(release, "ILogger.Severity"))
        self.ILogger = type("ILogger", (), {"Severity": severity, "__init__": lambda self: None})
        for kind in ("IProgressMonitor", "IInt8EntropyCalibrator2"):
            if names_of(release, kind):
                setattr(self, kind, type(kind, (), {"__init__": lambda self: None}))
        self.Builder, self.OnnxParser, self.Runtime = self._builder, self._parser, self._runtime
        self.EngineInspector = object

    def strict(self, kind: str, **values: Any) -> _Strict:
        return _Strict(self.__version__, kind, **values)

    def _enum(self, kind: str) -> None:
        setattr(self, kind, _enum_of(kind, names_of(self.__version__, kind)))

    def _complain(self, text: str) -> None:
        self.logger.log(self.ILogger.Severity.ERROR, text)  # type: ignore[attr-defined]

    def _builder(self, logger: Any) -> Any:
        self.logger = logger
        if self.fails == "builder":
            raise TypeError("factory function returned nullptr")
        return self.strict(
            "Builder",
            create_network=self._network,
            create_builder_config=self._config,
            create_optimization_profile=self._profile,
            build_serialized_network=self._build,
        )

    def _network(self, flags: int) -> Any:
        self.notes["network_flags"] = flags
        pixels = self.strict("ITensor", name="images", shape=self.shape)
        return self.strict("INetworkDefinition", num_inputs=1, get_input=lambda index: pixels)

    def _parser(self, network: Any, logger: Any) -> Any:
        error = self.strict("ParserError", desc=lambda: "no such operator", node=lambda: 4)
        return self.strict(
            "OnnxParser", parse=lambda content: self.fails != "parse", num_errors=1, get_error=lambda index: error
        )

    def _config(self) -> Any:
        notes = self.notes
        notes.update(flags=[], profiles=[], pools={})
        cache = self.strict("ITimingCache", serialize=lambda: b"timing of " + notes["timing"])
        return self.strict(
            "IBuilderConfig",
            set_flag=lambda flag: notes["flags"].append(flag.name),
            set_memory_pool_limit=lambda pool, size: notes["pools"].update({pool.name: size}),
            add_optimization_profile=lambda profile: notes["profiles"].append(profile.shapes),
            set_calibration_profile=lambda profile: notes.update(calibration_profile=profile.shapes),
            create_timing_cache=lambda content: notes.update(timing=content) or cache,
            set_timing_cache=lambda cache, ignore: notes["timing"] != b"of another GPU",
            get_timing_cache=lambda: cache,
        )

    def _profile(self) -> Any:
        made = SimpleNamespace(shapes=None)
        made.set_shape = lambda name, least, usual, most: setattr(made, "shapes", (name, least, usual, most))
        return made

    def _build(self, network: Any, config: Any) -> bytes | None:
        self.builds += 1
        self.notes.update(level=config.builder_optimization_level, verbosity=config.profiling_verbosity.name)
        if hasattr(config, "progress_monitor"):
            _report(config.progress_monitor)
        if hasattr(config, "int8_calibrator"):
            self.notes["batches"] = _calibrate(config.int8_calibrator)
        if self.fails == "build":
            self._complain("no kernel for conv_4")
            return None
        return json.dumps({"build": self.builds}).encode()

    def _runtime(self, logger: Any) -> Any:
        self.logger = logger
        return self.strict("Runtime", deserialize_cuda_engine=self._deserialise)

    def _deserialise(self, content: bytes) -> Any:
        if self.fails == f"load {json.loads(content)['build']}":
            self._complain("serialised by another driver")
            return None
        modes: Any = self.TensorIOMode  # type: ignore[attr-defined]
        return self.strict(
            "ICudaEngine",
            num_io_tensors=2,
            get_tensor_name=lambda index: ("images", "output0")[index],
            get_tensor_mode=lambda name: modes.INPUT if name == "images" else None,
            get_tensor_dtype=lambda name: self.DataType.FLOAT,  # type: ignore[attr-defined]
            create_execution_context=lambda: None if self.fails == "context" else self._context(),
            create_engine_inspector=lambda: self.strict(
                "EngineInspector", get_engine_information=lambda kind: json.dumps({"Layers": self.layers})
            ),
        )

    def _context(self) -> Any:
        state: dict[str, Any] = {"calls": []}
        self.notes["context"] = state

        def set_shape(name: str, shape: tuple[int, ...]) -> bool:
            state["shape"] = shape
            return self.fails != "shape"

        def run(stream: int) -> bool:
            state["calls"].append((state["shape"][0], state.get("images"), state.get("output0"), stream))
            return self.fails != "run"

        def set_address(name: str, address: int) -> bool:
            state[name] = address
            return True

        return self.strict(
            "IExecutionContext",
            set_input_shape=set_shape,
            set_tensor_address=set_address,
            get_tensor_shape=lambda name: (state["shape"][0], *self.answers),
            execute_async_v3=run,
        )


def _report(monitor: Any) -> None:
    monitor.phase_start("Building", None, 2)
    monitor.phase_start("Tactics", "Building", 4)
    for step in range(4):
        assert monitor.step_complete("Tactics", step)
    monitor.phase_finish("Tactics")
    for step in range(2):
        assert monitor.step_complete("Building", step)
    monitor.phase_finish("Building")


def _calibrate(calibrator: Any) -> list[int]:
    """Addresses of all batches, unless there is a cache."""
    if calibrator.read_calibration_cache() is not None:
        return []
    addresses: list[int] = []
    while (batch := calibrator.get_batch(["images"])) is not None:
        addresses += batch
    calibrator.write_calibration_cache(memoryview(b"scales"))
    return addresses
