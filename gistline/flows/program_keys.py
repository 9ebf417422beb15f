"""Keys of programs: made with a role and lines, exchanged, revoked."""

from __future__ import annotations

from gistline.domain import Program
from gistline.errors import RequestRejected
from gistline.flows.add_person import LONGEST_NAME, Rights, check_rights
from gistline.storage import audit
from gistline.storage.keys import Owner, insert_key, retire_keys
from gistline.storage.people import stored_lines
from gistline.storage.programs import find_program, insert_program
from gistline.storage.session import Sessions, transaction


def create_program(sessions: Sessions, name: str, rights: Rights, *, by: str = audit.SYSTEM) -> tuple[Program, str]:
    """Add a program; returns it with its key, which cannot be read again.

    Raises:
        RequestRejected: name or rights are not acceptable.
        Conflict: the name is taken.
        StorageUnavailable: the database does not answer.

    """
    if not name.strip() or len(name) > LONGEST_NAME or not name.isprintable():
        raise RequestRejected(f"name = {name!r} is no name.", cure=f"Take 1 to {LONGEST_NAME} printable characters.")
    check_rights(rights)
    with transaction(sessions) as session:
        program = insert_program(session, name, rights.role, rights.lines)
        detail = {"role": rights.role, "lines": stored_lines(rights.lines)}
        audit.record(session, actor=by, action="key.create", subject=f"program {name}", detail=detail)
        return program, insert_key(session, Owner(program_id=program.id))


def rotate_program(sessions: Sessions, name: str, *, overlap_h: float = 0, by: str = audit.SYSTEM) -> str:
    """Make a key and revoke the others at the same moment, or ``overlap_h`` hours later.

    Raises:
        NotFound: no program has this name.
        StorageUnavailable: the database does not answer.

    """
    with transaction(sessions) as session:
        owner = Owner(program_id=find_program(session, name).id)
        retired = retire_keys(session, owner, in_h=overlap_h)
        detail = {"replaced": retired, "overlap_h": overlap_h}
        audit.record(session, actor=by, action="key.rotate", subject=f"program {name}", detail=detail)
        return insert_key(session, owner)


def revoke_program(sessions: Sessions, name: str, *, by: str = audit.SYSTEM) -> int:
    """Revoke all keys of a program, at once; returns how many were good until now.

    Raises:
        NotFound: no program has this name.
        StorageUnavailable: the database does not answer.

    """
    with transaction(sessions) as session:
        count = retire_keys(session, Owner(program_id=find_program(session, name).id))
        audit.record(session, actor=by, action="key.revoke", subject=f"program {name}", detail={"keys": count})
        return count
