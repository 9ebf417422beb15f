"""A built engine, ready to run: its tensors by name, its shapes, and the call that queues it."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

from gistline.detection.gpu_buffers import Stream
from gistline.detection.layouts import Layout
from gistline.detection.model_file import ModelFile
from gistline.detection.tensorrt_api import LogBook
from gistline.detection.tensorrt_layers import Layers, read_layers
from gistline.errors import EngineUnavailable, ModelRejected


class TensorRtNetwork:
    """One execution context. Its calls come one at a time, within the GPU's context; the pipeline sees to both."""

    def __init__(self, trt: Any, engine: Any, *, model: ModelFile, max_batch: int, book: LogBook) -> None:
        """Make the execution context and look at what goes in and out.

        Raises:
            EngineUnavailable: the GPU's memory does not suffice.
            ModelRejected: the engine has other tensors than the model it was built from.

        """
        self._book = book
        self._fixed = model.max_batch
        self._batch = 0
        self._addresses = 0, 0
        self.input_size = model.input_size
        self.max_batch = model.max_batch or max_batch
        self._engine = engine
        self._context = engine.create_execution_context()
        if self._context is None:
            raise EngineUnavailable(
                f"TensorRT made no execution context: {book.last}",
                cure="Lower detection.tensorrt.max_batch, or end what else runs on the GPU.",
            )
        self._source, self._target = _names(trt, engine, model.name)
        self.float16_in = _is_half(trt, engine, self._source, model.name)
        self.float16_out = _is_half(trt, engine, self._target, model.name)
        self._set_batch(self.max_batch)
        self.layout = self._layout_of(model)
        self.layers = self._inspect(trt)

    def enqueue(self, batch: int, source: int, target: int, stream: Stream) -> None:
        """Queue a batch; a network with a batch of its own computes all of it, whatever it is given.

        Raises:
            EngineUnavailable: TensorRT refused; with its own words.

        """
        self._set_batch(self._fixed or batch)
        if self._addresses != (source, target):
            placed = self._context.set_tensor_address(self._source, source)
            if not (placed and self._context.set_tensor_address(self._target, target)):
                raise EngineUnavailable(f"TensorRT does not take the buffers: {self._book.last}")
            self._addresses = source, target
        if not self._context.execute_async_v3(stream.handle):
            raise EngineUnavailable(f"TensorRT failed to start an inference: {self._book.last}")

    def close(self) -> None:
        """Free the engine's memory; within the GPU's context."""
        self._context = None
        self._engine = None

    def _set_batch(self, batch: int) -> None:
        if batch == self._batch:
            return
        if not self._context.set_input_shape(self._source, (batch, 3, *self.input_size)):
            raise EngineUnavailable(
                f"The engine does not take {batch} images at once: {self._book.last}",
                cure="Build it again: gistline model build.",
            )
        self._batch = batch

    def _layout_of(self, model: ModelFile) -> Layout:
        shape = tuple(int(side) for side in self._context.get_tensor_shape(self._target))
        if shape[0] != self._batch or not model.layout.fits(shape[1:]):
            raise ModelRejected(f"The engine answers {list(shape)}, the model {model.name} {model.layout}.")
        at = model.layout.shape.index(next((side for side in model.layout.shape if isinstance(side, str)), shape[1]))
        return model.layout if model.layout.predictions else replace(model.layout, predictions=shape[1:][at])

    def _inspect(self, trt: Any) -> Layers:
        """Formats are known only for a context whose shapes are set; the lean runtime has no inspector."""
        if not hasattr(trt, "EngineInspector"):
            return Layers((), total=0, reformats=0)
        inspector = self._engine.create_engine_inspector()
        inspector.execution_context = self._context
        return read_layers(inspector.get_engine_information(trt.LayerInformationFormat.JSON))


def _names(trt: Any, engine: Any, model: str) -> tuple[str, str]:
    names = [engine.get_tensor_name(index) for index in range(engine.num_io_tensors)]
    sources = [name for name in names if engine.get_tensor_mode(name) == trt.TensorIOMode.INPUT]
    targets = [name for name in names if name not in sources]
    if len(sources) != 1 or len(targets) != 1:
        raise ModelRejected(f"The engine of {model} has inputs {sources} and outputs {targets} instead of one each.")
    return sources[0], targets[0]


def _is_half(trt: Any, engine: Any, name: str, model: str) -> bool:
    kind = engine.get_tensor_dtype(name)
    if kind not in (trt.DataType.FLOAT, trt.DataType.HALF):
        raise ModelRejected(f"{name} of {model} is {kind}; FP32 and FP16 are understood.")
    return bool(kind == trt.DataType.HALF)
