"""Parts of the pages in docs/ that the program itself writes.

``python -m tests.support.reference`` brings them up to date. A part lies between ``<!-- made: NAME -->`` and
``<!-- end -->``; the rest of the page is written by hand.
"""

from __future__ import annotations

import re
import sys
from collections.abc import Callable, Iterator, Mapping
from functools import cache
from pathlib import Path
from typing import Any

from fastapi import FastAPI

from api.app import create_app
from api.openapi import TAGS
from api.problems import ANSWERED, name_of
from api.rules import Guard, Rule, rules_of
from gistline.domain import Role
from gistline.settings import Settings

DOCS = Path(__file__).parents[2] / "docs"
ADVICE = {401: "with another key", 403: "as somebody who may", 408: "yes", 413: "in smaller pieces", 500: "once"}
PART = re.compile(r"(<!-- made: (\w+) -->\n).*?(<!-- end -->)", re.DOTALL)


def renewed(page: str) -> str:
    """The page with every made part as the program has it now.

    Raises:
        KeyError: a part that nobody makes.

    """
    return PART.sub(lambda found: f"{found[1]}\n{PARTS[found[2]]()}\n\n{found[3]}", page)


@cache
def _app() -> FastAPI:
    return create_app(Settings())


def _described() -> dict[str, Any]:
    return _app().openapi()


def _rules() -> list[Rule]:
    return rules_of(_app())


def _routes() -> str:
    rows = ["| route | who may | answer |", "|---|---|---|"]
    rules = {(rule.path, rule.method.lower()): rule for rule in _rules()}
    for tag in TAGS:
        for path, method, operation in _operations(tag):
            about = operation["description"].splitlines()[0]
            rows.append(f"| `{method.upper()} {path}` | {_who(rules[path, method])} | {about} |")
    return "\n".join(rows)


def _filters() -> str:
    rows = ["| list | parameters, beside `limit` and `cursor` |", "|---|---|"]
    for tag in TAGS:
        for path, method, operation in _operations(tag):
            names = [one["name"] for one in operation.get("parameters", []) if one["in"] == "query"]
            if method == "get" and "cursor" in names:
                own = ", ".join(f"`{name}`" for name in names if name not in {"limit", "cursor"})
                rows.append(f"| `{path}` | {own or 'none'} |")
    return "\n".join(rows)


def _answers() -> str:
    """Fields of every answer, by the name that the description gives it."""
    schemas = _described()["components"]["schemas"]
    rows = ["| answer | fields |", "|---|---|"]
    for name, schema in sorted(schemas.items()):
        if "properties" in schema:
            fields = ", ".join(f"`{field}`: {_kind(about)}" for field, about in schema["properties"].items())
            rows.append(f"| **{name}** | {fields} |")
        elif "enum" in schema:
            rows.append(f"| **{name}** | one of {', '.join(f'`{value}`' for value in schema['enum'])} |")
    return "\n".join(rows)


def _problems() -> str:
    rows = ["| type `urn:gistline:problem:` | status | send again? |", "|---|---|---|"]
    for kind in sorted(ANSWERED, key=lambda one: (one.status_code, one.title)):
        again = "yes, after `Retry-After`" if kind.retryable else ADVICE.get(kind.status_code, "no")
        rows.append(f"| `{name_of(kind.title)}` | {int(kind.status_code)} | {again} |")
    return "\n".join(rows)


def _table() -> str:
    """The table endpoint x role."""
    rows = ["| route | nobody | camera | viewer | operator | admin |", "|---|---|---|---|---|---|"]
    for rule in _rules():
        order = list(Role)
        least = order.index(rule.least) if rule.least else 0
        camera = {Guard.OPEN: "yes", Guard.CAMERA: "yes", Guard.READER: "its own"}.get(rule.guard, "-")
        yes = "in person" if rule.guard is Guard.PERSON else "yes"
        if rule.guard is Guard.CAMERA:
            roles = ["-"] * len(order)
        else:
            roles = [yes if place >= least else "-" for place in range(len(order))]
        nobody = "yes" if rule.guard is Guard.OPEN else "-"
        rows.append(f"| `{rule.method} {rule.path}` | {nobody} | {camera} | {' | '.join(roles)} |")
    return "\n".join(rows)


PARTS: Mapping[str, Callable[[], str]] = {
    "routes": _routes,
    "filters": _filters,
    "answers": _answers,
    "problems": _problems,
    "table": _table,
}


def _operations(tag: str) -> Iterator[tuple[str, str, dict[str, Any]]]:
    for path, methods in sorted(_described()["paths"].items()):
        for method, operation in sorted(methods.items()):
            if operation["tags"] == [tag]:
                yield path, method, operation


def _who(rule: Rule) -> str:
    if rule.guard is Guard.READER:
        return "its camera, viewer"
    if rule.guard is Guard.CAMERA:
        return "camera"
    return rule.least.value if rule.least else "everybody"


def _kind(about: dict[str, Any]) -> str:
    """A field's type in a word or two."""
    if "$ref" in about:
        return str(about["$ref"]).rpartition("/")[2]
    if "anyOf" in about:
        return " or ".join(_kind(one) for one in about["anyOf"])
    if about.get("type") == "array":
        return f"list of {_kind(about['items'])}"
    if "enum" in about or "const" in about:
        return " or ".join(f"`{value}`" for value in about.get("enum", [about.get("const")]))
    formats = {"uuid": "UUID", "date-time": "time", "date": "day"}
    return formats.get(str(about.get("format")), str(about.get("type", "any")))


def stale() -> list[Path]:
    """Pages whose made parts are not those of the program."""
    return [page for page in sorted(DOCS.glob("*.md")) if (text := page.read_text()) != renewed(text)]


def main() -> int:
    """Rewrite them and name those that changed."""
    for page in stale():
        page.write_text(renewed(page.read_text()))
        sys.stdout.write(f"{page.relative_to(DOCS.parent)} renewed\n")
    return 0


if __name__ == "__main__":
    sys.exit(main())
