"""PostgreSQL refuses to run as root: under root it runs as a system user, which must be let through to its files."""

from __future__ import annotations

import fcntl
import os
import pwd
import stat
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from gistline.embedded.processes import Account
from gistline.errors import StorageUnavailable

SYSTEM_USER = "pgserver"
CURE = "Run as an ordinary user, or name a PostgreSQL of your own in GISTLINE_DATABASE__URL."


def account_for(folder: Path, binaries: Path) -> Account | None:
    """Who runs PostgreSQL on ``folder``: None for an ordinary user, who runs it himself.

    Under root it is the owner of existing data, else a system user of its own, made if need be. The parents of
    ``folder`` and ``binaries`` are passed by their group: the server gets the group of each parent that the public
    cannot pass, and such a parent gets its group's ``x`` bit where it lacks it. Nobody else gains access.

    Raises:
        StorageUnavailable: no such user can be made, or a folder's permissions cannot be changed.

    """
    if os.geteuid() != 0:
        return None
    entry = _owner(folder) or _system_user()
    try:
        groups = {group for path in (folder, binaries) for group in _let_pass(path)}
        _let_read(binaries.parent)
    except OSError as error:
        raise StorageUnavailable(f"User {entry.pw_name!r} cannot be let through: {error}.", cure=CURE) from error
    return Account(entry.pw_uid, entry.pw_gid, tuple(sorted(groups)))


def hand_over(folder: Path, account: Account | None) -> None:
    """Make ``folder`` (which must exist) the account's own, closed to everybody else."""
    folder.chmod(0o700)
    if account is not None:
        os.chown(folder, account.uid, account.gid)


def _owner(folder: Path) -> pwd.struct_passwd | None:
    """Owner of existing data; None when there is none or when it is root."""
    if not folder.exists() or folder.stat().st_uid == 0:
        return None
    try:
        return pwd.getpwuid(folder.stat().st_uid)
    except KeyError as error:
        raise StorageUnavailable(
            f"{folder} belongs to user id {folder.stat().st_uid}, which this machine does not know.", cure=CURE
        ) from error


def _system_user() -> pwd.struct_passwd:
    with _alone():
        try:
            return pwd.getpwnam(SYSTEM_USER)
        except KeyError:
            pass
        try:
            command = ["useradd", "--system", "--no-create-home", "--shell", "/bin/sh", SYSTEM_USER]
            subprocess.run(command, check=True, capture_output=True, text=True)
        except (OSError, subprocess.CalledProcessError) as error:
            raise StorageUnavailable(
                f"PostgreSQL does not run as root, and the system user {SYSTEM_USER!r} cannot be made: {error}.",
                cure=CURE,
            ) from error
        return pwd.getpwnam(SYSTEM_USER)


@contextmanager
def _alone() -> Iterator[None]:
    """Keep others of this machine out: of two that run ``useradd`` at once, one loses its user to the other."""
    held = os.open("/etc", os.O_RDONLY | os.O_DIRECTORY)
    try:
        fcntl.flock(held, fcntl.LOCK_EX)
        yield
    finally:
        os.close(held)


def _let_pass(path: Path) -> set[int]:
    """Groups that a process needs to reach ``path``, whose parents get the group's ``x`` bit where nobody may pass."""
    groups = set()
    for parent in path.resolve().parents:
        found = parent.stat()
        if found.st_mode & stat.S_IXGRP and found.st_mode & stat.S_IXOTH:
            continue
        if not found.st_mode & stat.S_IXGRP:
            parent.chmod(stat.S_IMODE(found.st_mode) | stat.S_IXGRP)
        groups.add(found.st_gid)
    return groups


def _let_read(installation: Path) -> None:
    """Open the installed binaries for reading where a strict umask closed them to others."""
    everybody = stat.S_IROTH | stat.S_IXOTH
    if (installation / "bin" / "postgres").stat().st_mode & everybody == everybody:
        return
    for path in (installation, *installation.rglob("*")):
        mode = stat.S_IMODE(path.stat().st_mode)
        path.chmod(mode | stat.S_IROTH | (stat.S_IXOTH if mode & stat.S_IXUSR else 0))
