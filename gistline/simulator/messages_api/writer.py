"""What the twin answers: by rule, from the prompt itself, in the form that was asked for.

It reads the lines ``@camera class sS nN`` in which Gistline's prompts sum up a group, and says of each what it says:
camera, class, number, severity. So every number of an answer is one of the prompt's. A prompt without such lines gets a
sentence without numbers.
"""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from itertools import cycle
from typing import Any

from gistline.simulator.messages_api.tokens import as_blocks

Compose = Callable[[Mapping[str, Any]], str]
"""From the body of a request to the text of the answer."""

TEXT = "# Scripted report\n\nThe twin of the Messages API wrote this; no model read the findings."
SENTENCE = "The twin of the Messages API wrote this; no model read the findings."
MOST = 8
_GROUP = re.compile(r"^@([\w.\-]+) ([\w.\-]+) s(\d) n(\d+)", re.MULTILINE)


def compose(body: Mapping[str, Any]) -> str:
    """The answer to a request: Markdown, or JSON that fits the request's schema."""
    wanted = (body.get("output_config") or {}).get("format")
    said = facts(body)
    if wanted is None:
        return "\n".join([TEXT, *([""] if said else []), *(f"- {one.sentence}" for one in said)])
    schema = wanted["schema"]
    filled = _fill(schema, schema, cycle(said or [Fact(SENTENCE)]))
    return json.dumps(filled, ensure_ascii=False)


@dataclass(frozen=True, slots=True)
class Fact:
    """A sentence on a group, and the group's names."""

    sentence: str
    camera: str = ""
    label: str = ""


def facts(body: Mapping[str, Any]) -> list[Fact]:
    """What the first groups of the prompt are, in its order."""
    text = "\n".join(str(part["text"]) for message in body["messages"] for part in as_blocks(message["content"]))
    found = _GROUP.findall(text)[:MOST]
    return [
        Fact(f"`{camera}`: {number} x `{label}` (severity {severity}).", camera, label)
        for camera, label, severity, number in found
    ]


def _fill(schema: Mapping[str, Any], root: Mapping[str, Any], said: Iterator[Fact]) -> Any:
    """A value that fits ``schema``; texts are taken from ``said``, everything else is the least that is allowed.

    An object with the properties ``camera`` and ``defect`` and no text besides names a group.
    """
    if "$ref" in schema:
        return _fill(_resolve(schema["$ref"], root), root, said)
    for fixed in ("const", "default"):
        if fixed in schema:
            return schema[fixed]
    if "enum" in schema:
        return schema["enum"][0]
    for choice in ("anyOf", "oneOf"):
        if choice in schema:
            return _fill(next((one for one in schema[choice] if one.get("type") != "null"), {}), root, said)
    if "allOf" in schema:
        return _fill({key: value for part in schema["allOf"] for key, value in part.items()}, root, said)
    return _typed(schema, root, said)


def _typed(schema: Mapping[str, Any], root: Mapping[str, Any], said: Iterator[Fact]) -> Any:
    kind = schema.get("type")
    kind = next((one for one in kind if one != "null"), "null") if isinstance(kind, list) else kind
    if kind == "object":
        if schema.get("properties", {}).keys() == {"camera", "defect"}:
            group = next(said)
            return {"camera": group.camera, "defect": group.label}
        return {key: _fill(one, root, said) for key, one in schema.get("properties", {}).items()}
    if kind == "array":
        return _list(schema, root, said)
    if kind in ("integer", "number"):
        return schema.get("minimum", 0)
    if kind == "boolean":
        return False
    return None if kind == "null" else _text(schema, said)


def _list(schema: Mapping[str, Any], root: Mapping[str, Any], said: Iterator[Fact]) -> list[Any]:
    """One value; of claims about a sentence none, since they may be left out and must not be wrong."""
    items = schema.get("items", {})
    if "said" in _resolved(items, root).get("properties", {}):
        return []
    return [_fill(items, root, said) for _ in range(max(1, schema.get("minItems", 1)))]


def _text(schema: Mapping[str, Any], said: Iterator[Fact]) -> str:
    moments = {"date-time": "2026-01-01T00:00:00Z", "date": "2026-01-01", "time": "00:00:00Z"}
    if schema.get("format") in moments:
        return moments[schema["format"]]
    text = next(said).sentence
    longest = schema.get("maxLength")
    return text[:longest] if longest is not None else text


def _resolved(schema: Mapping[str, Any], root: Mapping[str, Any]) -> Mapping[str, Any]:
    return _resolve(schema["$ref"], root) if "$ref" in schema else schema


def _resolve(reference: str, root: Mapping[str, Any]) -> Mapping[str, Any]:
    found = root
    for part in reference.removeprefix("#/").split("/"):
        found = found[part]
    return found
