"""``python -m tests.support.schema``: do the migrations build the tables that the code declares?"""

from __future__ import annotations

import sys
import tempfile
from pathlib import Path

from alembic.util import CommandError

from gistline.embedded.postgres import postgres
from gistline.storage import migrate


def main() -> int:
    """Upgrade an empty database of an embedded PostgreSQL and compare; 1 where they differ."""
    with tempfile.TemporaryDirectory(prefix="gistline-schema-") as name:
        folder = Path(name)
        with postgres(folder / "data", folder / "log", options={"fsync": "off"}) as url:
            migrate.upgrade(url)
            try:
                migrate.check(url)
            except CommandError as error:
                sys.stdout.write(f"schema: {error}\n")
                return 1
    sys.stdout.write(f"schema: the tables are at {migrate.head()} and match the code\n")
    return 0


if __name__ == "__main__":
    sys.exit(main())
