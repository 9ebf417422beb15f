"""Make the database role with which Grafana and KEDA look: it reads what dashboards show and nothing else."""

from __future__ import annotations

import re
from typing import Final

from gistline.errors import RequestRejected, SettingsError
from gistline.storage.reader_role import make_reader, may_make_roles
from gistline.storage.session import Sessions, transaction

NAME: Final = re.compile(r"[a-z_][a-z0-9_]{0,62}")
SHORTEST: Final = 12


def grant_reader(sessions: Sessions, name: str, password: str) -> None:
    """Make the role ``name``, or give it this password and these rights anew; safe to repeat.

    Raises:
        RequestRejected: the name is no plain one, or the password is short.
        SettingsError: the role that we connect as may not make others.
        StorageUnavailable: the database does not answer.

    """
    if not NAME.fullmatch(name):
        raise RequestRejected(
            f"{name!r} is no name for a role.",
            cure="Use lower-case letters, digits and underscores, such as gistline_reader.",
        )
    if len(password) < SHORTEST:
        raise RequestRejected(f"The password has {len(password)} characters.", cure=f"Use {SHORTEST} or more.")
    with transaction(sessions) as session:
        if not may_make_roles(session):
            raise SettingsError(
                "The role of database.url may not make others.",
                cure="Run this once as a role that may (CREATEROLE), or make the role by hand: docs/deployment.md.",
            )
        make_reader(session, name, password)
