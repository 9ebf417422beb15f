"""The house's caps, measured on the syntax tree: ``python -m tests.support.caps [FOLDER]`` lists what exceeds them.

Not averages, only what no single function or file may do: bodies over 60 lines (15 in ``workers/tasks.py``), files over
400, more than six parameters, and ``except Exception`` anywhere but in the doors, where it needs a reason on its line.
Revisions in ``migrations/versions`` are lists of operations, written by Alembic, and may be long.
"""

from __future__ import annotations

import ast
import re
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

FOLDERS = ("gistline", "api", "workers", "migrations", "tests", "benchmarks", "training")
DOORS = ("api", "workers", "gistline/cli")
BODY_LINES = 60
TASK_LINES = 15
FILE_LINES = 400
PARAMETERS = 6
LISTS = Path("migrations/versions")
REASON = re.compile(r"#\s*(noqa: [A-Z0-9, ]+ - )?(?!noqa)\w+(\W+\w+)+")
"""A comment of two words or more, behind the linter's mark where that is needed."""

Function = ast.FunctionDef | ast.AsyncFunctionDef


@dataclass(frozen=True, slots=True)
class Violation:
    """One cap exceeded, printable as ``path:line: what``."""

    path: Path
    line: int
    what: str

    def __str__(self) -> str:
        return f"{self.path}:{self.line}: {self.what}"


def violations(root: Path) -> Iterator[Violation]:
    """Everything under ``root`` that exceeds a cap."""
    for folder in FOLDERS:
        for path in sorted((root / folder).rglob("*.py")):
            yield from _check(path.relative_to(root), path.read_text())


def _check(path: Path, source: str) -> Iterator[Violation]:
    lines = source.splitlines()
    if len(lines) > FILE_LINES and not path.is_relative_to(LISTS):
        yield Violation(path, FILE_LINES + 1, f"{len(lines)} lines, at most {FILE_LINES}")
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, Function):
            yield from _check_body(path, node)
            yield from _check_parameters(path, node)
        elif isinstance(node, ast.ExceptHandler) and _is_broad(node.type):
            yield from _check_broad(path, node, lines[node.lineno - 1])


def _check_body(path: Path, function: Function) -> Iterator[Violation]:
    body = function.body
    documented = len(body) > 1 and isinstance(body[0], ast.Expr) and isinstance(body[0].value, ast.Constant)
    first = body[1] if documented else body[0]
    length = (function.end_lineno or first.lineno) - first.lineno + 1
    cap = TASK_LINES if path == Path("workers/tasks.py") else BODY_LINES
    if length > cap and not path.is_relative_to(LISTS):
        yield Violation(path, function.lineno, f"body of {function.name} has {length} lines, at most {cap}")


def _check_parameters(path: Path, function: Function) -> Iterator[Violation]:
    given = function.args
    named = [one.arg for one in (*given.posonlyargs, *given.args, *given.kwonlyargs) if one.arg not in ("self", "cls")]
    # A test's parameters are the fixtures that it uses; pytest passes them by name.
    if len(named) > PARAMETERS and path.parts[0] != "tests":
        yield Violation(path, function.lineno, f"{function.name} has {len(named)} parameters, at most {PARAMETERS}")


def _is_broad(kind: ast.expr | None) -> bool:
    if isinstance(kind, ast.Tuple):
        return any(_is_broad(one) for one in kind.elts)
    return kind is None or (isinstance(kind, ast.Name) and kind.id in ("Exception", "BaseException"))


def _check_broad(path: Path, handler: ast.ExceptHandler, line: str) -> Iterator[Violation]:
    if not path.as_posix().startswith(DOORS):
        yield Violation(path, handler.lineno, f"broad except outside of the doors ({', '.join(DOORS)})")
    elif not REASON.search(line):
        yield Violation(path, handler.lineno, "broad except without a comment that says why")


def main() -> int:
    """Print every violation; 1 when there is one."""
    found = list(violations(Path(sys.argv[1]) if len(sys.argv) > 1 else Path.cwd()))
    for violation in found:
        sys.stdout.write(f"{violation}\n")
    sys.stdout.write(f"caps: {len(found)} exceeded\n")
    return 1 if found else 0


if __name__ == "__main__":
    sys.exit(main())
