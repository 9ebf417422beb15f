"""What every command prints alike: errors with their cure, JSON, consoles."""

from __future__ import annotations

import json
import sys
from typing import Any

from rich.console import Console

from gistline.errors import GistlineError, SettingsError

OK = 0
FAILED = 1
BAD_INPUT = 2
INTERRUPTED = 130


def exit_code(error: GistlineError) -> int:
    """2 for what the user gave (a wrong setting, request or image), 1 for what failed."""
    return BAD_INPUT if isinstance(error, SettingsError) or 400 <= error.status_code < 500 else FAILED


def print_error(error: GistlineError) -> None:
    """Message and cure on standard error."""
    shown = errors()
    shown.print(f"[bold red]{error.title}:[/] ", end="")
    shown.print(error.message, markup=False, highlight=False)
    if error.cure:
        shown.print(error.cure, markup=False, highlight=False)


def print_json(data: Any) -> None:
    """Indented JSON on standard output; what JSON does not know is written as text."""
    sys.stdout.write(json.dumps(data, indent=2, default=str, ensure_ascii=False) + "\n")
    sys.stdout.flush()


def console() -> Console:
    """Console for results, on standard output; wraps nothing away when it is no terminal."""
    return Console(soft_wrap=not sys.stdout.isatty(), highlight=False)


def errors() -> Console:
    """Console for progress and errors, on standard error."""
    return Console(stderr=True, soft_wrap=True, highlight=False)
