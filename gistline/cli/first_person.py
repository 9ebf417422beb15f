"""How the first person gets in: no password and no key comes with the program."""

from __future__ import annotations

import shlex

from gistline.settings import Settings
from gistline.storage.people import anybody
from gistline.storage.session import close_database, open_database, transaction


def invitation(settings: Settings) -> str | None:
    """Command that adds the first admin of a running system; None where somebody can sign in already."""
    sessions = open_database(settings.database)
    try:
        with transaction(sessions) as session:
            if anybody(session):
                return None
    finally:
        close_database(sessions)
    is_default = settings.data_dir == type(settings).model_fields["data_dir"].default
    place = "" if is_default else f"--set data_dir={shlex.quote(str(settings.data_dir))} "
    return f"gistline {place}people add NAME --role admin"
