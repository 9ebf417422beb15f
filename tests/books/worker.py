"""A report worker as a process of its own, to be killed: ``python -m tests.books.worker``; settings as environment."""

from __future__ import annotations

import sys
import threading

from gistline.flows.report_tools import open_report_tools
from gistline.settings import load_settings
from gistline.storage.session import open_database
from tests.books.run import work


def main() -> None:
    """Take windows until standard input ends."""
    settings = load_settings()
    sessions = open_database(settings.database)
    stop = threading.Event()
    threading.Thread(target=_until_told, args=(stop,), daemon=True).start()
    work(sessions, open_report_tools(settings, sessions), stop)


def _until_told(stop: threading.Event) -> None:
    sys.stdin.read()
    stop.set()


if __name__ == "__main__":
    main()
