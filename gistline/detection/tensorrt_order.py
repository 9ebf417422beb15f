"""One model for one GPU: the engine of its key, found on disk or built, checked and loaded."""

from __future__ import annotations

import logging
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np
from numpy.typing import NDArray

from gistline.detection.engine import refuse_silent_fallback
from gistline.detection.gpu_buffers import GpuSession
from gistline.detection.gpu_facts import Fp16Rate, GpuFacts
from gistline.detection.hardware import Gravity, Precision, advise_build, refuse_unless
from gistline.detection.model_file import ModelFile
from gistline.detection.tensorrt_api import Features, LogBook, Typing, choose_typing, make_logger
from gistline.detection.tensorrt_build import Calibrating, Recipe, build_plan
from gistline.detection.tensorrt_calibrator import Calibration, CalibrationCache, Feeder
from gistline.detection.tensorrt_files import EngineKey, EngineStore
from gistline.detection.tensorrt_network import TensorRtNetwork
from gistline.detection.tensorrt_progress import Progress
from gistline.domain import EngineInfo
from gistline.errors import EngineUnavailable
from gistline.settings import TensorRtSettings

log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class Bench:
    """What builds and runs: TensorRT's module, the GPU, and the errors that TensorRT writes."""

    trt: Any
    session: GpuSession
    features: Features
    book: LogBook

    @property
    def gpu(self) -> GpuFacts:
        """The GPU as the hardware check wants it."""
        with self.session.current():
            free, total = self.session.driver.mem_get_info()
        return GpuFacts(self.session.name, self.session.capability, total, free, driver="", cuda="")


@dataclass(frozen=True)
class Order:
    """``force`` builds what the hardware check calls silly, and builds anew what is there."""

    bench: Bench
    model: ModelFile
    settings: TensorRtSettings
    calibration: Calibration | None = None
    force: bool = False

    @cached_property
    def key(self) -> EngineKey:
        """What a built engine must match."""
        settings, session = self.settings, self.bench.session
        most = self.model.max_batch or settings.max_batch
        return EngineKey(
            model=self.model.name,
            model_sha256=self.model.sha256,
            calibration=self.calibration.digest if self.calibration else "",
            gpu=session.name,
            capability=session.capability,
            tensorrt=self.bench.features.version,
            max_batch=most,
            opt_batch=self.model.max_batch or min(most, settings.opt_batch or most),
            workspace_mb=settings.workspace_mb,
            builder_level=settings.builder_level,
            version_compatible=settings.version_compatible,
        )

    @property
    def store(self) -> EngineStore:
        """Where engines lie."""
        return EngineStore(self.settings.cache_dir)

    def network(self, progress: Progress) -> TensorRtNetwork:
        """The loaded engine; within the session's context.

        Raises:
            EngineUnavailable: too little memory, or TensorRT cannot build or load here.
            ModelRejected: TensorRT does not take the model, or would not run it in INT8.
            HardwareUnfit: a build would be silly on this GPU.

        """
        engine = self._deserialise(self._find_or_build(progress))
        if engine is None:
            # The digest was right, so the file is whole: a driver or a library changed under it.
            log.warning("%s is built again: %s", self.store.path(self.key), self.bench.book.last)
            self.store.path(self.key).unlink(missing_ok=True)
            engine = self._deserialise(self._find_or_build(progress))
        if engine is None:
            raise EngineUnavailable(
                f"TensorRT {self.bench.features.version} does not load the engine that it built: {self.bench.book.last}"
            )
        most = self.settings.max_batch
        network = TensorRtNetwork(self.bench.trt, engine, model=self.model, max_batch=most, book=self.bench.book)
        refuse_silent_fallback(self.model, self.info(network))
        return network

    def info(self, network: TensorRtNetwork) -> EngineInfo:
        """What really runs, read from the built engine."""
        layers = network.layers
        return EngineInfo(
            model=self.model.name,
            weights_sha256=self.model.sha256,
            runtime=f"TensorRT {self.bench.features.version}",
            device=self.bench.session.name,
            precision=layers.convolutions[0][0] if layers.convolutions else "unknown",
            labels=self.model.labels,
            input_size=self.model.input_size,
            convolutions=layers.count or self.model.convolutions,
            int8_convolutions=layers.int8,
            layer_precisions=layers.convolutions,
        )

    def _find_or_build(self, progress: Progress) -> bytes:
        """The engine's bytes; one process of the machine builds, the others wait for it."""
        with self.store.building(self.key):
            found = self.store.find(self.key)
            return self._build(progress) if found is None else found

    def _build(self, progress: Progress) -> bytes:
        bench = self.bench
        if not hasattr(bench.trt, "Builder"):
            raise EngineUnavailable(
                f"TensorRT's lean runtime {bench.features.version} builds nothing, and {self.key.name} is not there.",
                cure="Build it where the whole of TensorRT is installed (gistline model build), and copy both files.",
            )
        typing = self._typing()
        self._check_hardware(typing)
        recipe = Recipe(self.model, self.settings, bench.features, typing, self.store.timing_cache(self.key))
        content = build_plan(bench.trt, recipe, bench.book, progress=progress, calibrating=self._calibrating())
        self.store.save(self.key, content, typing=str(typing), labels=self.model.labels)
        return content

    def _deserialise(self, content: bytes) -> Any | None:
        self.bench.book.clear()
        try:
            runtime = self.bench.trt.Runtime(make_logger(self.bench.trt, self.bench.book))
        except (TypeError, RuntimeError) as error:
            raise EngineUnavailable(
                f"TensorRT {self.bench.features.version} makes no runtime here: {self.bench.book.last}",
                cure="See 'gistline doctor'.",
            ) from error
        return runtime.deserialize_cuda_engine(content)

    def _typing(self) -> Typing:
        """As the release and the model want it, without FP16 on GPUs where that is no use."""
        typing = choose_typing(self.bench.features, self.model, calibrated=self.calibration is not None)
        slow = self.bench.gpu.abilities.fp16 in {Fp16Rate.SIXTY_FOURTH, Fp16Rate.NONE}
        return Typing(typing.strong, tuple(flag for flag in typing.flags if not (slow and flag == "FP16")))

    def _check_hardware(self, typing: Typing) -> None:
        int8 = bool(self.model.quantised_convolutions or self.calibration)
        half = self.model.float16 or "FP16" in typing.flags
        precision: Precision = "int8" if int8 else "fp16" if half else "fp32"
        advice = advise_build(
            self.bench.gpu,
            precision,
            model_bytes=len(self.model.content),
            batch=self.key.max_batch,
            input_size=self.model.input_size,
            tensorrt=self.key.tensorrt,
        )
        for one in advice:
            level = logging.INFO if one.gravity is Gravity.NOTE else logging.WARNING
            log.log(level, "%s %s", one.message, one.cure)
        refuse_unless(self.force, advice)

    def _calibrating(self) -> Calibrating | None:
        if self.calibration is None:
            return None
        height, width = self.model.input_size
        session: Any = self.bench.session
        most = self.model.max_batch or self.calibration.batch
        block = session.device_block(most * 3 * height * width * 4)

        def upload(batch: NDArray[np.float32]) -> int:
            session.driver.memcpy_htod(block.address, batch)
            return int(block.address)

        feeder = Feeder(self.calibration, self.model.input_size, upload, fixed=self.model.max_batch)
        return Calibrating(feeder, CalibrationCache(self.store.calibration_cache(self.key)))
