"""Trains the bundled detector on one device within a given time; see README.md beside this file for the recipe."""

from __future__ import annotations

import argparse
import copy
import hashlib
import json
import math
import shutil
import subprocess
import time
from dataclasses import asdict, replace
from pathlib import Path

import numpy as np
import torch
from torch import Tensor, nn

from training.augment import GENTLE, Mixer, Strength, choose_place
from training.data import HELD_OUT_BOARDS, Pictures, prepare
from training.evaluate import Prediction, Scores, decode, measure
from training.guide import VIEWS, seen, unseen
from training.loss import DetectionLoss
from training.model import CONFIGS, Detector, ExportedDetector

SIZE = (640, 640)
POOLS = ("real-train", "planted-train", "boards-train")
HELD = ("real-held", "boards-held")
FINAL_RATE = 0.02  # of the peak learning rate


class Average:
    """Exponential moving average of all weights and statistics; what is kept and measured."""

    def __init__(self, model: nn.Module, decay: float, *, settled: bool) -> None:
        self.model = copy.deepcopy(model).eval().requires_grad_(False)
        self.mine, self.its = _floats(self.model), _floats(model)
        self.decay, self.steps = decay, 10_000 if settled else 0

    @torch.no_grad()
    def follow(self) -> None:
        self.steps += 1
        decay = self.decay * (1 - math.exp(-self.steps / 500))
        torch._foreach_lerp_(self.mine, self.its, 1 - decay)


def _floats(model: nn.Module) -> list[Tensor]:
    return [value.detach() for value in model.state_dict().values() if value.dtype.is_floating_point]


def build_optimiser(model: nn.Module, rate: float, decay: float) -> torch.optim.Optimizer:
    """AdamW; weight decay for kernels only, neither for biases nor for BatchNorm."""
    kernels = [p for p in model.parameters() if p.ndim > 1]
    others = [p for p in model.parameters() if p.ndim <= 1]
    groups = [{"params": kernels, "weight_decay": decay}, {"params": others, "weight_decay": 0.0}]
    on_gpu = kernels[0].is_cuda
    return torch.optim.AdamW(groups, lr=rate, betas=(0.9, 0.99), fused=on_gpu)


def learning_rate(peak: float, progress: float, warmth: float) -> float:
    """A cosine over the progress (0 to 1) of the run, times the share of the warm-up that is done."""
    cosine = FINAL_RATE + (1 - FINAL_RATE) * (1 + math.cos(math.pi * min(1.0, progress))) / 2
    return peak * min(1.0, warmth) * cosine


@torch.no_grad()
def predict(model: Detector, pictures: Pictures, device: str) -> list[list[Prediction]]:
    """Run the averaged model on all pictures, in full precision, 25 at a time."""
    graph = ExportedDetector(model, SIZE).to(device).eval()
    answer: list[list[Prediction]] = []
    for start in range(0, len(pictures), 25):
        pixels = torch.from_numpy(pictures.images[start : start + 25]).to(device)[:, None].float() / 255
        answer += [decode(row) for row in graph(pixels.expand(-1, 3, -1, -1)).cpu().numpy()]
    return answer


def source_digest(root: Path) -> str:
    """SHA-256 over every source file that shapes the weights: this folder's and the simulator's, in order of path."""
    digest = hashlib.sha256()
    for path in sorted([*root.glob("training/*.py"), *root.glob("gistline/simulator/*.py")]):
        digest.update(str(path.relative_to(root)).encode() + b"\0" + path.read_bytes() + b"\0")
    return digest.hexdigest()


class Trainer:
    """One run: the model, its average, its data and its clock."""

    def __init__(self, options: argparse.Namespace, data: dict[str, Pictures]) -> None:
        self.options, self.device = options, options.device
        torch.manual_seed(options.seed)
        torch.backends.cudnn.benchmark = True
        torch.backends.cuda.matmul.allow_tf32 = True
        self.model = Detector(CONFIGS[options.config]).to(self.device, memory_format=torch.channels_last)
        if options.resume:
            self.model.load_state_dict(
                torch.load(options.resume, map_location=self.device, weights_only=True)["weights"]
            )
        self.average = Average(self.model, options.average, settled=options.resume is not None)
        self.optimiser = build_optimiser(self.model, options.rate, options.decay)
        self.loss = DetectionLoss(self.model.config, SIZE, self.device, guided=options.guided)
        self.mixer = Mixer([data[name] for name in POOLS], device=self.device, seed=options.seed)
        self.held = {name: data[name] for name in HELD}
        wished = dict(options.strength)
        self.strengths = replace(Strength(), **wished), replace(GENTLE, **wished)
        self.forward: nn.Module = self.model
        self.guide: nn.Module = self.average.model
        self.views = np.random.default_rng(options.seed)
        self.step, self.start = 0, time.monotonic()
        self.history: list[dict[str, object]] = []

    def progress(self) -> float:
        by_steps = self.step / self.options.steps if self.options.steps else 0.0
        by_time = (time.monotonic() - self.start) / self.options.max_seconds if self.options.max_seconds else 0.0
        begun = self.options.begin_at
        return begun + (1 - begun) * max(by_steps, by_time)

    def run(self) -> None:
        self._compile()
        self.start = time.monotonic()
        next_look = self.options.begin_at + self.options.look_every
        while (progress := self.progress()) < 1.0:
            parts = self._one_step(progress)
            if self.step % 10 == 0 and self.device == "cuda":
                torch.cuda.synchronize()  # or the clock would run on steps that are queued, not done
            if self.step % 100 == 0:
                numbers = " ".join(f"{value:.3f}" for value in parts.tolist())
                print(f"{self.options.config} step {self.step} at {progress:.2f}: {numbers}", flush=True)
            if self.options.look_every and progress >= next_look:
                next_look += self.options.look_every
                self.look()
        if self.options.look_every:
            self.look(last=True)
        self.save()

    def _compile(self) -> None:
        """Compile the model where asked; a machine without the compiler trains without it."""
        if not self.options.compile:
            return
        self.forward, self.guide = torch.compile(self.model), torch.compile(self.average.model)
        self.mixer.choose = torch.compile(choose_place, dynamic=False)
        try:
            begun = time.monotonic()
            self._one_step(0.0)
            print(f"{self.options.config} compiled in {time.monotonic() - begun:.0f} s", flush=True)
        except (RuntimeError, OSError, subprocess.SubprocessError) as error:
            print(f"{self.options.config} not compiled: {str(error)[:200]}", flush=True)
            self.forward, self.guide, self.mixer.choose = self.model, self.average.model, choose_place

    def _one_step(self, progress: float) -> Tensor:
        strength = self.strengths[progress >= self.options.gentle_from]
        batch = self.mixer.draw(self.options.batch, strength)
        for group in self.optimiser.param_groups:
            group["lr"] = learning_rate(self.options.rate, progress, (self.step + 1) / self.options.warm_up)
        self.model.train()
        images = batch.images.expand(-1, 3, -1, -1).contiguous(memory_format=torch.channels_last)
        with torch.autocast(self.device, torch.bfloat16, enabled=self.device == "cuda"):
            distances, logits = self.forward(images)
            guide = self._guide(images) if self.options.guided else None
        loss, parts = self.loss(distances, logits, batch.boxes, batch.classes, guide=guide)
        self.optimiser.zero_grad(set_to_none=True)
        loss.backward()
        nn.utils.clip_grad_norm_(self.model.parameters(), 10.0)
        self.optimiser.step()
        self.average.follow()
        self.step += 1
        return parts

    @torch.no_grad()
    def _guide(self, images: Tensor) -> tuple[Tensor, Tensor]:
        """What the average answers for the same pictures from another view, one view a step."""
        view = VIEWS[int(self.views.integers(len(VIEWS)))]
        turned = seen(images, view).contiguous(memory_format=torch.channels_last)
        return unseen(*self.guide(turned), view)

    def look(self, *, last: bool = False) -> dict[str, Scores]:
        """Save the average, then measure it on what is held out: a fault in measuring costs no training."""
        self.save()
        scores = {}
        for name, pictures in self.held.items():
            scores[name] = measure(pictures.truth(), predict(self.average.model, pictures, self.device))
            s = scores[name]
            print(
                f"{self.options.config} {'END ' if last else ''}step {self.step} {time.monotonic() - self.start:.0f} s "
                f"{name}: mAP33 {s.map33:.4f} mAP50 {s.map50:.4f} mAP50-95 {s.map50_95:.4f} F {s.best_f33:.4f}",
                flush=True,
            )
        entry: dict[str, object] = {"step": self.step, **{name: asdict(s) for name, s in scores.items()}}
        self.history.append(entry)
        self.save()
        if self.options.keep_looks:
            shutil.copy(self._path(".pt"), self._path(f"-{len(self.history)}.pt"))
        return scores

    def save(self) -> None:
        recipe = {key: str(value) if isinstance(value, Path) else value for key, value in vars(self.options).items()}
        record = {"recipe": recipe, "steps": self.step}
        record |= {name: asdict(s) for name, s in zip(("strength", "gentle"), self.strengths, strict=True)}
        record["source_sha256"] = source_digest(Path(__file__).parent.parent)
        weights = {key: value.cpu() for key, value in self.average.model.state_dict().items()}
        self.options.out.mkdir(parents=True, exist_ok=True)
        torch.save({"config": self.options.config, "weights": weights, "record": record}, self._path(".pt"))
        self._path(".json").write_text(json.dumps({**record, "history": self.history}, indent=1) + "\n")

    def _path(self, suffix: str) -> Path:
        return self.options.out / f"{self.options.config}{suffix}"


def _share(text: str) -> tuple[str, float]:
    """``name=0.5`` for a field of ``Strength``."""
    name, _, value = text.partition("=")
    if name not in Strength.__dataclass_fields__:
        raise argparse.ArgumentTypeError(f"{name!r} is none of {sorted(Strength.__dataclass_fields__)}")
    return name, float(value)


def parse(arguments: list[str] | None = None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--config", choices=CONFIGS, required=True)
    parser.add_argument("--data", type=Path, help="folder that training.data prepared")
    parser.add_argument("--deeppcb", type=Path, help="or DeepPCB's folder, to prepare in memory")
    parser.add_argument("--boards", type=int, default=6000)
    parser.add_argument("--copies", type=int, default=3)
    parser.add_argument("--out", type=Path, required=True)
    parser.add_argument("--device", default="cuda" if torch.cuda.is_available() else "cpu")
    parser.add_argument("--max-seconds", type=float, default=0.0, help="the schedule is stretched over this time")
    parser.add_argument("--steps", type=int, default=0, help="or over this many steps, which repeats a run")
    parser.add_argument("--batch", type=int, default=64)
    parser.add_argument("--rate", type=float, default=2e-3)
    parser.add_argument("--warm-up", type=int, default=200, help="steps over which the learning rate rises")
    parser.add_argument("--decay", type=float, default=0.02)
    parser.add_argument("--average", type=float, default=0.9998)
    parser.add_argument("--seed", type=int, default=7)
    parser.add_argument("--look-every", type=float, default=0.25, help="share of the run between measurements; 0: none")
    parser.add_argument("--keep-looks", action="store_true", help="keep the weights of every measurement")
    parser.add_argument("--gentle-from", type=float, default=1.0, help="share of the run after which mosaics stop")
    parser.add_argument("--guided", type=float, default=0.0, help="share of the goal that the average's answer is")
    parser.add_argument("--resume", type=Path, help="checkpoint whose averaged weights to start from")
    parser.add_argument("--begin-at", type=float, default=0.0, help="place in the schedule (0 to 1) to resume at")
    parser.add_argument("--strength", type=_share, nargs="*", default=[], help="other shares: negative=0 real=0.5 ...")
    parser.add_argument("--everything", action="store_true", help="with --deeppcb: hold no board out")
    parser.add_argument("--compile", action="store_true")
    options = parser.parse_args(arguments)
    if not options.max_seconds and not options.steps:
        parser.error("give --max-seconds or --steps")
    if (options.data is None) == (options.deeppcb is None):
        parser.error("give --data or --deeppcb")
    return options


def main() -> None:
    options = parse()
    begun = time.monotonic()
    if options.data:
        data = {name: Pictures.load(options.data / name) for name in (*POOLS, *HELD)}
    else:
        held_out = () if options.everything else HELD_OUT_BOARDS
        data = prepare(options.deeppcb, boards=options.boards, copies=options.copies, held_out=held_out)
    print(f"prepared in {time.monotonic() - begun:.1f} s", flush=True)
    Trainer(options, data).run()


if __name__ == "__main__":
    main()
