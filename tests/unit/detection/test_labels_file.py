from __future__ import annotations

from pathlib import Path

import pytest

from gistline.detection.labels_file import read_labels
from gistline.errors import ModelRejected


def written(tmp_path: Path, text: str, name: str = "labels.yaml") -> Path:
    path = tmp_path / name
    path.write_text(text, encoding="utf-8")
    return path


@pytest.mark.parametrize(
    ("name", "text"),
    [
        ("labels.yaml", "- open\n- short\n"),
        ("labels.yaml", "[open, short]"),
        ("labels.yaml", "0: open\n1: short\n"),
        ("labels.yaml", "1: short\n0: open\n"),
        ("labels.yml", "names:\n  0: open\n  1: short\n"),
        ("data.yaml", "path: ../boards\ntrain: images\nnc: 2\nnames: [open, short]  # two\n"),
        ("labels.json", '{"names": {"0": "open", "1": "short"}}'),
        ("labels.json", '["open", "short"]'),
        ("labels.txt", "open\n\n  short \n"),
        ("coco.names", "open\r\nshort\r\n"),
        ("labels", "open\nshort\n"),
        ("labels.yaml", "open\nshort\n"),
        ("labels.txt", "\ufeffopen\nshort"),
    ],
)
def test_forms(tmp_path: Path, name: str, text: str) -> None:
    assert read_labels(written(tmp_path, text, name)) == ("open", "short")


def test_a_text_keeps_what_yaml_would_read_into_it(tmp_path: Path) -> None:
    assert read_labels(written(tmp_path, "no\n1\npin-hole: deep\n", "labels.txt")) == ("no", "1", "pin-hole: deep")


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("", "there are no class names"),
        ("[]", "there are no class names"),
        ("names: {}", "there are no class names"),
        ("[open, no]", "False is no class name"),
        ("[open, 7]", "7 is no class name"),
        ("[open, '']", "'' is no class name"),
        ("[open, short, open]", "the name 'open' stands there 2 times"),
        ("{0: open, 2: short}", r"the indices are \[0, 2\] instead of 0..1"),
        ("{open: 0, short: 1}", "gives no class names: invalid literal"),
        ("{nc: 3, names: [open, short]}", "nc is 3 and there are 2 names"),
        ("{train: images, val: images}", "gives no class names"),
        ("[open, short", "is no YAML"),
        ("!!python/object/apply:os.getcwd []", "is no YAML"),
        ("- {open: 1}", "is no class name"),
    ],
)
def test_refusals(tmp_path: Path, text: str, said: str) -> None:
    with pytest.raises(ModelRejected, match=said) as refused:
        read_labels(written(tmp_path, text))
    assert "data.yaml" in refused.value.cure


def test_files_that_cannot_be_read(tmp_path: Path) -> None:
    with pytest.raises(ModelRejected, match="No such file"):
        read_labels(tmp_path / "absent.yaml")
    with pytest.raises(ModelRejected, match="directory"):
        read_labels(tmp_path)
    (tmp_path / "binary.txt").write_bytes(b"\xff\xfe\x00\x01")
    with pytest.raises(ModelRejected, match="utf-8"):
        read_labels(tmp_path / "binary.txt")
    (tmp_path / "large.txt").write_bytes(bytes(1_000_001))
    with pytest.raises(ModelRejected, match="1000001 bytes"):
        read_labels(tmp_path / "large.txt")
