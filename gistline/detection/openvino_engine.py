"""The CPU runtime: OpenVINO. The only file that imports it, and only when an engine is opened."""

from __future__ import annotations

from collections import Counter, deque
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import suppress
from dataclasses import replace
from itertools import islice
from pathlib import Path
from queue import Empty, SimpleQueue
from typing import Any, Final, Literal, NamedTuple, TypeVar

import numpy as np
from numpy.typing import NDArray

from gistline.detection.candidates import Candidates, refuse_not_finite, select
from gistline.detection.engine import Image, refuse_silent_fallback
from gistline.detection.layouts import LayoutKind
from gistline.detection.model_file import ModelFile
from gistline.detection.preprocess import Geometry, letterbox
from gistline.detection.pruned_tail import prune_tail
from gistline.detection.whole_splits import keep_splits_whole
from gistline.domain import EngineInfo
from gistline.errors import EngineUnavailable, ModelRejected

_C = TypeVar("_C")
_T = TypeVar("_T")
FloatPrecision = Literal["f32", "bf16"]

_NAMES: Final = {"i8": "INT8", "u8": "INT8", "f32": "FP32", "f16": "FP16", "bf16": "BF16"}
_EVERYTHING: Final = -np.inf
"""A threshold that every prediction reaches."""


class _Running(NamedTuple):
    """A started request, the pixels that it reads, which must outlive it, and what is known of each image in them."""

    request: Any
    pixels: NDArray[np.uint8]
    contexts: list[Any]


class OpenVinoEngine:
    """One compiled model and a pool of infer requests, one more than streams so that none waits for the next image.

    Batch 1 on every stream unless the file has another batch built in: on a CPU larger batches do not help at 640
    pixels. Normalisation and the change of layout are part of the compiled graph, and images are read where they lie.
    """

    def __init__(
        self,
        model: ModelFile,
        *,
        streams: int = 0,
        float_precision: FloatPrecision = "f32",
        cache_dir: Path | None = None,
    ) -> None:
        """Compile for this machine's CPU.

        Args:
            model: the checked file.
            streams: inferences in flight at once; 0 lets the runtime choose (its throughput hint).
            float_precision: what runs unquantised. OpenVINO's own default is bf16 where the CPU has it, whose eight
                bits of mantissa place a box edge near 640 only to within 4 pixels: hence f32.
            cache_dir: folder where the compiled model is kept for the next start.

        Raises:
            EngineUnavailable: OpenVINO cannot be loaded.
            ModelRejected: the file does not compile, or its quantised convolutions would not run in INT8.

        """
        compiled, self._pruned = compile_model(model, _options(streams, float_precision, cache_dir))
        self._info = _read_info(model, compiled)
        refuse_silent_fallback(model, self._info)
        self._layout = replace(model.layout, predictions=None) if self._pruned else model.layout
        self._batch = model.max_batch or 1
        requests = int(compiled.get_property("OPTIMAL_NUMBER_OF_INFER_REQUESTS"))
        self._in_flight = requests * self._batch
        self._idle: SimpleQueue[Any] = SimpleQueue()
        for _ in range(requests + 1):
            self._idle.put(compiled.create_infer_request())
        self._open = True

    @property
    def info(self) -> EngineInfo:
        """Read from the compiled model."""
        return self._info

    @property
    def in_flight(self) -> int:
        """Number of streams, times the batch where one is built into the file."""
        return self._in_flight

    def infer(self, batch: NDArray[np.uint8]) -> NDArray[np.float32]:
        """``[n, height, width, 3]`` -> raw predictions, batch axis first; n is at least 1."""
        images = ((image, None) for image in batch)
        return np.stack(list(self._run(images, lambda raw, _: raw.copy(), _EVERYTHING)))

    def stream(self, images: Iterable[Image], min_confidence: float) -> Iterator[Candidates]:
        """Yield candidates in order; a request that is done starts on the next image before its result goes out."""

        def read(raw: NDArray[np.float32], geometry: Geometry) -> Candidates:
            return Candidates(*select(raw, self._layout, min_confidence), geometry)

        return self._run((letterbox(image, self._info.input_size) for image in images), read, min_confidence)

    def _run(
        self,
        inputs: Iterable[tuple[NDArray[np.uint8], _C]],
        read: Callable[[NDArray[np.float32], _C], _T],
        threshold: float,
    ) -> Iterator[_T]:
        """Infer letterboxed images and yield what ``read`` makes of each one's raw prediction, in order.

        Where the tail is pruned, the prediction holds what scores at least ``threshold``, unless that is everything.
        """
        running: deque[_Running] = deque()
        waiting = iter(inputs)
        try:
            while chunk := list(islice(waiting, self._batch)):
                request, done = self._take(running, read)
                running.append(self._start(request, chunk, threshold))
                yield from done
            while running:
                request, done = self._finish(running, read)
                self._idle.put(request)
                yield from done
        finally:
            for left in running:
                with suppress(RuntimeError):
                    left.request.wait()
                self._idle.put(left.request)

    def close(self) -> None:
        """Free the compiled model. No call may be running."""
        self._open = False
        while not self._idle.empty():
            self._idle.get_nowait()

    def _take(
        self, running: deque[_Running], read: Callable[[NDArray[np.float32], _C], _T]
    ) -> tuple[Any, Sequence[_T]]:
        """An idle request or, when there is none, this call's oldest with its results.

        A call waits for other threads' requests only while it holds none itself, so two calls cannot block each other.
        """
        if not self._open:
            raise EngineUnavailable("The detector was closed.", cure="Open it again.")
        try:
            return self._idle.get(block=not running), ()
        except Empty:
            return self._finish(running, read)

    def _start(self, request: Any, chunk: Sequence[tuple[NDArray[np.uint8], Any]], threshold: float) -> _Running:
        import openvino

        images = [image for image, _ in chunk]
        try:
            # One image is shared with the runtime where it lies, unless it is read-only or strided. A batch that is
            # not full repeats its last image.
            together = (
                images[0][None] if self._batch == 1 else np.stack(images + images[-1:] * (self._batch - len(images)))
            )
            pixels = np.require(together, requirements=["C", "W"])
            request.set_input_tensor(0, openvino.Tensor(pixels, shared_memory=True))
            if self._pruned:
                request.set_input_tensor(1, openvino.Tensor(np.array([threshold], np.float32)))
            request.start_async()
        except (RuntimeError, ValueError) as error:
            self._idle.put(request)
            raise EngineUnavailable(f"OpenVINO refused an image {list(images[0].shape)}: {error}") from error
        return _Running(request, pixels, [context for _, context in chunk])

    def _finish(
        self, running: deque[_Running], read: Callable[[NDArray[np.float32], _C], _T]
    ) -> tuple[Any, Sequence[_T]]:
        """Wait for the oldest request and read its answer in place, since the next image overwrites it."""
        request, _, contexts = running[0]
        try:
            request.wait()
            raws = request.get_output_tensor(0).data
            finite = not self._pruned or np.isfinite(request.get_output_tensor(1).data[0])
        except RuntimeError as error:
            raise EngineUnavailable(f"OpenVINO failed in the middle of an inference: {error}") from error
        if not finite:
            refuse_not_finite()
        results = [read(raw, context) for raw, context in zip(raws, contexts, strict=False)]
        running.popleft()
        return request, results


def _options(streams: int, float_precision: FloatPrecision, cache_dir: Path | None) -> dict[str, Any]:
    options: dict[str, Any] = {"PERFORMANCE_HINT": "THROUGHPUT", "INFERENCE_PRECISION_HINT": float_precision}
    if streams:
        options["NUM_STREAMS"] = streams
    if cache_dir is not None:
        options["CACHE_DIR"] = str(cache_dir)
    return options


def _runtime() -> Any:
    try:
        import openvino
    except ImportError as error:
        raise EngineUnavailable(f"OpenVINO cannot be loaded: {error}.", cure="pip install openvino") from error
    return openvino


def compile_model(model: ModelFile, options: dict[str, Any]) -> tuple[Any, bool]:
    """The compiled graph, and whether it decodes only what scores."""
    openvino = _runtime()
    core = openvino.Core()
    try:
        graph = _with_pixels_in(core.read_model(model.content, b""), model)
        pruned = _spare_work(graph, model)
        return core.compile_model(graph, "CPU", options), pruned
    except RuntimeError as error:
        raise ModelRejected(
            f"OpenVINO {openvino.get_version()} cannot compile {model.name}: {str(error).strip().splitlines()[-1]}",
            cure="Export the model again, opset 13 to 20, and look at it with 'gistline model add'.",
        ) from error


def _with_pixels_in(graph: Any, model: ModelFile) -> Any:
    """Let the graph take uint8 ``[batch, height, width, 3]`` and scale it to 0..1 itself."""
    from openvino import Layout, Type
    from openvino.preprocess import PrePostProcessor

    processor = PrePostProcessor(graph)
    processor.input().tensor().set_element_type(Type.u8).set_layout(Layout("NHWC"))
    processor.input().model().set_layout(Layout("NCHW"))
    processor.input().preprocess().convert_element_type(Type.f32).scale(255.0)
    processor.output().tensor().set_element_type(Type.f32)
    built = processor.build()
    built.reshape([model.max_batch or 1, *model.input_size, 3])
    return built


def _spare_work(graph: Any, model: ModelFile) -> bool:
    """Change the graph so that it computes the same with less; whether it now decodes only what scores."""
    from openvino import opset13

    if graph.is_dynamic():
        return False
    keep_splits_whole(graph, opset=opset13)
    grid = model.layout.kind is LayoutKind.ANCHOR_FREE and model.max_batch in {None, 1}
    return grid and prune_tail(graph, model.layout.classes, opset=opset13)


def _read_info(model: ModelFile, compiled: Any) -> EngineInfo:
    import openvino

    precisions = _convolution_precisions(compiled)
    most = max(precisions, key=lambda name: precisions[name]) if precisions else "FP32"
    return EngineInfo(
        model=model.name,
        weights_sha256=model.sha256,
        runtime=f"OpenVINO {openvino.get_version().split('-')[0]}",
        device=str(openvino.Core().get_property("CPU", "FULL_DEVICE_NAME")).strip(),
        precision=most,
        labels=model.labels,
        input_size=model.input_size,
        convolutions=sum(precisions.values()),
        int8_convolutions=precisions["INT8"],
        layer_precisions=tuple(precisions.most_common()),
    )


def _convolution_precisions(compiled: Any) -> Counter[str]:
    """How many convolutions of the compiled graph execute in what; the runtime writes it on every node."""
    counts: Counter[str] = Counter()
    for node in compiled.get_runtime_model().get_ops():
        facts = node.get_rt_info()
        if facts["layerType"].astype(str) == "Convolution":
            precision = facts["runtimePrecision"].astype(str)
            counts[_NAMES.get(precision, precision.upper())] += 1
    return counts


def output_shapes(content: bytes, shape: tuple[int, ...]) -> dict[str, tuple[int | str, ...]]:
    """Each output's shape for an input of ``shape``, as far as it can be inferred; "?" elsewhere.

    Raises:
        EngineUnavailable: OpenVINO cannot be loaded.
        ModelRejected: the graph cannot be read or does not take that shape.

    """
    openvino = _runtime()
    try:
        graph = openvino.Core().read_model(content, b"")
        graph.reshape(list(shape))
    except RuntimeError as error:
        raise ModelRejected(
            f"It does not take an input {list(shape)}: {str(error).strip().splitlines()[-1]}",
            cure="Check the size (--size HEIGHTxWIDTH).",
        ) from error
    found: dict[str, tuple[int | str, ...]] = {}
    for output in graph.outputs:
        dims = output.get_partial_shape()
        known = () if dims.rank.is_dynamic else tuple(dim.get_length() if dim.is_static else "?" for dim in dims)
        found.update(dict.fromkeys(output.get_names(), known))
    return found


def probe(
    model: ModelFile, tensors: tuple[str, ...], images: Iterable[NDArray[np.uint8]]
) -> Iterator[dict[str, NDArray[np.float32]]]:
    """Run a float model and yield, for each image, the tensors of those ONNX names inside it.

    Args:
        model: the checked file.
        tensors: names of tensors in its graph; the input's name stands for the normalised pixels.
        images: uint8 ``[height, width, 3]`` of the model's input size.

    Raises:
        EngineUnavailable: OpenVINO cannot be loaded.
        ModelRejected: the file does not compile or has no such tensor.

    """
    openvino = _runtime()
    graph = openvino.Core().read_model(model.content, b"")
    pixels = graph.input().get_any_name()
    inside = [name for name in tensors if name != pixels]
    graph.add_outputs(inside)
    batch = model.max_batch or 1
    graph.reshape([batch, 3, *model.input_size])
    kind = graph.input().get_element_type().to_dtype()
    compiled = openvino.compile_model(graph, "CPU", _options(0, "f32", None))
    for image in images:
        values = np.ascontiguousarray(image.transpose(2, 0, 1)[None], dtype=np.float32) / np.float32(255)
        results = compiled(values.repeat(batch, axis=0).astype(kind, copy=False))
        found = {name: results[name][: None if batch == 1 else 1].astype(np.float32, copy=False) for name in inside}
        yield found | ({pixels: values} if pixels in tensors else {})
