"""The network, its loss and its export; skipped where PyTorch is not installed."""

from __future__ import annotations

from pathlib import Path

import pytest

torch = pytest.importorskip("torch")
from torch import Tensor  # noqa: E402

from training.grow import grow  # noqa: E402
from training.guide import VIEWS, View, seen, unseen  # noqa: E402
from training.loss import DetectionLoss, assign, overlap  # noqa: E402
from training.model import (  # noqa: E402
    CONFIGS,
    Detector,
    ExportedDetector,
    ModelConfig,
    anchor_points,
    expected_sides,
)

TINY = ModelConfig((8, 8, 16, 16), (1, 1, 1), head_levels=2, head_width=16)


def test_overlap_by_hand() -> None:
    a, b = torch.tensor([0.0, 0, 10, 10]), torch.tensor([5.0, 0, 15, 10])
    assert overlap(a, b).item() == pytest.approx(1 / 3, abs=1e-5)
    # hull 15 x 10, centres 5 apart, equal aspect
    assert overlap(a, b, complete=True).item() == pytest.approx(1 / 3 - 25 / 325, abs=1e-5)


@pytest.mark.parametrize("name", sorted(CONFIGS))
def test_every_shape_answers_for_every_anchor(name: str) -> None:
    config = CONFIGS[name]
    graph = ExportedDetector(Detector(config), (128, 128)).eval()
    anchors = sum((128 // stride) ** 2 for stride in config.strides)
    assert graph(torch.zeros(1, 3, 128, 128)).shape == (1, 4 + config.classes, anchors)


def test_folding_batchnorm_changes_nothing() -> None:
    torch.manual_seed(0)
    detector = Detector(TINY)
    detector(torch.rand(4, 3, 64, 64))
    detector.eval()
    image = torch.rand(1, 3, 64, 64)
    before = ExportedDetector(detector, (64, 64))(image)
    after = ExportedDetector(detector.fold(), (64, 64))(image)
    assert torch.allclose(before, after, atol=1e-3)


def test_each_object_gets_anchors_inside_it_alone() -> None:
    points, _ = anchor_points(TINY, (64, 64))
    truth = torch.tensor([[[8.0, 8, 40, 40], [0, 0, 0, 0]]])
    classes = torch.tensor([[2, -1]])
    boxes = torch.cat([points - 14, points + 14], 1)[None]
    found = assign(torch.full((1, len(points), 6), 0.5), boxes, points, truth, classes)
    taken = points[found.taken[0]]
    assert 1 <= len(taken) <= 10
    assert ((taken > 8) & (taken < 40)).all()
    assert (found.scores[0].argmax(1)[found.taken[0]] == 2).all()
    assert found.scores[0][~found.taken[0]].sum() == 0


def test_a_few_steps_on_one_picture_lower_the_loss() -> None:
    torch.manual_seed(0)
    detector, loss = Detector(TINY), DetectionLoss(TINY, (64, 64), "cpu")
    optimiser = torch.optim.AdamW(detector.parameters(), lr=0.003)
    images = torch.rand(2, 3, 64, 64)
    truth = torch.tensor([[[8.0, 8, 40, 40]], [[20.0, 12, 52, 30]]])
    classes = torch.tensor([[1], [4]])
    values = []
    for _ in range(40):
        distances, logits = detector(images)
        total, _ = loss(distances, logits, truth, classes)
        optimiser.zero_grad()
        total.backward()
        optimiser.step()
        values.append(total.item())
    assert values[-1] < 0.5 * values[0]


def test_boxes_come_out_in_the_labels_own_coordinates() -> None:
    detector = Detector(TINY).eval()
    image = torch.rand(1, 3, 64, 64)
    graph = ExportedDetector(detector, (64, 64))
    before, after = (expected_sides(detector(image)[0], TINY.reg_max) * graph.strides).split(2, 1)
    in_picture = anchor_points(TINY, (64, 64))[0].T[None] + (after - before) / 2
    assert torch.allclose(graph(image)[:, :2], in_picture - 0.5, atol=1e-4)


def _turned(boxes: Tensor, view: View, side: int) -> Tensor:
    """Corners in a picture to corners in a view of it."""
    boxes = boxes[..., [1, 0, 3, 2]] if view.swap else boxes
    x, y = boxes[..., [0, 2]], boxes[..., [1, 3]]
    x = (side - x).flip(-1) if view.flip_x else x
    y = (side - y).flip(-1) if view.flip_y else y
    return torch.stack([x[..., 0], y[..., 0], x[..., 1], y[..., 1]], -1)


@pytest.mark.parametrize("view", VIEWS)
def test_what_a_view_answers_is_turned_back(view: View) -> None:
    config = ModelConfig(head_levels=1)
    side = 64
    points, strides = anchor_points(config, (side, side))
    torch.manual_seed(1)
    distances, logits = torch.randn(2, 64, len(points)), torch.randn(2, 6, len(points))

    def boxes(of: Tensor) -> Tensor:
        sides = expected_sides(of, config.reg_max).transpose(1, 2) * strides
        return torch.cat([points - sides[..., :2], points + sides[..., 2:]], -1)

    back, scores = unseen(distances, logits, view)
    at = _turned(torch.cat([points, points], 1), view, side)[:, :2].long() // 8
    there = at[:, 1] * (side // 8) + at[:, 0]
    assert torch.equal(scores, logits[:, :, there])
    assert torch.allclose(_turned(boxes(back), view, side), boxes(distances)[:, there], atol=1e-3)
    dot = torch.zeros(1, 1, side, side)
    dot[0, 0, 10, 3] = 1
    place = _turned(torch.tensor([3.0, 10.0, 4.0, 11.0]), view, side).long()
    assert seen(dot, view)[0, 0, place[1], place[0]] == 1


def test_a_guide_that_agrees_leaves_less_to_learn_than_one_that_does_not() -> None:
    config = ModelConfig(head_levels=1)
    torch.manual_seed(2)
    distances, logits = torch.randn(1, 64, 64), torch.randn(1, 6, 64)
    truth, classes = torch.tensor([[[8.0, 8, 40, 40]]]), torch.tensor([[2]])
    loss = DetectionLoss(config, (64, 64), "cpu", guided=0.5)
    alike, _ = loss(distances, logits, truth, classes, guide=(distances, logits))
    other, _ = loss(distances, logits, truth, classes, guide=(-distances, -logits))
    assert alike < other
    plain, _ = DetectionLoss(config, (64, 64), "cpu")(distances, logits, truth, classes, guide=(-distances, -logits))
    assert torch.equal(plain, loss(distances, logits, truth, classes)[0])


def test_longer_chains_change_no_answer(tmp_path: Path) -> None:
    torch.manual_seed(3)
    small = Detector(CONFIGS["p3-wide-h64"]).eval()
    torch.save({"config": "p3-wide-h64", "weights": small.state_dict(), "record": {}}, tmp_path / "small.pt")
    grow(tmp_path / "small.pt", "p3-long-h64", tmp_path / "long.pt")
    longer = Detector(CONFIGS["p3-long-h64"]).eval()
    longer.load_state_dict(torch.load(tmp_path / "long.pt", weights_only=True)["weights"])
    images = torch.rand(1, 3, 64, 64)
    for before, after in zip(small(images), longer(images), strict=True):
        assert torch.allclose(before, after, atol=1e-5)
    with pytest.raises(SystemExit, match="do not fit"):
        grow(tmp_path / "long.pt", "p3-wide-h64", tmp_path / "back.pt")
