"""What an ONNX file's ends and metadata mean, completed by what its owner says of it."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final

from gistline.detection import onnx_facts
from gistline.detection.layouts import UNDERSTOOD, LayoutKind, Seen, look
from gistline.detection.onnx_facts import Tensor
from gistline.errors import ModelRejected

LAYOUT_KEY: Final = "gistline.layout"

OutputShapes = Callable[[tuple[int, ...]], Mapping[str, tuple[int | str, ...]]]
"""The outputs' shapes for an input shape, as a runtime infers them: for files that leave them open."""

_TAKES: Final = "Understood: one input [batch, 3, height, width], float32 or float16, RGB scaled to 0..1."
_NAMES_CURE: Final = (
    "Name the classes in the order of the network's: 'gistline model add ... --labels labels.yaml', the setting "
    "detection.labels, or the metadata property 'names' that ultralytics writes."
)
_BUILT_IN_NMS: Final = frozenset({"num_dets", "det_boxes", "det_scores", "det_classes", "num_detections"})


@dataclass(frozen=True, slots=True)
class Wishes:
    """What the owner says of a file; None where the file must say it itself. ``size`` is ``(height, width)``."""

    labels: tuple[str, ...] | None = None
    layout: LayoutKind | None = None
    size: tuple[int, int] | None = None
    output: str | None = None


@dataclass(frozen=True, slots=True)
class Understood:
    """Everything needed to run a file: ``batch`` is None where it takes any, ``dropped`` are outputs of no use."""

    labels: tuple[str, ...]
    batch: int | None
    size: tuple[int, int]
    output: str
    seen: Seen
    dropped: tuple[str, ...]


def understand(name: str, model: Any, wishes: Wishes, output_shapes: OutputShapes | None = None) -> Understood:
    """Make sense of a file, or refuse it.

    Args:
        name: of the file, for messages.
        model: parsed.
        wishes: what its owner says; it goes before what the file says.
        output_shapes: asked only where the written shapes are not enough.

    Raises:
        ModelRejected: says what was seen and what is understood.

    """
    try:
        facts = onnx_facts.metadata(model)
        _refuse_other_tasks(facts)
        batch, size = _input(onnx_facts.inputs(model), facts, wishes.size)
        given = onnx_facts.outputs(model)
        labels = _labels(facts, wishes.labels, given)
        wished = wishes.layout or _layout_wished(facts)
        choice = _Choice(len(labels), size, wished, facts.get("end2end") == "True")
        try:
            output, seen = choice.among(given, wishes.output)
        except ModelRejected:
            if output_shapes is None or all(isinstance(side, int) for one in given for side in one.shape[1:]):
                raise
            shapes = output_shapes((batch or 1, 3, *size))
            output, seen = choice.among([Tensor(one.name, one.kind, shapes[one.name]) for one in given], wishes.output)
    except ModelRejected as error:
        raise ModelRejected(f"{name}: {error.message}", cure=error.cure) from error
    dropped = tuple(one.name for one in given if one.name != output)
    return Understood(labels, batch, size, output, seen, dropped)


def _refuse_other_tasks(facts: Mapping[str, str]) -> None:
    task = facts.get("task", "detect")
    if task != "detect":
        raise ModelRejected(
            f"Its metadata says task = {task!r}.", cure="Understood: 'detect'. Export a model trained to detect boxes."
        )


def _input(
    tensors: Sequence[Tensor], facts: Mapping[str, str], wished: tuple[int, int] | None
) -> tuple[int | None, tuple[int, int]]:
    """The batch, None where it is dynamic, and height and width."""
    seen = ", ".join(map(str, tensors)) or "no input"
    if len(tensors) != 1 or len(tensors[0].shape) != 4 or tensors[0].kind not in ("float", "float16"):
        raise ModelRejected(f"It takes {seen}.", cure=_TAKES)
    batch, channels, *sides = tensors[0].shape
    if isinstance(channels, int) and channels != 3:
        raise ModelRejected(f"It takes {seen}.", cure=_TAKES)
    size = wished or (None if all(map(_is_size, sides)) else onnx_facts.image_size(facts))
    if size is None and not all(map(_is_size, sides)):
        raise ModelRejected(
            f"It takes {seen} and does not say for which size it was trained.",
            cure="Say it: 'gistline model add ... --size HEIGHTxWIDTH', or export with a fixed size.",
        )
    fixed = tuple(size[axis] if size and not _is_size(side) else int(side) for axis, side in enumerate(sides))
    if size and size != fixed:
        raise ModelRejected(f"It takes {seen}, not {size[0]} x {size[1]}.", cure="Leave the size out.")
    return batch if _is_size(batch) and isinstance(batch, int) else None, (fixed[0], fixed[1])


def _is_size(side: int | str) -> bool:
    """A fixed side; some exporters write 0 or -1 for a dynamic one."""
    return isinstance(side, int) and side > 0


def _labels(facts: Mapping[str, str], wished: tuple[str, ...] | None, given: Sequence[Tensor]) -> tuple[str, ...]:
    try:
        named = onnx_facts.named_classes(facts)
    except ValueError as error:
        if wished is not None:
            return wished
        raise ModelRejected(f"Its metadata says {error}.", cure=_NAMES_CURE) from error
    if named is None and wished is None:
        shapes = ", ".join(map(str, given)) or "nothing"
        raise ModelRejected(f"It does not name its classes; it answers {shapes}.", cure=_NAMES_CURE)
    if named and wished and len(named) != len(wished):
        raise ModelRejected(
            f"It names {len(named)} classes itself ({_few(named)}), and {len(wished)} labels were given "
            f"({_few(wished)}).",
            cure="Give one label for each of its classes, in their order.",
        )
    return wished or named or ()


def _few(names: Sequence[str]) -> str:
    return ", ".join(names[:3]) + (", ..." if len(names) > 3 else "")


def _layout_wished(facts: Mapping[str, str]) -> LayoutKind | None:
    written = facts.get(LAYOUT_KEY)
    if written is None:
        return None
    if written not in list(LayoutKind):
        raise ModelRejected(
            f"Its metadata says {LAYOUT_KEY} = {written!r}.", cure=f"Understood: {', '.join(LayoutKind)}."
        )
    return LayoutKind(written)


@dataclass(frozen=True, slots=True)
class _Choice:
    """Finds the one output to read among those that a file has."""

    classes: int
    size: tuple[int, int]
    wished: LayoutKind | None
    end_to_end: bool

    def among(self, given: Sequence[Tensor], wished: str | None) -> tuple[str, Seen]:
        names = [one.name for one in given]
        if wished is not None:
            if wished not in names:
                raise ModelRejected(f"It has no output {wished!r}.", cure=f"Choose one of {', '.join(names)}.")
            given = [one for one in given if one.name == wished]
        self._refuse_known(given)
        if len(given) == 1:
            return given[0].name, self._look(given[0])
        found = [(one.name, seen) for one in given if (seen := self._try(one)) is not None]
        shapes = ", ".join(map(str, given)) or "nothing"
        if not found:
            raise ModelRejected(f"It answers {shapes}; none of them fits {self.classes} classes.", cure=UNDERSTOOD)
        if len(found) > 1:
            fitting = " or ".join(name for name, _ in found)
            raise ModelRejected(f"It answers {shapes}.", cure=f"Say which is to be read: --output {fitting}.")
        return found[0]

    def _look(self, one: Tensor) -> Seen:
        try:
            return look(one.shape, self.classes, input_size=self.size, wished=self.wished)
        except ModelRejected:
            if self.wished is None and self.end_to_end:
                return look(one.shape, self.classes, input_size=self.size, wished=LayoutKind.END_TO_END)
            raise

    def _try(self, one: Tensor) -> Seen | None:
        try:
            return self._look(one)
        except ModelRejected:
            return None

    def _refuse_known(self, given: Sequence[Tensor]) -> None:
        """Exports that are met often and cannot be read, each with its own cure."""
        shapes = ", ".join(map(str, given))
        if _BUILT_IN_NMS & {one.name for one in given}:
            raise ModelRejected(
                f"It answers {shapes}: suppression of overlaps is built in as a plugin.",
                cure="Export without it (YOLOv7, v9: export.py --grid without --end2end). " + UNDERSTOOD,
            )
        if given and all(len(one.shape) == 5 for one in given):
            raise ModelRejected(
                f"It answers {shapes}: heads that are not decoded to boxes.",
                cure="Export with the decoding (YOLOv5: export.py without --train; YOLOv7: with --grid). " + UNDERSTOOD,
            )
        if len(given) > 1 and any(len(one.shape) == 4 for one in given) and any(len(one.shape) == 3 for one in given):
            raise ModelRejected(f"It answers {shapes}: boxes and masks, as segmentation does.", cure=UNDERSTOOD)
        if len(given) == 1 and len(given[0].shape) == 2:
            table = given[0].shape[1] == 7
            kind = "the boxes of all images in one table" if table else "one row an image, as classification does"
            raise ModelRejected(f"It answers {shapes}: {kind}.", cure=UNDERSTOOD)
