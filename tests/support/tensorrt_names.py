"""Names that real releases of TensorRT export, read off the Python bindings of four of them.

``python -m tests.support.tensorrt_names`` compares the table with the TensorRT that is installed.
"""

from __future__ import annotations

import sys
from importlib import import_module
from typing import Any, Final

RELEASES: Final = ("8.6.1", "10.0.1", "10.16.1.11", "11.4.0.106")

EVERY: Final[dict[str, str]] = {
    "Builder": "build_serialized_network create_builder_config create_network create_optimization_profile",
    "IBuilderConfig": (
        "add_optimization_profile builder_optimization_level create_timing_cache get_timing_cache "
        "profiling_verbosity set_flag set_memory_pool_limit set_timing_cache"
    ),
    "INetworkDefinition": "get_input num_inputs",
    "OnnxParser": "get_error num_errors parse",
    "ParserError": "desc node",
    "IOptimizationProfile": "set_shape",
    "ITimingCache": "serialize",
    "ITensor": "name shape",
    "ILogger": "Severity log",
    "ILogger.Severity": "ERROR INFO INTERNAL_ERROR VERBOSE WARNING",
    "Runtime": "deserialize_cuda_engine",
    "ICudaEngine": (
        "create_engine_inspector create_execution_context get_tensor_dtype get_tensor_mode get_tensor_name "
        "num_io_tensors"
    ),
    "IExecutionContext": "execute_async_v3 get_tensor_shape set_input_shape set_tensor_address",
    "EngineInspector": "execution_context get_engine_information",
    "BuilderFlag": "EXCLUDE_LEAN_RUNTIME VERSION_COMPATIBLE",
    "MemoryPoolType": "WORKSPACE",
    "ProfilingVerbosity": "DETAILED",
    "LayerInformationFormat": "JSON",
    "TensorIOMode": "INPUT",
    "DataType": "FLOAT HALF",
}
TO_10: Final[dict[str, str]] = {
    "BuilderFlag": "FP16 INT8",
    "NetworkDefinitionCreationFlag": "EXPLICIT_BATCH",
    "IBuilderConfig": "int8_calibrator set_calibration_profile",
    "IInt8EntropyCalibrator2": "get_batch get_batch_size read_calibration_cache write_calibration_cache",
}
FROM_10: Final[dict[str, str]] = {
    "NetworkDefinitionCreationFlag": "STRONGLY_TYPED",
    "IBuilderConfig": "progress_monitor",
    "IProgressMonitor": "phase_finish phase_start step_complete",
}


def members(release: str) -> set[str]:
    """``Class.member`` of every name in the table that a release has."""
    major = int(release.split(".", maxsplit=1)[0])
    tables = [EVERY, *([TO_10] if major <= 10 else []), *([FROM_10] if major >= 10 else [])]
    return {f"{kind}.{name}" for table in tables for kind, names in table.items() for name in names.split()}


def exported(module: Any) -> set[str]:
    """Those names of the table that a module has."""
    every = members("8.6.1") | members("11.4.0.106")
    return {name for name in every if _has(module, name)}


def _has(module: Any, name: str) -> bool:
    found = module
    for part in name.split("."):
        if not hasattr(found, part):
            return False
        found = getattr(found, part)
    return True


def main() -> int:
    module = import_module(sys.argv[1] if len(sys.argv) > 1 else "tensorrt")
    different = members(module.__version__) ^ exported(module)
    sys.stdout.write(f"{module.__version__}: {', '.join(sorted(different)) or 'as in the table'}\n")
    return 1 if different else 0


if __name__ == "__main__":
    sys.exit(main())
