"""How far a build is, out of the phases that TensorRT reports from 10.0 on."""

from __future__ import annotations

from collections.abc import Callable
from threading import Lock
from typing import Any

Progress = Callable[[float, str], None]
"""Called with the share that is done, in [0, 1], never falling, and the name of the phase."""


class _Phase:
    def __init__(self, parent: str | None, steps: int) -> None:
        self.parent = parent
        self.steps = max(1, steps)
        self.done = 0


class PhaseTree:
    """Phases nest: a step of the outer one consists of the inner one. Called from several threads of the builder."""

    def __init__(self, tell: Progress) -> None:
        self._tell = tell
        self._phases: dict[str, _Phase] = {}
        self._share = 0.0
        self._lock = Lock()

    def start(self, name: str, parent: str | None, steps: int) -> None:
        """A phase of so many steps begins; ``parent`` is the name of the one around it."""
        self._change(name, lambda: self._phases.__setitem__(name, _Phase(parent or None, steps)))

    def step(self, name: str, step: int) -> None:
        """Step number ``step``, counted from 0, of a phase is done."""
        phase = self._phases.get(name)
        if phase is not None:
            self._change(name, lambda: setattr(phase, "done", min(phase.steps, step + 1)))

    def finish(self, name: str) -> None:
        """A phase is over, whether all its steps came or not."""
        phase = self._phases.get(name)
        if phase is not None:
            self._change(name, lambda: setattr(phase, "done", phase.steps), over=phase.parent is not None)

    def _change(self, name: str, change: Callable[[], None], *, over: bool = False) -> None:
        with self._lock:
            change()
            # A phase may turn out longer than it was said to be; the bar waits then.
            self._share = max(self._share, self._overall())
            share = self._share
            if over:
                self._phases.pop(name, None)
        self._tell(share, name)

    def _overall(self) -> float:
        roots = [name for name, phase in self._phases.items() if phase.parent not in self._phases]
        return min(1.0, max((self._of(name) for name in roots), default=0.0))

    def _of(self, name: str) -> float:
        phase = self._phases[name]
        inner = [self._of(child) for child, other in self._phases.items() if other.parent == name]
        # A finished inner phase counts until its outer one's step is told; then it is gone.
        under_way = max((share for share in inner if share < 1.0), default=0.0)
        return min(1.0, (phase.done + under_way) / phase.steps)


def make_monitor(trt: Any, tree: PhaseTree) -> Any:
    """An IProgressMonitor that fills a tree (TensorRT 10.0 and later)."""

    class Monitor(trt.IProgressMonitor):  # type: ignore[misc]
        """Called by the builder."""

        def __init__(self) -> None:
            trt.IProgressMonitor.__init__(self)

        def phase_start(self, phase_name: str, parent_phase: str | None, num_steps: int) -> None:
            tree.start(phase_name, parent_phase, num_steps)

        def step_complete(self, phase_name: str, step: int) -> bool:
            tree.step(phase_name, step)
            return True

        def phase_finish(self, phase_name: str) -> None:
            tree.finish(phase_name)

    return Monitor()
