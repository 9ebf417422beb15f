"""Class names out of a file that people keep beside a model: YAML, JSON or plain text."""

from __future__ import annotations

from pathlib import Path
from typing import Any, Final

import yaml

from gistline.detection.onnx_facts import ordered_names
from gistline.errors import ModelRejected

UNDERSTOOD: Final = (
    "Understood: a YAML or JSON list, a mapping {0: name, 1: name}, either of them under 'names' (ultralytics' "
    "data.yaml), or a text with one name a line; in the order of the network's classes."
)
_PLAIN: Final = (".txt", ".names")
_MOST_BYTES: Final = 1_000_000


def read_labels(path: Path) -> tuple[str, ...]:
    """Class names in the order of the network's classes.

    Raises:
        ModelRejected: the file cannot be read, or its names are missing, doubled or not numbered from 0 on.

    """
    try:
        text = _text(path)
        names = _lines(text) if path.suffix.lower() in _PLAIN else _document(text)
        return tuple(name.strip() for name in ordered_names(names))
    except OSError as error:
        raise ModelRejected(f"The labels {path} cannot be read: {error.strerror or error}.", cure=UNDERSTOOD) from error
    except yaml.YAMLError as error:
        raise ModelRejected(f"{path.name} is no YAML: {_one_line(error)}.", cure=UNDERSTOOD) from error
    except (ValueError, TypeError) as error:
        raise ModelRejected(f"{path.name} gives no class names: {error}.", cure=UNDERSTOOD) from error


def _text(path: Path) -> str:
    size = path.stat().st_size
    if size > _MOST_BYTES:
        raise ValueError(f"{size} bytes, at most {_MOST_BYTES} are read")
    return path.read_text(encoding="utf-8-sig")


def _lines(text: str) -> list[str]:
    return [line.strip() for line in text.splitlines() if line.strip()]


def _document(text: str) -> Any:
    """The names in a YAML document. Names without any mark are one long word to YAML: then every line is one."""
    document = yaml.safe_load(text)
    if isinstance(document, dict) and "names" in document:
        return _checked_count(document)
    return _lines(text) if isinstance(document, str) else document


def _checked_count(document: dict[Any, Any]) -> Any:
    names, count = document["names"], document.get("nc")
    if isinstance(count, int) and isinstance(names, list | dict) and count != len(names):
        raise ValueError(f"nc is {count} and there are {len(names)} names")
    return names


def _one_line(error: yaml.YAMLError) -> str:
    return " ".join(str(error).split())
